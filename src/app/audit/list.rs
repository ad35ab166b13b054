//! A page of events, of one account or of all accounts of a realm.

use crate::{
    app::{
        error::AppError,
        house::App,
        manager::{ManagePermit, Reader},
        ports::Store,
    },
    domain::{
        audit::{Act, AuditEvent},
        id::{AccountId, AccountRef, Environment, KeyId},
        time::Timestamp,
    },
};

/// Which events to list. What is absent lets everything through.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only this account's.
    pub account: Option<AccountId>,
    /// Only these acts; none named: all.
    pub acts: Vec<Act>,
    /// Only what was done to this key.
    pub key: Option<KeyId>,
    /// Only what this actor did: see [`crate::domain::audit::Actor::text`].
    pub actor: Option<String>,
    /// Only from this instant on.
    pub since: Option<Timestamp>,
    /// Only before this instant.
    pub until: Option<Timestamp>,
    /// Only keys of this environment.
    pub environment: Option<Environment>,
    /// Begin after this event.
    pub after: Option<(AccountId, u64)>,
    /// At most so many.
    pub page_size: usize,
}

/// A page of events.
#[derive(Debug, Default)]
pub struct EventPage {
    /// The events, each with its account.
    pub events: Vec<(AccountId, AuditEvent)>,
    /// Where the next page begins. Absent: there is none.
    pub next: Option<(AccountId, u64)>,
}

/// How many events of the store one page may cost, however few of them the filter lets through.
const READ_AT_MOST: usize = 2_000;
/// How many are read at a time where the filter may let few of them through.
const READ_AT_LEAST: usize = 100;
/// How many accounts one page may look into.
const ACCOUNTS_AT_MOST: usize = 256;

impl<S: Store> App<S> {
    /// A page of events. Costs the same however many there are: where a filter lets few through, the page is short and has a
    /// successor.
    ///
    /// # Errors
    /// When there is no such account or key, or the store cannot answer.
    pub async fn list_events(
        &self,
        permit: ManagePermit<'_, Reader>,
        filter: &EventFilter,
    ) -> Result<EventPage, AppError> {
        let realm = permit.guard().realm.name.clone();
        let account = match (&filter.account, filter.key) {
            (None, Some(key)) => Some(self.store.locate_key(&realm, key).await?.ok_or(AppError::UnknownKey(key))?),
            (named, _) => named.clone(),
        };
        let mut page = Page { filter, found: EventPage::default(), read: 0 };
        let (start, from) = match &filter.after {
            Some((account, sequence)) => (Some(account.clone()), sequence.saturating_add(1)),
            None => (account.clone(), 1),
        };
        if let Some(named) = account {
            let owner = AccountRef { realm, account: named };
            if self.store.read_account(&owner).await?.is_none() {
                return Err(AppError::UnknownAccount);
            }
            let same = start.as_ref() == Some(&owner.account);
            if !same {
                return Err(AppError::invalid("page_token", "must come from a page with the same filters"));
            }
            self.read_events(&mut page, &owner, from).await?;
            return Ok(page.found);
        }
        if let Some(account) = &start {
            // The account that the last page ended in may have more.
            let owner = AccountRef { realm: realm.clone(), account: account.clone() };
            self.read_events(&mut page, &owner, from).await?;
        }
        if page.found.next.is_none() {
            let accounts = self.store.list_accounts(&realm, start.as_ref(), ACCOUNTS_AT_MOST).await?;
            let last = (accounts.len() == ACCOUNTS_AT_MOST).then(|| accounts.last().cloned()).flatten();
            for account in accounts {
                let owner = AccountRef { realm: realm.clone(), account };
                self.read_events(&mut page, &owner, 1).await?;
                if page.found.next.is_some() {
                    return Ok(page.found);
                }
            }
            // There may be more accounts: the next page goes on behind every event of the last one.
            page.found.next = last.map(|account| (account, u64::MAX));
        }
        Ok(page.found)
    }

    /// Takes events of one account into a page, until the account or the page is full. Where there may be more of the account,
    /// the page says where to go on.
    async fn read_events(&self, page: &mut Page<'_>, owner: &AccountRef, from: u64) -> Result<(), AppError> {
        if from == u64::MAX {
            return Ok(());
        }
        let mut from = from;
        loop {
            let room = page.filter.page_size.saturating_sub(page.found.events.len());
            if room == 0 || page.read >= READ_AT_MOST {
                // Whether there is anything at all is found out by reading: an empty last page is legal.
                page.found.next = Some((owner.account.clone(), from.saturating_sub(1)));
                return Ok(());
            }
            let wanted = if page.filter.is_sparse() { room.max(READ_AT_LEAST) } else { room };
            let events = self.store.read_audit(owner, from, wanted).await?;
            let count = events.len();
            page.read = page.read.saturating_add(count);
            for event in events {
                let sequence = event.sequence;
                if page.found.events.len() >= page.filter.page_size {
                    page.found.next = Some((owner.account.clone(), sequence.saturating_sub(1)));
                    return Ok(());
                }
                if page.filter.lets_through(&event) {
                    page.found.events.push((owner.account.clone(), event));
                }
                from = sequence.saturating_add(1);
            }
            if count < wanted {
                return Ok(());
            }
        }
    }
}

/// A page that is being filled.
struct Page<'f> {
    filter: &'f EventFilter,
    found: EventPage,
    /// Events that were read of the store.
    read: usize,
}

impl EventFilter {
    fn lets_through(&self, event: &AuditEvent) -> bool {
        (self.acts.is_empty() || self.acts.contains(&event.act))
            && self.key.is_none_or(|key| event.key == Some(key))
            && self.actor.as_ref().is_none_or(|actor| event.actor == *actor)
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
            && self.environment.as_ref().is_none_or(|wanted| event.environment.as_ref() == Some(wanted))
    }

    /// Whether the store may read events that the filter then leaves out.
    fn is_sparse(&self) -> bool {
        !self.acts.is_empty()
            || self.key.is_some()
            || self.actor.is_some()
            || self.since.is_some()
            || self.until.is_some()
            || self.environment.is_some()
    }
}
