//! More than a server takes on, and clients that mean it no good: whoever behaves is served beside them, memory stays within
//! bounds, and afterwards everything is as before. `docs/limits.md` has the table of figures.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::disallowed_methods,
    reason = "when a connection is ended, and how soon all is well, is what is tested"
)]

mod attacks;
mod floods;
mod frames;
mod holds;
mod idle;
mod junk;
mod key_hosts;
mod places;
mod shedding;
#[path = "../support/mod.rs"]
mod support;
mod vanished;
mod world;
