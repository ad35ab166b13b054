//! The generated protobuf code and nothing else: the API for `grpc` and the command line, the records for `store`.

#![allow(clippy::all, clippy::pedantic, missing_docs, reason = "generated code")]

/// The public API, `keygate.v1`.
pub mod v1 {
    tonic::include_proto!("keygate.v1");
    /// The compiled descriptors of the API, for server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keygate_descriptors.bin"));
}

/// What keygate writes to its stores, `keygate.store.v1`.
pub mod store_v1 {
    tonic::include_proto!("keygate.store.v1");
}

/// The well-known types that the API's messages carry, for rooms that may not name prost themselves.
pub mod google {
    pub use prost_types::{Duration, Timestamp};
}
