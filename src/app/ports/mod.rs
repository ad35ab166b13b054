//! What the use cases need from outside.

pub mod backup;
pub mod journal;
pub mod meter;
mod problem;
mod store;
pub mod trace;

use crate::domain::{
    embed::EmbedToken,
    id::RealmName,
    onboarding,
    seal::DataKey,
    secret::{Secret, SecretRef},
    time::{Ticks, Timestamp},
    token::{Token, TokenFlaw},
    webhook::Letter,
};
pub use problem::{Problem, ProblemCode};
use std::{future::Future, pin::Pin, sync::Arc};
pub use store::{
    CommitError, EntryQuery, Expected, Fence, Found, Freshness, KeyListing, KeyQuery, MemoId, Memos, Shelf, Sought,
    Store, StoreError,
};
use zeroize::Zeroizing;

/// Takes messages to those who subscribed.
pub trait Courier: Send + Sync + 'static {
    /// Delivers a message to the subscriber that it names.
    fn send<'a>(&'a self, realm: &'a RealmName, letter: &'a Letter, now: Timestamp) -> Delivery<'a>;
}

/// A delivery under way.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<(), Undelivered>> + Send + 'a>>;

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// In words.
    pub problem: String,
    /// The subscriber will never take it.
    pub for_good: bool,
}

/// Judges access tokens of third parties.
pub trait Tokens: Send + Sync + 'static {
    /// What a token says that was found good before, and still is.
    fn recall(&self, realm: &RealmName, text: SecretRef<'_>, now: Timestamp) -> Option<GoodToken>;

    /// Judges a token: form, issuer, key, signature, audience, times.
    fn verify(&self, realm: &RealmName, text: SecretRef<'_>, now: Timestamp) -> TokenVerdict;

    /// An embed token of that realm as a text, signed; nothing when the realm has none.
    fn sign(&self, realm: &RealmName, id: &[u8; 16], embed: &EmbedToken) -> Option<Zeroizing<String>>;

    /// The public keys of the realm's embed tokens as a JWK set; nothing when the realm has none.
    fn key_set(&self, realm: &RealmName) -> Option<String>;
}

/// A token that was found good.
#[derive(Debug, Clone)]
pub enum GoodToken {
    /// One of a third party.
    OfIssuer(Arc<Token>),
    /// An embed token of the realm itself.
    Embed(Arc<EmbedToken>),
}

/// What came of judging a token.
pub enum TokenVerdict {
    /// It is good.
    Good(GoodToken),
    /// It is not; told with what it says where its signature is good.
    Flawed(TokenFlaw, Option<Arc<Token>>),
    /// The keys of this issuer are not known, so nobody can tell.
    Unavailable(Arc<str>),
    /// Newer keys of this issuer are on their way: wait for that, a bounded time, and judge again.
    Wait(Arc<str>, Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// Reads clocks.
pub trait Clock: Send + Sync + 'static {
    /// The time of day, for deadlines. Never goes back.
    fn now(&self) -> Timestamp;

    /// A clock that only moves forward evenly, for windows and ages.
    fn ticks(&self) -> Ticks;

    /// Both of one instant, for whoever needs both.
    fn reading(&self) -> (Timestamp, Ticks) {
        (self.now(), self.ticks())
    }

    /// The store told its own time of day: from now on that is the time.
    fn observe(&self, store_time: Timestamp);
}

/// Makes random bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills a buffer with bytes that nobody can guess.
    ///
    /// # Errors
    /// When the operating system gives none.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system gives no random bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct EntropyError(pub String);

/// A service that holds a key-encryption key and never gives it away. `bound` is what the wrapping is bound to: opening takes the
/// same.
pub trait KeyService: Send + Sync + 'static {
    /// Wraps a data key.
    fn wrap<'a>(&'a self, bound: &'a [u8], key: &'a DataKey) -> KeyServiceAnswer<'a, Vec<u8>>;

    /// Opens what it wrapped.
    fn open<'a>(&'a self, bound: &'a [u8], wrapped: &'a [u8]) -> KeyServiceAnswer<'a, DataKey>;
}

/// What a key service will answer. Boxed: it is asked seldom, over a network.
pub type KeyServiceAnswer<'a, T> = Pin<Box<dyn Future<Output = Result<T, KeyServiceError>> + Send + 'a>>;

/// Why a key service did not answer, for the log. Holds nothing that it was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyServiceError(pub String);

/// Brings one-time codes to whoever signed up.
pub trait Messenger: Send + Sync + 'static {
    /// Brings one, and returns when whoever sends it on has taken it.
    fn deliver<'p>(
        &'p self,
        parcel: Parcel<'p>,
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliveryError>> + Send + 'p>>;
}

/// A one-time code on its way.
pub struct Parcel<'a> {
    /// The realm.
    pub realm: &'a RealmName,
    /// How it goes.
    pub delivery: &'a onboarding::Delivery,
    /// Tells this parcel from every other.
    pub id: String,
    /// Where it goes.
    pub address: &'a str,
    /// What the key will be called.
    pub name: &'a str,
    /// The code.
    pub code: &'a Secret,
    /// When it is sent.
    pub now: Timestamp,
    /// When it stops to work.
    pub expires_at: Timestamp,
}

/// A code could not be brought.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DeliveryError(pub String);

/// Brings nothing: for servers without onboarding.
#[derive(Debug)]
pub struct NoMessenger;

impl Messenger for NoMessenger {
    fn deliver<'p>(
        &'p self,
        _parcel: Parcel<'p>,
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliveryError>> + Send + 'p>> {
        Box::pin(async { Err(DeliveryError("this server brings no codes".to_owned())) })
    }
}
