//! What one request is charged: every limit that applies, each with the exact name of its counter.

use super::{LimitRule, Part};
use crate::domain::{
    id::{AccountId, AccountRef, Environment, KeyId, RealmName},
    realm::Realm,
    time::Ticks,
};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use std::{net::IpAddr, ops::Range};

/// Whom a request is charged to. A part that a limit needs and that is missing is an error, never a silent bypass.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// The account that owns the key. Key and target account are counted inside it.
    pub account: Option<&'a AccountId>,
    /// The account acted on; absent: `account`.
    pub target_account: Option<&'a AccountId>,
    /// The key.
    pub key: Option<KeyId>,
    /// In place of a key: what tells apart whoever presents a token.
    pub bearer: Option<&'a [u8; 32]>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// Free text.
    pub custom: Option<&'a str>,
    /// The entries of a descriptor, encoded.
    pub descriptor: Option<&'a [u8]>,
}

/// A limit needs a part that the request does not give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPart {
    /// The limit's name.
    pub limit: String,
    /// What it counts per and did not get.
    pub part: Part,
}

/// Every limit that a request is checked against, to be charged together or not at all.
#[derive(Debug)]
pub struct Plan<'a> {
    realm: &'a RealmName,
    account: Option<AccountId>,
    cost: u32,
    charging: bool,
    due: Option<Ticks>,
    // Most requests meet one limit: then a plan takes no memory of its own.
    items: SmallVec<[PlanItem<'a>; 1]>,
    names: Names,
}

type Names = SmallVec<[u8; 128]>;

/// One limit of a plan.
#[derive(Debug)]
pub struct PlanItem<'a> {
    /// The limit.
    pub rule: &'a LimitRule,
    /// Whether the counter belongs to the account (and shares its slot), or to the realm at large.
    pub of_account: bool,
    /// What it is charged; 0: only looked at.
    pub cost: u32,
    name: Range<usize>,
}

impl<'a> Plan<'a> {
    /// A plan without limits. With `charging` false, deciding it changes nothing.
    #[must_use]
    pub fn new(realm: &'a Realm, account: Option<&AccountId>, cost: u32, charging: bool) -> Self {
        let (realm, account) = (&realm.name, account.cloned());
        Self { realm, account, cost, charging, due: None, items: SmallVec::new(), names: Names::new() }
    }

    /// The same plan, to be decided by then.
    #[must_use]
    pub fn by(self, due: Option<Ticks>) -> Self {
        Self { due, ..self }
    }

    /// When it must be decided; nothing: within the store's own time.
    #[must_use]
    pub fn due(&self) -> Option<Ticks> {
        self.due
    }

    /// Adds a limit; without an environment it is counted apart from those of all of them.
    ///
    /// # Errors
    /// When the subject lacks what the limit counts per.
    pub fn add(
        &mut self,
        environment: Option<&Environment>,
        rule: &'a LimitRule,
        subject: &Subject<'_>,
    ) -> Result<(), MissingPart> {
        let of_account = rule.knows_caller();
        let home = match &self.account {
            Some(account) if of_account => account.as_str(),
            None if of_account => return Err(MissingPart { limit: rule.name.to_string(), part: Part::Account }),
            _ => "",
        };
        let names = &mut self.names;
        let start = names.len();
        put(names, self.realm.as_str().as_bytes());
        put(names, home.as_bytes());
        put(names, environment.map_or("", Environment::as_str).as_bytes());
        put(names, rule.name.as_bytes());
        names.extend_from_slice(&rule.shape.bucket_us().to_be_bytes());
        names.extend_from_slice(&rule.shape.buckets().to_be_bytes());
        for part in &rule.per {
            put_part(names, *part, subject).ok_or_else(|| MissingPart { limit: rule.name.to_string(), part: *part })?;
        }
        self.items.push(PlanItem { rule, of_account, cost: self.cost, name: start..self.names.len() });
        Ok(())
    }

    /// Adds a limit of a descriptor, with a cost of its own, and gives the index of its item. What is added twice is one item
    /// that is charged both costs.
    ///
    /// # Errors
    /// When the limit counts per something else than a descriptor.
    pub fn add_descriptor(&mut self, rule: &'a LimitRule, descriptor: &[u8], cost: u32) -> Result<usize, MissingPart> {
        let subject = Subject { descriptor: Some(descriptor), ..Subject::default() };
        self.add(None, rule, &subject)?;
        let Some(mut added) = self.items.pop() else { return Ok(0) };
        let same = |item: &PlanItem<'_>| self.counter(item) == self.counter(&added);
        if let Some(index) = self.items.iter().position(same) {
            self.names.truncate(added.name.start);
            if let Some(item) = self.items.get_mut(index) {
                item.cost = item.cost.saturating_add(cost);
            }
            return Ok(index);
        }
        added.cost = cost;
        self.items.push(added);
        Ok(self.items.len().saturating_sub(1))
    }

    /// The account whose counters the plan touches.
    #[must_use]
    pub fn account(&self) -> Option<AccountRef> {
        self.account.as_ref().map(|account| AccountRef { realm: self.realm.clone(), account: account.clone() })
    }

    /// The realm.
    #[must_use]
    pub fn realm(&self) -> &RealmName {
        self.realm
    }

    /// The account's id, if the plan has one.
    #[must_use]
    pub fn account_id(&self) -> Option<&AccountId> {
        self.account.as_ref()
    }

    /// Whether anything is charged at all.
    #[must_use]
    pub fn charges(&self) -> bool {
        self.charging && self.items.iter().any(|item| item.cost > 0)
    }

    /// The limits, in the order in which they were added.
    #[must_use]
    pub fn items(&self) -> &[PlanItem<'a>] {
        &self.items
    }

    /// The counter's name: realm, account, environment, limit, shape and subject, each with its length before it, so that
    /// no value, however odd, reaches another's counter.
    #[must_use]
    pub fn counter(&self, item: &PlanItem<'_>) -> &[u8] {
        self.names.get(item.name.clone()).unwrap_or_default()
    }
}

fn put(names: &mut Names, field: &[u8]) {
    // Every field is bounded far below 64 KiB where it is made.
    let length = u16::try_from(field.len()).unwrap_or(u16::MAX);
    names.extend_from_slice(&length.to_be_bytes());
    names.extend_from_slice(field);
}

fn put_part(names: &mut Names, part: Part, subject: &Subject<'_>) -> Option<()> {
    names.push(match part {
        Part::Account => b'a',
        Part::TargetAccount => b't',
        Part::Key => b'k',
        Part::Address => b'i',
        Part::Subject => b's',
        Part::Descriptor => b'd',
    });
    match part {
        Part::Account => put(names, subject.account?.as_str().as_bytes()),
        Part::TargetAccount => put(names, subject.target_account.or(subject.account)?.as_str().as_bytes()),
        Part::Key => match (&subject.key, subject.bearer) {
            (Some(key), _) => put(names, key.as_bytes()),
            // Longer than a key's id, so that neither can be taken for the other.
            (None, bearer) => put(names, bearer?),
        },
        Part::Address => put_address(names, subject.address?),
        Part::Subject => put(names, subject.custom?.as_bytes()),
        Part::Descriptor => put_descriptor(names, subject.descriptor?),
    }
    Some(())
}

/// A long descriptor stands there as its hash, so that no name grows with what a client sends.
fn put_descriptor(names: &mut Names, descriptor: &[u8]) {
    const LONGEST: usize = 256;
    if descriptor.len() <= LONGEST {
        names.push(0);
        put(names, descriptor);
    } else {
        names.push(1);
        put(names, &Sha256::digest(descriptor));
    }
}

/// An IPv6 client is its /64: whoever has one has them all.
fn put_address(names: &mut Names, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => put(names, &v4.octets()),
        IpAddr::V6(v6) => {
            let network = u128::from(v6) >> 64;
            put(names, &network.to_be_bytes()[8..]);
        }
    }
}
