//! The services as gRPC sees them: thin handlers, and beside each the conversion from and to its messages. Knows no store.

mod acts;
pub mod audit;
pub mod authorization;
pub mod backup;
mod decision_log;
pub mod directory;
pub mod embed_tokens;
pub mod envoy;
mod failure;
mod fields;
mod gate;
mod measure;
pub mod onboarding;
mod plain;
mod reader;
pub mod realms;
mod rekeying;
mod releasing;
mod render;
mod status;
pub mod vault;
pub mod webhooks;
mod writer;

pub use acts::{ACTS, Desk};
pub use gate::{Gate, InWork, Turnstile};
pub use rekeying::Rekeying;
pub use releasing::MayRelease;
pub use status::status;
