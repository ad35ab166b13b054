//! Takes messages to subscribers, and one-time codes to whoever signed up: over HTTP, signed, or into a file. May use the ports of
//! `app`, the domain, and `dial`. Must never know a store, nor what is told.

mod codes;
mod file;
mod http;

use crate::{
    app::ports::{Courier, Delivery, Undelivered},
    domain::{
        id::RealmName,
        time::Timestamp,
        webhook::{Letter, SigningSecret, Webhook},
    },
};
pub use codes::Codes;
use file::Log;
use http::Door;
use std::{collections::HashMap, path::Path, sync::Arc};

/// Every subscriber and the way to it.
#[derive(Default)]
pub struct Post {
    doors: HashMap<(RealmName, String), Door>,
    log: Option<Arc<Log>>,
}

impl Post {
    /// Opens the way to a subscriber.
    ///
    /// # Errors
    /// Says what is wrong with its address, or with this machine.
    pub fn subscribe(&mut self, realm: &RealmName, hook: &Webhook, secret: SigningSecret) -> Result<(), String> {
        let door = Door::open(&hook.url, secret, hook.timeout)?;
        self.doors.insert((realm.clone(), hook.name.clone()), door);
        Ok(())
    }

    /// Writes the audit log to a file as well.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn export(&mut self, path: &Path) -> std::io::Result<()> {
        self.log = Some(Arc::new(Log::open(path)?));
        Ok(())
    }

    /// Writes the audit log where `before` does, in turn with it.
    pub fn export_with(&mut self, before: &Self) {
        self.log.clone_from(&before.log);
    }

    async fn deliver(&self, realm: &RealmName, letter: &Letter, now: Timestamp) -> Result<(), Undelivered> {
        if let Some(log) = self.log.as_ref().filter(|_| letter.hook == Webhook::EXPORT) {
            return log.append(&letter.id, &letter.body).await;
        }
        let door = self
            .doors
            .get(&(realm.clone(), letter.hook.clone()))
            .ok_or_else(|| Undelivered { problem: "there is no such subscriber".to_owned(), for_good: false })?;
        door.post(&letter.id, &letter.body, now).await
    }
}

impl Courier for Post {
    fn send<'a>(&'a self, realm: &'a RealmName, letter: &'a Letter, now: Timestamp) -> Delivery<'a> {
        Box::pin(self.deliver(realm, letter, now))
    }
}
