//! What is wrong with a store, in words for whoever runs it.

use std::fmt;

/// Something that is wrong with the store. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which kind of problem: one word that stays the same, for programs.
    pub code: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether the server does not serve while it lasts. Else it serves, and somebody should look.
    pub stops: bool,
}

impl Problem {
    /// Every code that a store, or the watch over it, tells while a server runs.
    pub const CODES: [&str; 22] = [
        "unreachable",
        "silent",
        "password",
        "password-file",
        "untrusted",
        "tls-files",
        "certificate-missing",
        "sentinels",
        "permission",
        "replica",
        "loading",
        "disk",
        "version",
        "cluster",
        "secret",
        "eviction",
        "persistence",
        "full",
        "nearly-full",
        "slow",
        "replicas",
        "went_back",
    ];

    /// One that keeps the server from serving.
    #[must_use]
    pub fn grave(code: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, what: what.into(), remedy: remedy.into(), stops: true }
    }

    /// One that somebody should look at.
    #[must_use]
    pub fn slight(code: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { stops: false, ..Self::grave(code, what, remedy) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}
