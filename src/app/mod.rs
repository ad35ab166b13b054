//! The use cases, one file each, and the ports that they need from outside. Knows neither tonic nor any store.

pub mod audit;
pub mod authenticate;
pub mod authorize;
pub mod backup;
pub mod check_descriptors;
pub mod check_rate_limit;
pub mod directory;
pub mod embed_tokens;
pub mod error;
pub mod explain;
pub mod hooks;
pub mod house;
pub mod key_permit;
pub mod keys;
pub mod manager;
pub mod meter;
pub mod misses;
pub mod onboarding;
pub mod ports;
pub mod problems;
pub mod recovery;
pub mod rekey;
pub mod secrets;
pub mod seldom;
mod together;
pub mod uses;
pub mod vault;
