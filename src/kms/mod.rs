//! Services that hold key-encryption keys and never give them away: adapters of the port `KeyService`.
//!
//! May use the ports of `app`, the domain, and `dial`. Must never know the API, a store, or what it is that the data keys seal.

mod transit;

pub use transit::{Transit, TransitOptions};
