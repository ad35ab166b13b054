//! One contract, one list of cases, every store; then what only the embedded store can show.

mod accounts;
mod clock;
mod embedded;
mod entries;
mod fixtures;
mod freshness;
mod full;
mod keys;
mod limits;
mod memos;
mod oracle;
mod records;
mod world;

contract!(embedded_store, crate::embedded::EmbeddedWorld);
contract!(embedded_store_cached, crate::embedded::CachedWorld);
