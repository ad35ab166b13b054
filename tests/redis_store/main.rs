//! What only a store in Redis can get wrong, on a real server: its scripts, its failures, its checks, its cost.

#![allow(clippy::disallowed_methods, reason = "waiting for a server takes a real clock")]

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod budget;
mod charge;
mod check;
mod commit;
mod cost;
mod failure;
mod parity;
mod rekeying;
mod silence;
mod timelines;
mod world;
