//! Dead letters: messages that nobody took for as long as they were tried. They can be looked at and sent again.

use super::instant;
use crate::{
    app::{
        error::AppError,
        house::App,
        manager::{KeyManager, ManagePermit, Reader},
        ports::{Expected, MemoId, Shelf, Store, StoreError},
    },
    domain::{id::RealmName, time::Timestamp, webhook::Letter},
};
use serde_json::{Value, json};

/// A message that could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it.
    pub name: Vec<u8>,
    /// When it was given up.
    pub at: Timestamp,
    /// The message.
    pub letter: Letter,
    /// What went wrong last.
    pub problem: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// A page of dead letters, the oldest first.
#[derive(Debug)]
pub struct DeadPage {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// Where the next page begins; absent: there is none.
    pub next: Option<Vec<u8>>,
}

/// What came of sending dead letters again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Redelivered {
    /// How many were delivered.
    pub delivered: u32,
    /// How many were not, and stay.
    pub failed: u32,
    /// What went wrong with the last of those.
    pub problem: String,
}

/// Letters that one act sends again, at most.
const AT_MOST: usize = 100;

impl<S: Store> App<S> {
    /// Dead letters of a realm, of one subscriber or of all.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn list_dead_letters(
        &self,
        permit: &ManagePermit<'_, Reader>,
        hook: Option<&str>,
        from: &[u8],
        limit: usize,
    ) -> Result<DeadPage, AppError> {
        self.dead_letters(&permit.guard().realm.name, hook, from, limit).await
    }

    /// Sends dead letters of a subscriber again, the oldest first, or the one of that id; those that are taken are dead no more.
    /// Stops at the first that is not.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn redeliver(
        &self,
        permit: &ManagePermit<'_, KeyManager>,
        hook: &str,
        id: Option<&str>,
    ) -> Result<Redelivered, AppError> {
        let realm = &permit.guard().realm.name;
        let mut done = Redelivered::default();
        let mut from = Vec::new();
        loop {
            let page = self.dead_letters(realm, Some(hook), &from, AT_MOST).await?;
            for dead in page.letters.iter().filter(|dead| id.is_none_or(|id| dead.letter.id == id)) {
                match self.hand_over(realm, &dead.letter).await {
                    Ok(()) => {
                        let id = MemoId { realm, shelf: Shelf::Dead, name: &dead.name };
                        self.store.write_memo(&id, Expected::Anything, None).await?;
                        done.delivered = done.delivered.saturating_add(1);
                    }
                    Err(undelivered) => {
                        done.failed = done.failed.saturating_add(1);
                        done.problem = undelivered.problem;
                        return Ok(done);
                    }
                }
            }
            match page.next {
                Some(next) if (done.delivered as usize) < AT_MOST => from = next,
                _ => return Ok(done),
            }
        }
    }

    /// Sends a message that tells nothing, at once; gives its id and, if it was not taken, why.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub async fn test_webhook(
        &self,
        permit: &ManagePermit<'_, KeyManager>,
        hook: &str,
    ) -> Result<(String, Option<String>), AppError> {
        let realm = &permit.guard().realm.name;
        let id = data_encoding::HEXLOWER.encode(&self.nonce()?);
        let letter = Letter::of_test(hook, realm.as_str(), &id, self.house.clock.now());
        let sent = self.hand_over(realm, &letter).await;
        Ok((letter.id, sent.err().map(|undelivered| undelivered.problem)))
    }

    /// Keeps a letter that is given up.
    pub(super) async fn bury(
        &self,
        realm: &RealmName,
        letter: &Letter,
        problem: &str,
        attempts: u32,
    ) -> Result<(), AppError> {
        let now = self.house.clock.now().as_micros().to_be_bytes();
        let name = [&now[..], letter.hook.as_bytes(), &[0], letter.id.as_bytes()].concat();
        let Letter { id, hook, event, account, body } = letter;
        let value = json!({ "id": id, "hook": hook, "event": event, "account": account, "body": body,
            "problem": problem, "attempts": attempts });
        let memo = MemoId { realm, shelf: Shelf::Dead, name: &name };
        self.store.write_memo(&memo, Expected::Anything, Some(value.to_string().as_bytes())).await?;
        let guard = self.house.realm(realm.as_str()).ok();
        if let Some(counts) = guard.and_then(|guard| guard.meter.hook(hook)) {
            counts.dead.one();
        }
        tracing::error!(
            realm = realm.as_str(),
            hook,
            id,
            problem,
            attempts,
            "a message is given up: it is a dead letter"
        );
        Ok(())
    }

    async fn dead_letters(
        &self,
        realm: &RealmName,
        hook: Option<&str>,
        from: &[u8],
        limit: usize,
    ) -> Result<DeadPage, AppError> {
        let first = MemoId { realm, shelf: Shelf::Dead, name: from };
        let found = self.store.list_memos(&first, limit.saturating_add(1)).await?;
        let next = found.get(limit).map(|(name, _)| name.clone());
        let letters = found.into_iter().take(limit).map(|(name, value)| {
            let corrupt = || StoreError::Corrupt(format!("a dead letter of realm `{realm}` cannot be read"));
            read(name, &value).ok_or_else(corrupt)
        });
        let mut letters = letters.collect::<Result<Vec<_>, _>>()?;
        letters.retain(|dead| hook.is_none_or(|hook| dead.letter.hook == hook));
        Ok(DeadPage { letters, next })
    }
}

fn read(name: Vec<u8>, value: &[u8]) -> Option<DeadLetter> {
    let value: Value = serde_json::from_slice(value).ok()?;
    let text = |field: &str| Some(value.get(field)?.as_str()?.to_owned());
    Some(DeadLetter {
        at: instant(&name),
        letter: Letter {
            id: text("id")?,
            hook: text("hook")?,
            event: text("event")?,
            account: text("account")?,
            body: text("body")?,
        },
        problem: text("problem")?,
        attempts: u32::try_from(value.get("attempts")?.as_u64()?).ok()?,
        name,
    })
}
