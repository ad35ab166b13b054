//! What a running server says of its configuration.

use crate::domain::time::Timestamp;

/// Which configuration a server goes by, and whether it is what the files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadState {
    /// How many configurations were put in place: 1 since the start, one more with every reload.
    pub generation: u64,
    /// When the present one was put in place.
    pub loaded_at: Timestamp,
    /// Sixteen hexadecimal digits that tell one state of the realm files from another.
    pub fingerprint: String,
    /// How often files were refused since the start.
    pub refusals: u64,
    /// What the files say now and is not gone by. Nothing: they say what the server does.
    pub refused: Option<Refusal>,
}

/// Files that were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// When.
    pub at: Timestamp,
    /// Everything that is wrong with them, each a sentence.
    pub problems: Vec<String>,
}
