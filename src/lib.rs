//! keygate answers three questions for anything that handles traffic: who is calling (`Authenticate`), may they call this
//! often (`CheckRateLimit`), and which keys exist (`ManageKeys`).
//!
//! The rooms of the house and the one law between them; a room may use what stands to its right, never the reverse:
//!
//! ```text
//! main → cli → server → grpc  → app → domain
//!                     → store → dial, app::ports, domain
//!                     → tokens → dial, app::ports, domain
//!                     → courier → dial, app::ports, domain
//!                     → kms   → dial, app::ports, domain
//!                     → metrics → app::meter, domain
//!                     → config → domain
//!                     → telemetry → dial, app::ports, domain
//! ```
//!
//! `tests/tidy` holds the house to it.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
// Nothing that comes over the network may end the process.
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod app;
pub mod cli;
pub mod config;
pub mod courier;
pub mod dial;
pub mod domain;
pub mod grpc;
pub mod kms;
pub mod metrics;
pub mod proto;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod tokens;
