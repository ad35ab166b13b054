//! Webhooks: who is told of what, what a message says, and how it is signed (Standard Webhooks: an id, a time, and HMAC-SHA256
//! over both and the body).

use super::{
    audit::{Act, AuditEvent},
    id::{AccountRef, Environment, KeyId},
    time::Timestamp,
};
use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use std::{path::PathBuf, time::Duration};
use zeroize::Zeroizing;

/// A subscriber of one realm, as its configuration states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its name, once in the realm. What was delivered is remembered under it.
    pub name: String,
    /// Where messages go.
    pub url: String,
    /// Where the secret stands that they are signed with.
    pub secret: SecretSource,
    /// What it is told of.
    pub events: Vec<EventKind>,
    /// How long one delivery may take.
    pub timeout: Duration,
    /// How long a message is tried again before it becomes a dead letter.
    pub retry_for: Duration,
    /// The longest wait before it is tried again.
    pub longest_wait: Duration,
    /// How long before a key's end it is told of it.
    pub expiring_within: Duration,
    /// How long before a key rests unused it is told of it.
    pub resting_within: Duration,
    /// How long a key must have lain idle for its next use to be told.
    pub idle_after: Duration,
}

/// Where a secret stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file; a relative one lies in the data directory.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
    /// Nowhere: nothing is signed.
    None,
}

/// What a message tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// An act in the account's audit chain.
    Act(Act),
    /// A key will expire soon.
    Expiring,
    /// A key will rest soon, because nobody uses it.
    Resting,
    /// A key was used that had lain idle for long.
    Awoken,
    /// Somebody tries whether messages arrive.
    Test,
}

/// A message to one subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The same however often it is sent.
    pub id: String,
    /// The subscriber.
    pub hook: String,
    /// The name of its [`EventKind`].
    pub event: String,
    /// The account that it is about; empty: none.
    pub account: String,
    /// The body, as it is signed and sent.
    pub body: String,
}

impl Webhook {
    /// A subscriber without an address that is told every act: what exports the audit log.
    #[must_use]
    pub fn export() -> Self {
        Self {
            name: Self::EXPORT.to_owned(),
            url: String::new(),
            secret: SecretSource::None,
            events: Act::ALL.map(EventKind::Act).to_vec(),
            timeout: Duration::from_secs(10),
            // A disk that is full is waited for.
            retry_for: Duration::MAX,
            // To try a file of this machine costs nothing, and somebody waits for it to be written again.
            longest_wait: Duration::from_secs(60),
            expiring_within: Duration::ZERO,
            resting_within: Duration::ZERO,
            idle_after: Duration::MAX,
        }
    }

    /// The longest wait for somebody else's service.
    pub const LONGEST_WAIT: Duration = Duration::from_secs(4 * 3_600);

    /// The name of that subscriber, which no other can have.
    pub const EXPORT: &'static str = "audit export";

    /// Whether it is told of that.
    #[must_use]
    pub fn wants(&self, kind: EventKind) -> bool {
        self.events.contains(&kind)
    }

    /// How long to wait after so many failed attempts, at least one; nothing when it was tried for long enough.
    #[must_use]
    pub fn wait_after(&self, attempts: u32) -> Option<Duration> {
        let wait =
            |attempt: u32| Duration::from_secs(3_u64.saturating_pow(attempt.saturating_sub(1))).min(self.longest_wait);
        let waited = (1..=attempts).map(wait).fold(Duration::ZERO, Duration::saturating_add);
        (waited <= self.retry_for).then(|| wait(attempts))
    }
}

impl EventKind {
    /// Those that are no act.
    const OTHERS: [Self; 4] = [Self::Expiring, Self::Resting, Self::Awoken, Self::Test];

    /// Everything that can be subscribed to.
    pub fn all() -> impl Iterator<Item = Self> {
        let others = Self::OTHERS.into_iter().filter(|kind| *kind != Self::Test);
        Act::ALL.into_iter().map(Self::Act).chain(others)
    }

    /// The name in configurations and messages, such as `key.created`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Act(act) => act.name().replacen('_', ".", 1),
            Self::Expiring => "key.expiring".to_owned(),
            Self::Resting => "key.resting".to_owned(),
            Self::Awoken => "key.awoken".to_owned(),
            Self::Test => "webhook.test".to_owned(),
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name() == name)
    }
}

impl Letter {
    /// The message about an event of an account's audit chain.
    #[must_use]
    pub fn of_act(hook: &str, owner: &AccountRef, event: &AuditEvent) -> Self {
        let id = format!("msg_{}", HEXLOWER.encode(event.hash.get(..16).unwrap_or_default()));
        let mut data = about(owner);
        data.insert("sequence".to_owned(), event.sequence.into());
        data.insert("actor".to_owned(), event.actor.clone().into());
        if let Some(environment) = &event.environment {
            data.insert("environment".to_owned(), environment.as_str().into());
        }
        if let Some(key) = event.key {
            data.insert("key_id".to_owned(), key.to_string().into());
        }
        if let Some(other) = &event.other {
            data.insert("other_account_id".to_owned(), other.as_str().into());
        }
        if let Some(member) = &event.member {
            data.insert("member_id".to_owned(), member.as_str().into());
        }
        if !event.fields.is_empty() {
            data.insert("fields".to_owned(), event.fields.clone().into());
        }
        Self::new(id, hook, EventKind::Act(event.act), owner, event.at, data)
    }

    /// The message about a time of a key that comes or came; `field` names it. Told once for each such time.
    #[must_use]
    pub fn of_time(
        hook: &str,
        owner: &AccountRef,
        (key, environment): (KeyId, &Environment),
        kind: EventKind,
        (field, time): (&str, Timestamp),
        now: Timestamp,
    ) -> Self {
        let id = format!("msg_{key}_{}_{}", kind.name().replace('.', "_"), time.as_micros());
        let mut data = about(owner);
        data.insert("environment".to_owned(), environment.as_str().into());
        data.insert("key_id".to_owned(), key.to_string().into());
        data.insert(field.to_owned(), written(time).into());
        Self::new(id, hook, kind, owner, now, data)
    }

    /// A message that tells nothing.
    #[must_use]
    pub fn of_test(hook: &str, realm: &str, id: &str, now: Timestamp) -> Self {
        let event = EventKind::Test.name();
        let body = json!({ "type": event, "timestamp": written(now), "data": { "realm": realm } }).to_string();
        Self { id: format!("msg_test_{id}"), hook: hook.to_owned(), event, account: String::new(), body }
    }

    fn new(
        id: String,
        hook: &str,
        kind: EventKind,
        owner: &AccountRef,
        at: Timestamp,
        data: Map<String, Value>,
    ) -> Self {
        let event = kind.name();
        let body = json!({ "type": event, "timestamp": written(at), "data": data }).to_string();
        Self { id, hook: hook.to_owned(), event, account: owner.account.to_string(), body }
    }
}

fn about(owner: &AccountRef) -> Map<String, Value> {
    let named = [("realm", owner.realm.as_str()), ("account_id", owner.account.as_str())];
    named.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// An instant in the form of RFC 3339, in UTC.
fn written(at: Timestamp) -> String {
    let micros = i64::try_from(at.as_micros()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).map(|at| at.to_string()).unwrap_or_default()
}

/// What a subscriber's messages are signed with.
pub struct SigningSecret(Zeroizing<[u8; SigningSecret::MOST]>);

impl SigningSecret {
    /// What is allowed.
    pub const ALLOWED: &'static str = "`whsec_` and 24 to 64 bytes in base64";
    const MOST: usize = 64;

    /// Reads a secret.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64.decode(text.trim().strip_prefix("whsec_")?.as_bytes()).ok()?);
        if !(24..=Self::MOST).contains(&bytes.len()) {
            return None;
        }
        // HMAC fills a shorter key up with zeros itself.
        let mut block = Zeroizing::new([0; Self::MOST]);
        block.iter_mut().zip(bytes.iter()).for_each(|(slot, byte)| *slot = *byte);
        Some(Self(block))
    }

    /// The header `webhook-signature` of a body that is sent under that id at that second.
    #[must_use]
    pub fn sign(&self, id: &str, second: u64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new((&*self.0).into());
        mac.update(format!("{id}.{second}.").as_bytes());
        mac.update(body.as_bytes());
        format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_standard() {
        // The example of the Standard Webhooks specification.
        let secret = SigningSecret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_short_secret_or_one_without_its_mark_is_none() {
        for text in
            ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa!!"]
        {
            assert!(SigningSecret::new(text).is_none(), "{text}");
        }
    }

    #[test]
    fn waits_grow_and_end() {
        let hook = Webhook {
            retry_for: Duration::from_secs(86_400),
            longest_wait: Webhook::LONGEST_WAIT,
            ..Webhook::export()
        };
        let waits: Vec<u64> =
            (1..).map_while(|attempts| hook.wait_after(attempts)).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits[..9], [1, 3, 9, 27, 81, 243, 729, 2_187, 6_561]);
        assert!(waits[9..].iter().all(|wait| *wait == 14_400), "{waits:?}");
        assert!((72_000..=86_400).contains(&waits.iter().sum::<u64>()), "{waits:?}");
        assert_eq!(Webhook { retry_for: Duration::ZERO, ..hook }.wait_after(1), None);
        let export = Webhook::export();
        let waits = [1, 2, 4, 5, 1_000].map(|attempts| export.wait_after(attempts).map(|wait| wait.as_secs()));
        assert_eq!(waits, [1, 3, 27, 60, 60].map(Some));
    }

    #[test]
    fn a_message_tells_of_which_member_it_is() {
        use crate::domain::{
            account::Account,
            audit::{About, Actor},
            id::{AccountId, MemberId, RealmName},
        };
        let owner = AccountRef { realm: RealmName::new("recurr").unwrap(), account: AccountId::new("acme").unwrap() };
        let ann = MemberId::new("ann").unwrap();
        let told = |member| {
            let about = About { member, ..About::default() };
            let now = Timestamp::from_micros(1);
            let event = Account::unborn(now).record(now, &Actor::System, Act::MemberRemoved, about);
            let body: serde_json::Value = serde_json::from_str(&Letter::of_act("hook", &owner, &event).body).unwrap();
            assert_eq!(body["type"], "member.removed");
            body["data"].get("member_id").cloned()
        };
        assert_eq!((told(Some(&ann)), told(None)), (Some("ann".into()), None));
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: Vec<String> = EventKind::all().map(EventKind::name).collect();
        for name in &names {
            assert_eq!(EventKind::from_name(name).map(EventKind::name).as_ref(), Some(name));
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name}");
        }
    }
}
