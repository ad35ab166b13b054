//! Why a request is denied: a closed list. A denial is data; a failure to judge is an error; the two never share a path.

/// The true reason of a denial. The service that asked sees it; the end client sees only its [`Answer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DenyReason {
    /// No credential where the realm looks for one.
    MissingCredential,
    /// More than one credential, a repeated header, or several values in one header.
    AmbiguousCredential,
    /// Not a key of this realm: wrong prefix, length, alphabet or checksum.
    MalformedKey,
    /// Well formed, but no such key exists.
    UnknownKey,
    /// Revoked or replaced.
    RevokedKey,
    /// Past its expiry.
    ExpiredKey,
    /// Rotated out, and the grace has ended.
    RetiredSecret,
    /// Suspended by its manager.
    SuspendedKey,
    /// Nobody used it for longer than the realm allows.
    UnusedKey,
    /// Not valid yet.
    EarlyKey,
    /// Of another environment than the pinned one.
    WrongEnvironment,
    /// Bound to networks, and used from elsewhere or from nowhere known.
    ForbiddenAddress,
    /// The key's account is suspended.
    SuspendedAccount,
    /// The key's account is deactivated or offboarded.
    DeactivatedAccount,
    /// No access to the account or organization that the request acts on.
    ForbiddenAccount,
    /// The account that the request acts on does not exist.
    UnknownAccount,
    /// A needed scope is missing.
    InsufficientScope,
    /// Method and path match no operation.
    UnknownOperation,
    /// A limit is exhausted.
    RateLimited,
    /// The cost is larger than a limit: it can never be admitted.
    CostAboveLimit,
    /// The request has no canonical form: not everyone on its way would understand it alike.
    MalformedRequest,
    /// Too many keys came from the same address that do not work: this one was not looked up.
    TooManyMisses,
    /// Not a token that the realm takes: form, algorithm, issuer, key, signature, audience or claims are wrong.
    InvalidToken,
    /// A token of the realm's issuer, past its expiry.
    ExpiredToken,
    /// An embed token of the realm itself, past its expiry.
    ExpiredEmbedToken,
    /// The account deposited no credential for the provider that the request goes to.
    NoProviderCredential,
    /// The one-time code of an onboarding is wrong, over or used, or there is no such signup.
    InvalidCode,
}

impl DenyReason {
    /// Every reason.
    pub const ALL: [Self; 27] = [
        Self::MissingCredential,
        Self::AmbiguousCredential,
        Self::MalformedKey,
        Self::UnknownKey,
        Self::RevokedKey,
        Self::ExpiredKey,
        Self::RetiredSecret,
        Self::SuspendedKey,
        Self::WrongEnvironment,
        Self::SuspendedAccount,
        Self::DeactivatedAccount,
        Self::ForbiddenAccount,
        Self::UnknownAccount,
        Self::InsufficientScope,
        Self::UnknownOperation,
        Self::RateLimited,
        Self::CostAboveLimit,
        Self::MalformedRequest,
        Self::TooManyMisses,
        Self::InvalidToken,
        Self::ExpiredToken,
        Self::ExpiredEmbedToken,
        Self::UnusedKey,
        Self::EarlyKey,
        Self::ForbiddenAddress,
        Self::NoProviderCredential,
        Self::InvalidCode,
    ];

    /// The stable name, as in logs and the command line's output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MissingCredential => "missing_credential",
            Self::AmbiguousCredential => "ambiguous_credential",
            Self::MalformedKey => "malformed_key",
            Self::UnknownKey => "unknown_key",
            Self::RevokedKey => "revoked_key",
            Self::ExpiredKey => "expired_key",
            Self::RetiredSecret => "retired_secret",
            Self::SuspendedKey => "suspended_key",
            Self::UnusedKey => "unused_key",
            Self::EarlyKey => "early_key",
            Self::WrongEnvironment => "wrong_environment",
            Self::ForbiddenAddress => "forbidden_address",
            Self::SuspendedAccount => "suspended_account",
            Self::DeactivatedAccount => "deactivated_account",
            Self::ForbiddenAccount => "forbidden_account",
            Self::UnknownAccount => "unknown_account",
            Self::InsufficientScope => "insufficient_scope",
            Self::UnknownOperation => "unknown_operation",
            Self::RateLimited => "rate_limited",
            Self::CostAboveLimit => "cost_above_limit",
            Self::TooManyMisses => "too_many_misses",
            Self::InvalidCode => "invalid_code",
            Self::MalformedRequest => "malformed_request",
            Self::InvalidToken => "invalid_token",
            Self::ExpiredToken => "expired_token",
            Self::ExpiredEmbedToken => "expired_embed_token",
            Self::NoProviderCredential => "no_provider_credential",
        }
    }

    /// What the end client is told. Everything that is wrong with a credential itself is told in one way, so that
    /// nobody learns from the answer whether a key exists, existed, or never did.
    #[must_use]
    pub const fn answer(self) -> Answer {
        match self {
            Self::MissingCredential => Answer::MissingCredential,
            Self::AmbiguousCredential => Answer::AmbiguousCredential,
            Self::MalformedKey
            | Self::UnknownKey
            | Self::RevokedKey
            | Self::ExpiredKey
            | Self::RetiredSecret
            | Self::SuspendedKey
            | Self::UnusedKey
            | Self::EarlyKey
            | Self::WrongEnvironment
            | Self::InvalidToken
            | Self::ExpiredToken
            | Self::InvalidCode => Answer::InvalidCredential,
            Self::ExpiredEmbedToken => Answer::ExpiredEmbedToken,
            Self::ForbiddenAddress => Answer::ForbiddenAddress,
            Self::SuspendedAccount | Self::DeactivatedAccount => Answer::InactiveAccount,
            Self::ForbiddenAccount => Answer::ForbiddenAccount,
            Self::UnknownAccount => Answer::UnknownAccount,
            Self::InsufficientScope => Answer::InsufficientScope,
            Self::UnknownOperation => Answer::UnknownOperation,
            Self::RateLimited | Self::CostAboveLimit | Self::TooManyMisses => Answer::RateLimited,
            Self::MalformedRequest => Answer::MalformedRequest,
            Self::NoProviderCredential => Answer::NoProviderCredential,
        }
    }
}

/// What the end client is told: the rows that a realm's error table can answer with `for`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    /// 401 by default.
    MissingCredential,
    /// 401 by default; the same as an invalid credential unless the realm says otherwise.
    AmbiguousCredential,
    /// 401 by default.
    InvalidCredential,
    /// 401 by default; the same as an invalid credential unless the realm says otherwise.
    ExpiredEmbedToken,
    /// 403 by default.
    ForbiddenAddress,
    /// 403 by default.
    InactiveAccount,
    /// 403 by default.
    ForbiddenAccount,
    /// 404 by default.
    UnknownAccount,
    /// 403 by default.
    InsufficientScope,
    /// 404 by default.
    UnknownOperation,
    /// 429 by default.
    RateLimited,
    /// 400 by default.
    MalformedRequest,
    /// 403 by default; the same as a forbidden account unless the realm says otherwise.
    NoProviderCredential,
}

impl Answer {
    /// Every answer.
    pub const ALL: [Self; 13] = [
        Self::MissingCredential,
        Self::AmbiguousCredential,
        Self::InvalidCredential,
        Self::ExpiredEmbedToken,
        Self::ForbiddenAddress,
        Self::InactiveAccount,
        Self::ForbiddenAccount,
        Self::UnknownAccount,
        Self::InsufficientScope,
        Self::UnknownOperation,
        Self::RateLimited,
        Self::MalformedRequest,
        Self::NoProviderCredential,
    ];

    /// The name used in a realm's configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MissingCredential => "missing_credential",
            Self::AmbiguousCredential => "ambiguous_credential",
            Self::InvalidCredential => "invalid_credential",
            Self::ExpiredEmbedToken => "expired_embed_token",
            Self::ForbiddenAddress => "forbidden_address",
            Self::InactiveAccount => "inactive_account",
            Self::ForbiddenAccount => "forbidden_account",
            Self::UnknownAccount => "unknown_account",
            Self::InsufficientScope => "insufficient_scope",
            Self::UnknownOperation => "unknown_operation",
            Self::RateLimited => "rate_limited",
            Self::MalformedRequest => "malformed_request",
            Self::NoProviderCredential => "no_provider_credential",
        }
    }

    /// The answer of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|answer| answer.name() == name)
    }

    /// The HTTP status, code and message of a realm that says nothing of its own.
    #[must_use]
    pub const fn default_error(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::MissingCredential => (401, "unauthorized", "A credential is required"),
            Self::AmbiguousCredential | Self::InvalidCredential | Self::ExpiredEmbedToken => {
                (401, "unauthorized", "The credential is not valid")
            }
            Self::InactiveAccount => (403, "account_inactive", "The account is not active"),
            Self::ForbiddenAccount | Self::ForbiddenAddress | Self::NoProviderCredential => {
                (403, "forbidden", "The credential does not have access to this resource")
            }
            Self::UnknownAccount => (404, "not_found", "The resource was not found"),
            Self::InsufficientScope => {
                (403, "insufficient_scope", "The credential lacks a scope that this request needs")
            }
            Self::UnknownOperation => (404, "not_found", "The resource was not found"),
            Self::RateLimited => (429, "rate_limited", "Too many requests"),
            Self::MalformedRequest => (400, "bad_request", "The request is malformed"),
        }
    }
}
