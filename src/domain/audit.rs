//! The audit chain of an account. Events are built from ids and closed enums, so they cannot hold a secret; each carries
//! the hash of the one before, so that a change or a cut shows.
//!
//! An event's hash is SHA-256 over the fields in the order of [`AuditEvent`], each preceded by its length as 8 bytes,
//! big-endian; numbers are 8 bytes, big-endian. The first event follows a hash of 32 zero bytes. A member, where there is one,
//! comes last, behind the text `member_id`.

mod checkpoint;
mod ledger;

pub use checkpoint::{Checkpoint, PublicKey, Seal, Sealing, Signed, Signer, Statement};
pub use ledger::{Broken, Entry, Fault, Known, Ledger, Summary};

use super::{
    account::AccountStatus,
    certificate::CertificateName,
    id::{AccountId, Environment, KeyId, MemberId},
    time::Timestamp,
};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Who acted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A key of the realm `keygate`, or a realm's own key acting for its owner.
    Key(KeyId),
    /// Whoever presented an access token.
    Token {
        /// Who issued it.
        issuer: Arc<str>,
        /// Whom it is about.
        subject: Arc<str>,
    },
    /// Whoever showed a certificate that manages.
    Certificate(CertificateName),
    /// keygate itself.
    System,
}

impl Actor {
    /// What the text begins with of whoever presented a token.
    pub const OF_TOKEN: &str = "token:";

    /// What the text begins with of whoever showed a certificate.
    pub const OF_CERTIFICATE: &str = "certificate:";

    /// The actor as text: a key id, `token:ISSUER#SUBJECT`, `certificate:NAME`, or `keygate`. What a token says of whom it is about is no secret; the
    /// token itself never stands there.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Key(id) => id.to_string(),
            Self::Token { issuer, subject } => format!("{}{issuer}#{subject}", Self::OF_TOKEN),
            Self::Certificate(name) => format!("{}{name}", Self::OF_CERTIFICATE),
            Self::System => SYSTEM.to_owned(),
        }
    }

    /// What [`Actor::is_text`] allows, in words.
    pub const TEXT_ALLOWED: &'static str = "the id of a key, `token:ISSUER#SUBJECT`, `certificate:NAME`, or `keygate`";

    /// Whether that is the text of an actor.
    #[must_use]
    pub fn is_text(text: &str) -> bool {
        let certificate =
            text.strip_prefix(Self::OF_CERTIFICATE).is_some_and(|name| CertificateName::new(name).is_some());
        let token = text.starts_with(Self::OF_TOKEN) && text.len() <= LONGEST_OF_TOKEN && text.contains('#');
        text == SYSTEM || certificate || token || KeyId::parse(text).is_ok()
    }
}

const SYSTEM: &str = "keygate";
/// Bytes of the text of whoever presented a token, at most.
const LONGEST_OF_TOKEN: usize = 2_048;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// The account came to exist.
    AccountCreated,
    /// A key was made.
    KeyCreated,
    /// A key made elsewhere was taken over.
    KeyImported,
    /// Name, scopes, metadata or expiry changed.
    KeyUpdated,
    /// The key stopped to work until it is resumed.
    KeySuspended,
    /// The key works again.
    KeyResumed,
    /// The key got a new secret.
    KeyRotated,
    /// The key was ended for ever.
    KeyRevoked,
    /// An imported hash gave way to keygate's own digest, at first use.
    KeyRekeyed,
    /// The account works again.
    AccountActivated,
    /// The account's keys stopped to work until it is activated.
    AccountSuspended,
    /// The account's keys stopped to work.
    AccountDeactivated,
    /// The account was ended for ever.
    AccountOffboarded,
    /// The account became a member of an organization.
    OrganizationJoined,
    /// The account is no longer a member of an organization.
    OrganizationLeft,
    /// A credential was deposited for a provider, in the place of whatever was there.
    CredentialStored,
    /// A provider's credential was removed.
    CredentialRemoved,
    /// The key of a provider's credential was wrapped by another key-encryption key.
    CredentialRewrapped,
    /// Somebody became a member of the account.
    MemberAdded,
    /// A member got other roles.
    MemberRolesChanged,
    /// A member was removed.
    MemberRemoved,
}

impl Act {
    /// What is done to an account that is given this status.
    #[must_use]
    pub const fn of_status(status: AccountStatus) -> Self {
        match status {
            AccountStatus::Active => Self::AccountActivated,
            AccountStatus::Suspended => Self::AccountSuspended,
            AccountStatus::Deactivated => Self::AccountDeactivated,
            AccountStatus::Offboarded => Self::AccountOffboarded,
        }
    }

    /// Every act.
    pub const ALL: [Self; 21] = [
        Self::AccountCreated,
        Self::KeyCreated,
        Self::KeyImported,
        Self::KeyUpdated,
        Self::KeySuspended,
        Self::KeyResumed,
        Self::KeyRotated,
        Self::KeyRevoked,
        Self::KeyRekeyed,
        Self::AccountActivated,
        Self::AccountSuspended,
        Self::AccountDeactivated,
        Self::AccountOffboarded,
        Self::OrganizationJoined,
        Self::OrganizationLeft,
        Self::CredentialStored,
        Self::CredentialRemoved,
        Self::CredentialRewrapped,
        Self::MemberAdded,
        Self::MemberRolesChanged,
        Self::MemberRemoved,
    ];

    /// The act as stored and hashed.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::AccountCreated => 1,
            Self::KeyCreated => 2,
            Self::KeyImported => 3,
            Self::KeyUpdated => 4,
            Self::KeySuspended => 5,
            Self::KeyResumed => 6,
            Self::KeyRotated => 7,
            Self::KeyRevoked => 8,
            Self::KeyRekeyed => 9,
            Self::AccountActivated => 10,
            Self::AccountSuspended => 11,
            Self::AccountDeactivated => 12,
            Self::AccountOffboarded => 13,
            Self::OrganizationJoined => 14,
            Self::OrganizationLeft => 15,
            Self::CredentialStored => 60,
            Self::CredentialRemoved => 61,
            Self::CredentialRewrapped => 62,
            Self::MemberAdded => 70,
            Self::MemberRolesChanged => 71,
            Self::MemberRemoved => 72,
        }
    }

    /// The act of a stored code.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.code() == code)
    }

    /// The act of a stable name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.name() == name)
    }

    /// The stable name, as in logs and exports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccountCreated => "account_created",
            Self::KeyCreated => "key_created",
            Self::KeyImported => "key_imported",
            Self::KeyUpdated => "key_updated",
            Self::KeySuspended => "key_suspended",
            Self::KeyResumed => "key_resumed",
            Self::KeyRotated => "key_rotated",
            Self::KeyRevoked => "key_revoked",
            Self::KeyRekeyed => "key_rekeyed",
            Self::AccountActivated => "account_activated",
            Self::AccountSuspended => "account_suspended",
            Self::AccountDeactivated => "account_deactivated",
            Self::AccountOffboarded => "account_offboarded",
            Self::OrganizationJoined => "organization_joined",
            Self::OrganizationLeft => "organization_left",
            Self::CredentialStored => "credential_stored",
            Self::CredentialRemoved => "credential_removed",
            Self::CredentialRewrapped => "credential_rewrapped",
            Self::MemberAdded => "member_added",
            Self::MemberRolesChanged => "member_roles_changed",
            Self::MemberRemoved => "member_removed",
        }
    }
}

/// One event of an account's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// The event's number in its account, from 1.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// Who: see [`Actor::text`].
    pub actor: String,
    /// What.
    pub act: Act,
    /// The environment of the key.
    pub environment: Option<Environment>,
    /// The key.
    pub key: Option<KeyId>,
    /// The other account that it is about, such as the organization that was joined.
    pub other: Option<AccountId>,
    /// The member that it is about: who came or went, in whose name a key was issued, or with whom it ended.
    pub member: Option<MemberId>,
    /// The names of the fields that changed, never their values; of a credential the provider's name.
    pub fields: Vec<String>,
    /// The hash of the event before.
    pub previous: [u8; 32],
    /// The hash of this event.
    pub hash: [u8; 32],
}

impl AuditEvent {
    /// The hash that this event should carry.
    #[must_use]
    pub fn expected_hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let mut put = |field: &[u8]| {
            hasher.update((field.len() as u64).to_be_bytes());
            hasher.update(field);
        };
        put(&self.sequence.to_be_bytes());
        put(&self.at.as_micros().to_be_bytes());
        put(self.actor.as_bytes());
        put(&u64::from(self.act.code()).to_be_bytes());
        put(self.environment.as_ref().map_or("", Environment::as_str).as_bytes());
        put(self.key.as_ref().map_or(&[][..], |key| &key.as_bytes()[..]));
        put(self.other.as_ref().map_or("", AccountId::as_str).as_bytes());
        put(&(self.fields.len() as u64).to_be_bytes());
        for field in &self.fields {
            put(field.as_bytes());
        }
        put(&self.previous);
        // What only some events have goes behind, with its name: the hashes of all others stay as they were.
        if let Some(member) = &self.member {
            put(b"member_id");
            put(member.as_str().as_bytes());
        }
        hasher.finalize().into()
    }
}

/// What an event is about, beside its account.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    /// A key and its environment.
    pub key: Option<(KeyId, &'a Environment)>,
    /// The environment of what is no key.
    pub environment: Option<&'a Environment>,
    /// Another account.
    pub other: Option<&'a AccountId>,
    /// A member of the account.
    pub member: Option<&'a MemberId>,
    /// The names of the fields that changed.
    pub fields: &'a [&'a str],
}

/// Where a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain {
    /// How many events there are.
    pub length: u64,
    /// The hash of the last; zero when there is none.
    pub head: [u8; 32],
}

impl Chain {
    /// Makes the next event and moves the end of the chain to it.
    pub(in crate::domain) fn append(
        &mut self,
        at: Timestamp,
        actor: &Actor,
        act: Act,
        About { key, environment, other, member, fields }: About<'_>,
    ) -> AuditEvent {
        let mut event = AuditEvent {
            sequence: self.length.saturating_add(1),
            at,
            actor: actor.text(),
            act,
            environment: key.map(|(_, environment)| environment).or(environment).cloned(),
            key: key.map(|(id, _)| id),
            other: other.cloned(),
            member: member.cloned(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            previous: self.head,
            hash: [0; 32],
        };
        event.hash = event.expected_hash();
        *self = Self { length: event.sequence, head: event.hash };
        event
    }

    /// The end of the chain after an event; nothing when the event does not follow from the one before.
    #[must_use]
    pub fn next(&self, event: &AuditEvent) -> Option<Self> {
        let next = self.length.saturating_add(1);
        let follows = event.sequence == next && event.previous == self.head && event.hash == event.expected_hash();
        follows.then_some(Self { length: next, head: event.hash })
    }

    /// Checks a whole chain and tells the number of the first event that does not follow from the one before.
    ///
    /// # Errors
    /// The sequence number at which the chain breaks.
    pub fn verify<'e>(events: impl IntoIterator<Item = &'e AuditEvent>) -> Result<Self, u64> {
        let next = |end: Self, event| end.next(event).ok_or(end.length.saturating_add(1));
        events.into_iter().try_fold(Self::default(), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_verifies_until_any_event_is_changed_cut_or_moved() {
        let mut chain = Chain::default();
        let events: Vec<AuditEvent> = (1..=5)
            .map(|at| {
                chain.append(
                    Timestamp::from_micros(at),
                    &Actor::System,
                    Act::KeyUpdated,
                    About { fields: &["name"], ..About::default() },
                )
            })
            .collect();
        assert_eq!(Chain::verify(&events), Ok(chain));

        let mut changed = events.clone();
        changed[2].actor = "somebody else".to_owned();
        assert_eq!(Chain::verify(&changed), Err(3));
        let mut cut = events.clone();
        cut.remove(1);
        assert_eq!(Chain::verify(&cut), Err(2));
        let mut moved = events.clone();
        moved.swap(3, 4);
        assert_eq!(Chain::verify(&moved), Err(4));
    }
}
