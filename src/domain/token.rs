//! Access tokens that a third party issues: what a realm takes for one, and what one says. Reading and verifying them is the
//! business of the room `tokens`.

use super::{
    deny::DenyReason,
    id::{AccountId, Environment, Scope},
    secret::SecretRef,
    time::Timestamp,
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Bytes of a token, at most.
pub const TOKEN_BYTES: usize = 8_192;

/// How a token may be signed: a closed list, with a key pair always. There is no `none`, and nothing that a shared secret signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenAlgorithm {
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// RSA PKCS #1 v1.5 with SHA-384.
    Rs384,
    /// RSA PKCS #1 v1.5 with SHA-512.
    Rs512,
    /// RSA PSS with SHA-256.
    Ps256,
    /// RSA PSS with SHA-384.
    Ps384,
    /// RSA PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl TokenAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The name in tokens, key sets and configurations (RFC 7518, section 3.1; RFC 8037, section 3.1).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// Where an issuer's public keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file, read when the server starts.
    File(PathBuf),
    /// An address, asked in the background.
    Url(String),
}

/// What a realm takes for a token of one issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRules {
    /// What `iss` must be, to the letter.
    pub issuer: Arc<str>,
    /// One of these must be in `aud`, to the letter.
    pub audiences: Vec<String>,
    /// How it may be signed.
    pub algorithms: Vec<TokenAlgorithm>,
    /// How far the issuer's clock may be from ours.
    pub leeway: Duration,
    /// The claim that names the account.
    pub account_claim: String,
    /// The claim that holds the scopes; absent: every token has the realm's default scopes.
    pub scopes_claim: Option<String>,
    /// The claim that holds roles, which are told to the service that asks.
    pub roles_claim: Option<String>,
    /// The environment of whoever presents one.
    pub environment: Environment,
    /// Where the public keys come from.
    pub keys: KeySource,
    /// How often they are fetched, if they are.
    pub refresh: Duration,
    /// How long the last ones hold while they cannot be fetched.
    pub keep: Duration,
}

/// What a token says whose signature was verified. Holds no part of the token's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Who issued it.
    pub issuer: Arc<str>,
    /// Whom it is about, in the issuer's words.
    pub subject: String,
    /// The account of whoever presents it.
    pub account: AccountId,
    /// Their environment.
    pub environment: Environment,
    /// What they may do.
    pub scopes: Vec<Scope>,
    /// Whether the scopes stand in the token itself.
    pub scoped: bool,
    /// Their roles in the issuer's words.
    pub roles: Vec<String>,
    /// Issuer and subject, hashed: what limits per key count it by.
    pub mark: [u8; 32],
    /// When it begins to hold, the leeway taken off.
    pub begins_at: Timestamp,
    /// When it expires, as it says itself.
    pub expires_at: Timestamp,
    /// When it ends to hold: the leeway later.
    pub ends_at: Timestamp,
}

/// Whether a text has the form of a token: three parts between two dots (RFC 7515, section 7.1).
#[must_use]
pub fn has_form(text: SecretRef<'_>) -> bool {
    text.expose().bytes().filter(|byte| *byte == b'.').count() == 2
}

impl Token {
    /// Whether it holds now.
    ///
    /// # Errors
    /// Says why not.
    pub fn holds(&self, now: Timestamp) -> Result<(), TokenFlaw> {
        if now >= self.ends_at {
            Err(TokenFlaw::Expired)
        } else if now < self.begins_at {
            Err(TokenFlaw::NotYet)
        } else {
            Ok(())
        }
    }
}

/// What is wrong with a token. The end client hears of none of these; the service that asked hears the reason, and the flaw
/// when it asks for the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenFlaw {
    /// The realm takes no tokens there.
    #[error("this realm takes no tokens here")]
    NotTaken,
    /// Longer than any token may be.
    #[error("longer than {TOKEN_BYTES} bytes")]
    TooLong,
    /// Not three parts of base 64, the first two of them JSON objects in which no name stands twice.
    #[error("not a signed token in its compact form")]
    Malformed,
    /// The header asks for something that keygate does not do: a key of its own, an extension, another content.
    #[error("its header brings a key along, or asks for what is not done here")]
    Header,
    /// The header's algorithm is not one that the realm allows for the issuer.
    #[error("its algorithm is not one that the realm allows for this issuer")]
    Algorithm,
    /// No issuer of the realm.
    #[error("its issuer is none of the realm's")]
    Issuer,
    /// The issuer has no such key.
    #[error("its `kid` is missing, or is no key of the issuer")]
    UnknownKey,
    /// The key that it names does not go with its algorithm.
    #[error("the key that it names does not go with its algorithm")]
    KeyMismatch,
    /// The signature is not that of the issuer.
    #[error("its signature is not the issuer's")]
    Signature,
    /// It is for somebody else.
    #[error("its audience is none of the realm's")]
    Audience,
    /// A claim is missing, or of another kind than it must be.
    #[error("a claim that is needed is missing, or is not what it must be")]
    Claims,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// An embed token of the realm itself, whose time is over.
    #[error("it is an embed token, and has expired")]
    ExpiredEmbed,
    /// Its time has not come.
    #[error("it does not hold yet")]
    NotYet,
}

impl TokenFlaw {
    /// The reason of the denial.
    #[must_use]
    pub const fn reason(self) -> DenyReason {
        match self {
            Self::Expired => DenyReason::ExpiredToken,
            Self::ExpiredEmbed => DenyReason::ExpiredEmbedToken,
            _ => DenyReason::InvalidToken,
        }
    }
}
