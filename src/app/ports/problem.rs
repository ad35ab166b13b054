//! What is wrong with a store, in words for whoever runs it.

use std::fmt;

/// Something that is wrong with the store. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which kind of problem.
    pub code: ProblemCode,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether the server does not serve while it lasts. Else it serves, and somebody should look.
    pub stops: bool,
}

/// The codes and their names stand in one list, so that none is made that `ALL` does not have.
macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal,)*) => {
        /// Which kind of problem it is, of all that a store, or the watch over it, tells while a server runs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ProblemCode {$(
            $(#[$doc])*
            $code,
        )*}

        impl ProblemCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// Its name: one word that stays the same, for programs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {$(Self::$code => $name),*}
            }
        }
    };
}

codes! {
    /// Nobody is there, or the connection breaks.
    Unreachable = "unreachable",
    /// It does not answer in time.
    Silent = "silent",
    /// It does not take the password.
    Password = "password",
    /// The file of the password has none.
    PasswordFile = "password-file",
    /// Who it is cannot be trusted.
    Untrusted = "untrusted",
    /// The files of TLS cannot be used.
    TlsFiles = "tls-files",
    /// It demands a certificate, and none is set.
    CertificateMissing = "certificate-missing",
    /// No sentinel tells where the primary is.
    Sentinels = "sentinels",
    /// Its user may not do all that keygate does.
    Permission = "permission",
    /// It takes no writes.
    Replica = "replica",
    /// It is reading its data after a start.
    Loading = "loading",
    /// It cannot write its files.
    Disk = "disk",
    /// It is too old.
    Version = "version",
    /// It is a cluster.
    Cluster = "cluster",
    /// It is sealed with server secrets that this server does not have.
    Secret = "secret",
    /// It may drop keys and counters.
    Eviction = "eviction",
    /// A crash of it loses what was acknowledged.
    Persistence = "persistence",
    /// It has no room.
    Full = "full",
    /// It will soon have no room.
    NearlyFull = "nearly-full",
    /// Its answers take long.
    Slow = "slow",
    /// Too few replicas are connected.
    Replicas = "replicas",
    /// It went back in time.
    WentBack = "went_back",
}

impl Problem {
    /// One that keeps the server from serving.
    #[must_use]
    pub fn grave(code: ProblemCode, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, what: what.into(), remedy: remedy.into(), stops: true }
    }

    /// One that somebody should look at.
    #[must_use]
    pub fn slight(code: ProblemCode, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { stops: false, ..Self::grave(code, what, remedy) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}
