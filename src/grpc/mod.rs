//! The services as gRPC sees them: thin handlers, and beside each the conversion from and to its messages. Knows no store.

mod acts;
mod arriving;
pub mod audit;
pub mod authorization;
pub mod backup;
mod decision_log;
pub mod directory;
mod doors;
pub mod embed_tokens;
pub mod envoy;
mod failure;
mod fields;
mod followed;
mod gate;
mod management;
mod measure;
pub mod onboarding;
mod plain;
mod reader;
pub mod realms;
mod rekeying;
mod releasing;
mod render;
pub mod secrets;
mod status;
mod turnstile;
pub mod vault;
pub mod webhooks;
mod writer;

pub use acts::{ACTS, Desk};
pub use doors::Doors;
pub use gate::{Gate, GateLoad};
pub use rekeying::Rekeying;
pub use releasing::MayRelease;
pub use status::status;
pub use turnstile::{InWork, Turnstile};
