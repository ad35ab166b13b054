//! A change to one account: computed by pure code, applied by a store as a whole or not at all. There is no other way to
//! write, so no act can forget its audit event.

use super::{
    account::Account,
    audit::{About, Act, Actor, AuditEvent},
    entry::EntryChange,
    id::{AccountId, AccountRef, Environment, KeyId, MemberId, ProviderName},
    key::{Digest, IdempotencyRecord, KeyRecord},
    time::Timestamp,
};

/// What one act changes.
#[derive(Debug, Clone)]
pub struct Change {
    /// The account that is changed.
    pub owner: AccountRef,
    /// [`Account::mark`] of what the change was computed from; 0: the account must not exist.
    pub expected: u128,
    /// The account's record after the change.
    pub account: Account,
    /// Keys written: new ones and changed ones.
    pub put: Vec<KeyRecord>,
    /// Keys ended: their record leaves the working set and enters the history.
    pub end: Vec<KeyRecord>,
    /// Digests under which a key is found from now on.
    pub lookups: Vec<NewLookup>,
    /// Digests that lead nowhere any more.
    pub forgotten: Vec<Digest>,
    /// Entries written or removed, each named once.
    pub entries: Vec<EntryChange>,
    /// Events of the account's audit chain, in order.
    pub events: Vec<AuditEvent>,
    /// Remembers the act under its idempotency key.
    pub idempotency: Option<IdempotencyRecord>,
}

/// A digest and the key that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLookup {
    /// The digest.
    pub digest: Digest,
    /// The key's environment.
    pub environment: Environment,
    /// The key.
    pub key: KeyId,
}

impl Change {
    /// An empty change on top of what was read of the account; `None`: it does not exist yet and comes to exist now.
    #[must_use]
    pub fn begin(owner: &AccountRef, current: Option<&Account>, actor: &Actor, now: Timestamp) -> Self {
        let mut account = current.cloned().unwrap_or_else(|| Account::unborn(now));
        let expected = account.mark();
        account.version = account.version.saturating_add(1);
        let mut change = Self {
            owner: owner.clone(),
            expected,
            account,
            put: Vec::new(),
            end: Vec::new(),
            lookups: Vec::new(),
            forgotten: Vec::new(),
            entries: Vec::new(),
            events: Vec::new(),
            idempotency: None,
        };
        if current.is_none() {
            let born = change.account.record(now, actor, Act::AccountCreated, About::default());
            change.events.push(born);
        }
        change
    }

    /// Adds an event about the account itself, and the other account that it is about.
    pub fn record_account(&mut self, now: Timestamp, actor: &Actor, act: Act, other: Option<&AccountId>) {
        let event = self.account.record(now, actor, act, About { other, ..About::default() });
        self.events.push(event);
    }

    /// Adds an event about a provider's credential.
    pub fn record_credential(
        &mut self,
        now: Timestamp,
        actor: &Actor,
        act: Act,
        environment: &Environment,
        provider: &ProviderName,
    ) {
        let about = About { environment: Some(environment), fields: &[provider.as_str()], ..About::default() };
        let event = self.account.record(now, actor, act, about);
        self.events.push(event);
    }

    /// Adds an event about a member.
    pub fn record_member(&mut self, now: Timestamp, actor: &Actor, act: Act, member: &MemberId) {
        let event = self.account.record(now, actor, act, About { member: Some(member), ..About::default() });
        self.events.push(event);
    }

    /// Adds an event about a key.
    pub fn record(&mut self, now: Timestamp, actor: &Actor, act: Act, key: &KeyRecord, fields: &[&'static str]) {
        self.record_key(now, actor, act, About { key: Some((key.id, &key.environment)), fields, ..About::default() });
    }

    /// Adds an event about a key and whatever else it is about.
    pub fn record_key(&mut self, now: Timestamp, actor: &Actor, act: Act, about: About<'_>) {
        let event = self.account.record(now, actor, act, about);
        self.events.push(event);
    }
}
