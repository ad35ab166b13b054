//! Takes messages to subscribers: over HTTP, signed, or into a file. May use the port of `app` and the domain. Must never know a
//! store, nor what is told.

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
use file::Log;
use http::Door;
use std::{collections::HashMap, path::Path, sync::Arc};

/// Every subscriber and the way to it.
#[derive(Default)]
pub struct Post {
    ways: HashMap<(RealmName, String), Way>,
    log: Option<Arc<Log>>,
}

struct Way {
    door: Door,
    secret: SigningSecret,
}

impl Post {
    /// Opens the way to a subscriber.
    ///
    /// # Errors
    /// Says what is wrong with its address, or with this machine.
    pub fn subscribe(&mut self, realm: &RealmName, hook: &Webhook, secret: SigningSecret) -> Result<(), String> {
        let door = Door::open(&hook.url, hook.timeout)?;
        self.ways.insert((realm.clone(), hook.name.clone()), Way { door, secret });
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
        let way = self
            .ways
            .get(&(realm.clone(), letter.hook.clone()))
            .ok_or_else(|| Undelivered { problem: "there is no such subscriber".to_owned(), for_good: false })?;
        // Seconds that have passed: a time that lies ahead could be refused.
        let second = now.as_micros() / 1_000_000;
        way.door.post(letter, second, &way.secret.sign(&letter.id, second, &letter.body)).await
    }
}

impl Courier for Post {
    fn send<'a>(&'a self, realm: &'a RealmName, letter: &'a Letter, now: Timestamp) -> Delivery<'a> {
        Box::pin(self.deliver(realm, letter, now))
    }
}
