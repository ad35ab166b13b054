//! The generated protobuf code, and what it shows of secrets: the API for `grpc` and the command line, the records for `store`.

#![allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::arithmetic_side_effects,
    missing_docs,
    reason = "generated code"
)]

/// The public API, `keygate.v1`.
pub mod v1 {
    tonic::include_proto!("keygate.v1");
    /// The compiled descriptors of the API, for server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keygate_descriptors.bin"));

    /// Shows of each what it is, and nothing of what it holds: `build.rs` leaves theirs out.
    macro_rules! secret {
        ($($name:path),+ $(,)?) => {$(
            impl std::fmt::Debug for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str(concat!(stringify!($name), " { … }"))
                }
            }
        )+};
    }
    secret!(
        AuthenticateRequest,
        authenticate_request::Credential,
        Header,
        ImportRow,
        import_row::Secret,
        KeyWithSecret,
        MintEmbedTokenResponse,
        PutCredentialRequest,
        TakeBackupResponse,
        VerifyRequest,
    );
}

/// What keygate writes to its stores, `keygate.store.v1`.
pub mod store_v1 {
    tonic::include_proto!("keygate.store.v1");
}

/// The well-known types that the API's messages carry, for rooms that may not name prost themselves.
pub mod google {
    pub use prost_types::{Duration, Timestamp};
}
