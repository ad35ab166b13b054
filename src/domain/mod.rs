//! Nouns and rules, and nothing else: no async, no clock, no randomness, no logging, no protobuf, no store. `now` is an
//! argument; random bytes are an argument. Whatever is decided about a key or a limit is decided here.

pub mod access;
pub mod account;
pub mod audit;
pub mod certificate;
pub mod commit;
pub mod credential;
pub mod deny;
pub mod directory;
pub mod embed;
pub mod entry;
pub mod envelope;
pub mod id;
pub mod key;
pub mod limit;
pub mod member;
pub mod network;
pub mod onboarding;
pub mod realm;
pub mod request;
pub mod seal;
pub mod secret;
pub mod time;
pub mod token;
pub mod trace;
pub mod vault;
pub mod webhook;
