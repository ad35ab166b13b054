//! What a proxy passes on to the service behind it.

/// The headers that tell the upstream who is calling, and what becomes of the credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// For each of [`Identity::ALL`] the name of its header in lower case; absent: not sent.
    names: [Option<String>; Identity::ALL.len()],
    /// Whether the credential is passed on.
    pub keeps_credential: bool,
}

/// What the upstream can be told of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The account that owns the key.
    Account,
    /// The account acted on.
    TargetAccount,
    /// The key's id.
    KeyId,
    /// The key's environment.
    Environment,
    /// The key's scopes, separated by blanks.
    Scopes,
    /// The operation.
    Operation,
}

impl Identity {
    /// Everything that can be told.
    pub const ALL: [Self; 6] =
        [Self::Account, Self::TargetAccount, Self::KeyId, Self::Environment, Self::Scopes, Self::Operation];

    /// The name used in a realm's configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::TargetAccount => "target_account",
            Self::KeyId => "key_id",
            Self::Environment => "environment",
            Self::Scopes => "scopes",
            Self::Operation => "operation",
        }
    }

    /// The header of a realm that says nothing of its own.
    #[must_use]
    pub const fn default_header(self) -> &'static str {
        match self {
            Self::Account => "x-auth-account",
            Self::TargetAccount => "x-auth-target-account",
            Self::KeyId => "x-auth-key-id",
            Self::Environment => "x-auth-environment",
            Self::Scopes => "x-auth-scopes",
            Self::Operation => "x-auth-operation",
        }
    }
}

impl Upstream {
    /// With a header's name, in lower case, for each of [`Identity::ALL`].
    #[must_use]
    pub fn new(names: [Option<String>; Identity::ALL.len()], keeps_credential: bool) -> Self {
        Self { names, keeps_credential }
    }

    /// Each identity that is sent, with the name of its header.
    pub fn headers(&self) -> impl Iterator<Item = (Identity, &str)> {
        Identity::ALL.into_iter().zip(&self.names).filter_map(|(identity, name)| Some((identity, name.as_deref()?)))
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self::new(Identity::ALL.map(|identity| Some(identity.default_header().to_owned())), false)
    }
}
