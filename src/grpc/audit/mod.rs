//! `keygate.v1.AuditLog`: the audit log for whoever may read a realm's keys. Runs on the runtime of management.

mod events;
pub(super) mod streams;

use super::{
    InWork, Turnstile,
    acts::{self, Caller},
    failure::{self, Call, IdIn},
};
use crate::{
    app::{
        error::AppError,
        house::{App, Guarded},
        manager::{ManagePermit, Manager, Reader},
        ports::Store,
    },
    proto::v1::{
        AuditPublicKey, CheckpointRequest, CheckpointResponse, FollowEventsRequest, FollowEventsResponse,
        ListEventsRequest, ListEventsResponse, PublicKeysRequest, PublicKeysResponse, audit_log_server::AuditLog,
    },
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::{Instrument, Span, field::Empty};

/// What all workers' services share.
#[derive(Clone)]
pub struct AuditStreams {
    /// The streams that are open.
    places: Arc<Turnstile>,
    /// True once the server goes down.
    stopping: watch::Receiver<bool>,
}

impl AuditStreams {
    /// Streams that may be open at a time.
    pub const MOST: usize = 64;
    /// How often a stream that is followed looks for new events.
    pub const PERIOD: Duration = Duration::from_millis(500);

    /// No stream yet; all end when `stopping` says so.
    #[must_use]
    pub fn new(stopping: watch::Receiver<bool>) -> Self {
        Self { places: Arc::new(Turnstile::new(Self::MOST)), stopping }
    }

    /// Whoever counts the streams that are open.
    #[must_use]
    pub fn open(&self) -> InWork {
        self.places.in_work()
    }
}

/// The service.
pub struct AuditLogService<S> {
    app: App<S>,
    runtime: Handle,
    /// How long one step of any call may take.
    most: Duration,
    pub(super) streams: AuditStreams,
}

impl<S: Store> AuditLogService<S> {
    /// The service over the use cases of management, which run on `runtime`.
    #[must_use]
    pub fn new(app: App<S>, runtime: Handle, most: Duration, streams: AuditStreams) -> Self {
        Self { app, runtime, most, streams }
    }

    /// Runs a call where management runs.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        self.runtime.spawn(call).await.map_err(|_| streams::going_down())?
    }

    pub(super) fn reading(&self, name: &'static str, realm: &str, caller: Caller) -> Reading<S> {
        let call = Call { house: &self.app.house, name, id: IdIn::Metadata(&caller.metadata), span: None };
        let (request_id, known) = (call.request_id(), call.known_realm(realm));
        // Of the highest level, so that a line of any level carries what it says.
        let span = tracing::error_span!("audit_log", call = name, request_id, realm = known, actor = Empty);
        Reading { app: self.app.clone(), realm: realm.to_owned(), caller, request_id, span, most: self.most }
    }
}

/// A call that reads the log, and with what it may.
pub(super) struct Reading<S> {
    pub(super) app: App<S>,
    realm: String,
    caller: Caller,
    request_id: String,
    pub(super) span: Span,
    most: Duration,
}

impl<S: Store> Reading<S> {
    /// Proof that the caller may read. From then on the log tells who it is.
    pub(super) async fn begin(&self) -> Result<(&Guarded, ManagePermit<'_, Reader>), AppError> {
        let known = |manager: &Manager| {
            self.span.record("actor", manager.actor().text());
        };
        self.judge(known).await
    }

    /// Goes on in the configuration as it is now: the realm may have gone, and roles may have others behind them.
    pub(super) fn go_on(&mut self) {
        self.app = self.app.as_of_now();
    }

    /// The same again, as of now. A span keeps whatever is recorded in it, so who it is is not recorded each time.
    pub(super) async fn permit(&self) -> Result<(&Guarded, ManagePermit<'_, Reader>), AppError> {
        self.judge(|_| ()).await
    }

    async fn judge(&self, known: impl FnOnce(&Manager)) -> Result<(&Guarded, ManagePermit<'_, Reader>), AppError> {
        let manager = self.app.manager(self.caller.shown()).await?;
        known(&manager);
        let guard = self.app.house.realm_to_manage(&self.realm, &manager)?;
        Ok((guard, manager.permit(guard)?))
    }

    /// Does one step of the call in the time that it has.
    pub(super) async fn step<T>(&self, step: impl Future<Output = Result<T, AppError>>) -> Result<T, Status> {
        let done = tokio::time::timeout(self.most, step.instrument(self.span.clone())).await;
        let done = done.map_err(|_| {
            let most = self.most.as_millis();
            self.span.in_scope(|| tracing::warn!("not read within {most} ms"));
            Status::unavailable(format!("reading the audit log took longer than {most} ms: try again"))
        });
        done.and_then(|done| match done {
            Ok(done) => Ok(done),
            Err(error) => self.span.in_scope(|| acts::told(Err(error), "", "not read")),
        })
    }

    /// The answer with the request's id, and a line in the log for one that is none.
    pub(super) fn answer<T>(&self, answer: Result<T, Status>) -> Result<Response<T>, Status> {
        if answer.is_ok() {
            self.span.in_scope(|| tracing::info!("read"));
        }
        failure::echoed(&self.request_id, answer)
    }
}

#[tonic::async_trait]
impl<S: Store> AuditLog for AuditLogService<S> {
    async fn list(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        let (caller, message) = Caller::of(request);
        let reading = self.reading("List", &message.realm, caller);
        let list = async move {
            let page = reading.step(async {
                let (guard, permit) = reading.begin().await?;
                let filter = events::read_list(&guard.realm, &message)?;
                let page = reading.app.list_events(permit, &filter).await?;
                Ok(events::page(&guard.realm, &page))
            });
            let page = page.await;
            reading.answer(page)
        };
        self.run(list).await
    }

    type FollowStream = ReceiverStream<Result<FollowEventsResponse, Status>>;

    async fn follow(&self, request: Request<FollowEventsRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let (caller, message) = Caller::of(request);
        let reading = self.reading("Follow", &message.realm, caller);
        self.run(streams::follow(reading, self.streams.clone(), message)).await
    }

    type CheckpointStream = ReceiverStream<Result<CheckpointResponse, Status>>;

    async fn checkpoint(
        &self,
        request: Request<CheckpointRequest>,
    ) -> Result<Response<Self::CheckpointStream>, Status> {
        let (caller, message) = Caller::of(request);
        let reading = self.reading("Checkpoint", &message.realm, caller);
        self.run(streams::checkpoints(reading, self.streams.clone(), message)).await
    }

    async fn public_keys(&self, _: Request<PublicKeysRequest>) -> Result<Response<PublicKeysResponse>, Status> {
        let key = |(secret_version, key): &(u32, crate::domain::audit::PublicKey)| AuditPublicKey {
            secret_version: *secret_version,
            public_key: key.as_bytes().to_vec(),
        };
        Ok(Response::new(PublicKeysResponse { keys: self.app.house.audit_keys().iter().map(key).collect() }))
    }
}
