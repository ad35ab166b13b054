//! Where accounts, keys and counters are kept: one contract, several stores.
//!
//! May use the ports of `app` and the domain. Must never know the API, nor read a clock of its own.

pub mod record;
pub mod redis;
