//! What all acts of management have in common: who acts is found out, the act gets a bounded time on a runtime of its own,
//! and one line of the log says what came of it, under a request id that the caller hears too.

use super::{
    failure::{self, Call, Fault, IdIn},
    status,
};
use crate::{
    app::{error::AppError, house::App, manager::Manager, ports::Store},
    domain::id::{AccountId, KeyId},
};
use std::{future::Future, time::Duration};
use tokio::runtime::Handle;
use tonic::{
    Response, Status,
    metadata::{KeyAndValueRef, MetadataMap},
};
use tracing::{Instrument, Span, field::Empty};

/// Where acts are done.
pub struct Desk<S> {
    app: App<S>,
    runtime: Handle,
    most: Duration,
}

impl<S: Clone> Clone for Desk<S> {
    fn clone(&self) -> Self {
        Self { app: self.app.clone(), runtime: self.runtime.clone(), most: self.most }
    }
}

/// An act as the log names it.
pub(super) struct Act {
    /// The method.
    pub(super) call: &'static str,
    /// What it does.
    pub(super) name: &'static str,
    /// What the request names as the realm.
    pub(super) realm: String,
    /// The key that it names. A text that is no key id may be anything, a key's secret too.
    pub(super) key: Option<KeyId>,
    /// The account that it names.
    pub(super) account: Option<AccountId>,
}

/// Who may act.
enum By {
    Operators,
    OwnersToo,
}

impl<S: Store> Desk<S> {
    /// Acts on `runtime`, so that a burst of them never delays a decision; each takes `most` at most.
    #[must_use]
    pub fn new(app: App<S>, runtime: Handle, most: Duration) -> Self {
        Self { app, runtime, most }
    }

    /// Does one act of an operator, and logs it.
    pub(super) async fn run<R, F>(
        &self,
        metadata: MetadataMap,
        act: Act,
        work: impl FnOnce(App<S>, Manager) -> F + Send + 'static,
    ) -> Result<Response<R>, Status>
    where
        R: Send + 'static,
        F: Future<Output = Result<R, AppError>> + Send,
    {
        self.perform(metadata, act, By::Operators, work).await
    }

    /// The same for an act on keys, which owners of keys may do too where the realm says so.
    pub(super) async fn run_on_keys<R, F>(
        &self,
        metadata: MetadataMap,
        act: Act,
        work: impl FnOnce(App<S>, Manager) -> F + Send + 'static,
    ) -> Result<Response<R>, Status>
    where
        R: Send + 'static,
        F: Future<Output = Result<R, AppError>> + Send,
    {
        self.perform(metadata, act, By::OwnersToo, work).await
    }

    async fn perform<R, F>(
        &self,
        metadata: MetadataMap,
        act: Act,
        by: By,
        work: impl FnOnce(App<S>, Manager) -> F + Send + 'static,
    ) -> Result<Response<R>, Status>
    where
        R: Send + 'static,
        F: Future<Output = Result<R, AppError>> + Send,
    {
        let (app, most) = (self.app.clone(), self.most);
        let done = self.runtime.spawn(async move { perform(app, &metadata, (act, by), most, work).await });
        done.await.map_err(|_| Status::unavailable("keygate is shutting down"))?
    }
}

async fn perform<S, R, F>(
    app: App<S>,
    metadata: &MetadataMap,
    (act, by): (Act, By),
    most: Duration,
    work: impl FnOnce(App<S>, Manager) -> F,
) -> Result<Response<R>, Status>
where
    S: Store,
    F: Future<Output = Result<R, AppError>>,
{
    let caller = Call { house: &app.house, name: act.call, id: IdIn::Metadata(metadata) };
    let (request_id, realm) = (caller.request_id(), caller.known_realm(&act.realm));
    let Act { call, name, key, account, realm: act_realm } = act;
    // Of the highest level, so that a line of any level carries what it says.
    let span = tracing::error_span!(
        "act",
        call,
        request_id,
        realm,
        act = name,
        actor = Empty,
        key_id = key.map(tracing::field::display),
        account = account.map(tracing::field::display)
    );
    let done = async {
        let manager = match by {
            By::Operators => app.manager(headers(metadata)).await?,
            By::OwnersToo => app.manager_of_keys(&act_realm, headers(metadata)).await?,
        };
        Span::current().record("actor", manager.actor().text());
        work(app.clone(), manager).await
    };
    let done = tokio::time::timeout(most, done.instrument(span.clone())).await;
    let answer = span.in_scope(|| match done {
        Ok(done) => told(done, "done", "not done"),
        Err(_) => {
            let most = most.as_millis();
            tracing::warn!("not done within {most} ms; whether it is done later is not known");
            Err(Status::unavailable(format!("the act took longer than {most} ms; whether it was done is not known")))
        }
    });
    failure::echoed(&request_id, answer)
}

/// Notes the key that an act made.
pub(super) fn made(key_id: &str) {
    Span::current().record("key_id", key_id);
}

/// A call's metadata as the headers that a management credential is taken from.
pub(super) fn headers(metadata: &MetadataMap) -> Vec<(&str, &str)> {
    let header = |entry| match entry {
        KeyAndValueRef::Ascii(name, value) => Some((name.as_str(), value.to_str().ok()?)),
        KeyAndValueRef::Binary(name, _) => Some((name.as_str(), "")),
    };
    metadata.iter().filter_map(header).collect()
}

/// Logs what came of a call.
pub(super) fn told<T>(done: Result<T, AppError>, well: &str, ill: &str) -> Result<T, Status> {
    match done {
        Ok(reply) => {
            tracing::info!("{well}");
            Ok(reply)
        }
        Err(error) => {
            match Fault::of(&error) {
                Fault::Callers => tracing::info!(%error, "{ill}"),
                Fault::Passing(_) => tracing::warn!(%error, "{ill}"),
                Fault::Grave(_) => tracing::error!(%error, "{ill}"),
            }
            Err(status(&error))
        }
    }
}
