//! Judges a copy of the log that was taken out of keygate: events of one account after the other, each account closed by its
//! signed checkpoint, all of it by a signed seal. Reads it once, from front to back, and holds one account's end at a time.

mod fault;

pub use fault::{Broken, Fault};

use super::{AuditEvent, Chain, Checkpoint, PublicKey, Seal, Sealing, Signed, Statement};
use crate::domain::{
    id::{AccountRef, RealmName},
    time::Timestamp,
};
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

/// One entry of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// An event of an account.
    Event(AccountRef, AuditEvent),
    /// How far the account's chain reached.
    Checkpoint(Signed<Checkpoint>),
    /// Which checkpoints there are.
    Seal(Signed<Seal>),
}

/// What copies that are older stated: whatever came later must agree with it.
#[derive(Debug, Default)]
pub struct Known {
    chains: BTreeMap<AccountRef, Chain>,
    sealed: BTreeMap<RealmName, Timestamp>,
}

impl Known {
    /// Takes in what a copy stated.
    pub fn learn(&mut self, summary: Summary) {
        self.chains.extend(summary.stated);
        self.sealed.insert(summary.seal.realm, summary.seal.at);
    }
}

/// What a copy holds that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// What it is sealed with.
    pub seal: Seal,
    /// How many events it holds.
    pub events: u64,
    /// Every account's chain, where it was to be remembered.
    stated: Vec<(AccountRef, Chain)>,
}

/// A copy that is being read.
pub struct Ledger<'k> {
    trusted: &'k [PublicKey],
    known: &'k Known,
    /// Whether to keep what is stated, for a later copy.
    remembers: bool,
    stated: Vec<(AccountRef, Chain)>,
    /// The account whose checkpoint did not come yet, and the end of its chain so far.
    open: Option<(AccountRef, Chain)>,
    /// The account that was closed last.
    closed: Option<AccountRef>,
    /// A place where an event is missing that may still come, and its number.
    gap: Option<(Broken, u64)>,
    /// The first account that older copies know and this one passes over.
    passed_over: Option<AccountRef>,
    events: u64,
    sealing: Sealing,
    seal: Option<Seal>,
}

impl<'k> Ledger<'k> {
    /// Statements must be signed with one of the `trusted` keys, and agree with what is `known`.
    #[must_use]
    pub fn new(trusted: &'k [PublicKey], known: &'k Known, remembers: bool) -> Self {
        Self {
            trusted,
            known,
            remembers,
            stated: Vec::new(),
            open: None,
            closed: None,
            gap: None,
            passed_over: None,
            events: 0,
            sealing: Sealing::default(),
            seal: None,
        }
    }

    /// Takes the entry that stands at `line`.
    ///
    /// # Errors
    /// The first place where the copy is not what keygate wrote. It may stand before `line`: an event that is missing at one
    /// place may still come at another.
    pub fn take(&mut self, line: u64, entry: Entry) -> Result<(), Broken> {
        if self.seal.is_some() {
            return Err(Broken::at(line, None, Fault::Stray));
        }
        if let Some((broken, wanted)) = &self.gap {
            return match &entry {
                Entry::Event(owner, event) if broken.owner.as_ref() == Some(owner) => {
                    let came = event.sequence == *wanted && event.hash == event.expected_hash();
                    if came { Err(Broken { fault: Fault::Reordered, ..broken.clone() }) } else { Ok(()) }
                }
                _ => Err(broken.clone()),
            };
        }
        match entry {
            Entry::Event(owner, event) => self.event(line, owner, &event),
            Entry::Checkpoint(signed) => self.checkpoint(line, &signed),
            Entry::Seal(signed) => self.seal(line, signed),
        }
    }

    /// Ends a copy that has `lines` lines.
    ///
    /// # Errors
    /// When it ends too early.
    pub fn finish(self, lines: u64) -> Result<Summary, Broken> {
        if let Some((broken, _)) = self.gap {
            return Err(broken);
        }
        match self.seal {
            Some(seal) => Ok(Summary { seal, events: self.events, stated: self.stated }),
            None => Err(cut(lines, self.open.as_ref())),
        }
    }

    fn event(&mut self, line: u64, owner: AccountRef, event: &AuditEvent) -> Result<(), Broken> {
        let told = |fault| Err(Broken::at(line, Some((&owner, event.sequence)), fault));
        let chain = match &self.open {
            Some((open, chain)) if *open == owner => *chain,
            // It goes on with the chain of the account before it, so it is that account's.
            Some((_, chain)) if chain.next(event).is_some() => return told(Fault::Changed),
            Some(open) => return Err(cut(line, Some(open))),
            None => {
                self.begin(line, &owner, event.sequence)?;
                Chain::default()
            }
        };
        if event.hash != event.expected_hash() {
            return told(Fault::Changed);
        }
        let wanted = chain.length.saturating_add(1);
        if event.sequence > wanted {
            let fault = Fault::Missing { first: wanted, last: event.sequence.saturating_sub(1) };
            self.gap = Some((Broken::at(line, Some((&owner, event.sequence)), fault), wanted));
            return Ok(());
        }
        if event.sequence < wanted {
            return told(Fault::Reordered);
        }
        let Some(next) = chain.next(event) else { return told(Fault::Spliced) };
        if self.known.chains.get(&owner).is_some_and(|old| old.length == next.length && old.head != next.head) {
            return told(Fault::Rewritten);
        }
        self.events = self.events.saturating_add(1);
        self.open = Some((owner, next));
        Ok(())
    }

    fn checkpoint(&mut self, line: u64, signed: &Signed<Checkpoint>) -> Result<(), Broken> {
        let Checkpoint { owner, chain: stated, .. } = &signed.statement;
        let told = |sequence, fault| Err(Broken::at(line, Some((owner, sequence)), fault));
        if let Some(fault) = self.doubt(signed) {
            return told(stated.length, fault);
        }
        let chain = match self.open.take() {
            Some((open, chain)) if open == *owner => chain,
            Some(open) => return Err(cut(line, Some(&open))),
            None => {
                self.begin(line, owner, stated.length)?;
                Chain::default()
            }
        };
        let (found, old) = (chain.length, self.known.chains.get(owner).map_or(0, |old| old.length));
        let reaches = stated.length.max(old);
        if reaches > found {
            return told(found.saturating_add(1), Fault::Beyond { stated: reaches, found });
        }
        if stated.length < found {
            return told(stated.length.saturating_add(1), Fault::Unsigned { stated: stated.length, found });
        }
        if stated.head != chain.head {
            return told(found, Fault::Rewritten);
        }
        self.sealing.take(&signed.statement);
        if self.remembers {
            self.stated.push((owner.clone(), chain));
        }
        self.closed = Some(owner.clone());
        Ok(())
    }

    fn seal(&mut self, line: u64, signed: Signed<Seal>) -> Result<(), Broken> {
        let told = |fault| Err(Broken::at(line, None, fault));
        if let Some(fault) = self.doubt(&signed) {
            return told(fault);
        }
        if self.open.is_some() {
            return Err(cut(line, self.open.as_ref()));
        }
        let seal = signed.statement;
        let (found, digest) = self.sealing.clone().finish();
        if seal.accounts != found {
            return told(Fault::Accounts { stated: seal.accounts, found });
        }
        if seal.digest != digest || self.closed.as_ref().is_some_and(|closed| closed.realm != seal.realm) {
            return told(Fault::Spliced);
        }
        if self.known.sealed.get(&seal.realm).is_some_and(|old| *old > seal.at) {
            return told(Fault::Older);
        }
        let behind = self.known.chains.range((self.closed.as_ref().map_or(Unbounded, Excluded), Unbounded));
        let behind = behind.map(|(owner, _)| owner).find(|owner| owner.realm == seal.realm);
        if let (None, Some(gone)) = (&seal.account, self.passed_over.as_ref().or(behind)) {
            return Err(Broken::at(line, Some((gone, 1)), Fault::Gone));
        }
        self.seal = Some(seal);
        Ok(())
    }

    /// Why a statement is not to be believed.
    fn doubt<T: Statement>(&self, signed: &Signed<T>) -> Option<Fault> {
        match (self.trusted.contains(&signed.public_key), signed.is_genuine()) {
            (true, true) => None,
            (true, false) => Some(Fault::Signature),
            (false, _) => Some(Fault::UnknownKey),
        }
    }

    /// Accounts come in their order, each once.
    fn begin(&mut self, line: u64, owner: &AccountRef, sequence: u64) -> Result<(), Broken> {
        if self.closed.as_ref().is_some_and(|closed| closed >= owner) {
            return Err(Broken::at(line, Some((owner, sequence)), Fault::Reordered));
        }
        if self.passed_over.is_none() {
            let between = (self.closed.as_ref().map_or(Unbounded, Excluded), Excluded(owner));
            let between = self.known.chains.range(between).map(|(known, _)| known);
            self.passed_over = between.into_iter().find(|known| known.realm == owner.realm).cloned();
        }
        Ok(())
    }
}

/// The copy ends, or goes on with something else, where more of an account should stand; or where the seal should.
fn cut(line: u64, open: Option<&(AccountRef, Chain)>) -> Broken {
    let place = open.map(|(owner, chain)| (owner, chain.length.saturating_add(1)));
    Broken::at(line, place, Fault::Cut)
}

#[cfg(test)]
mod tests;
