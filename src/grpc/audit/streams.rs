//! Calls that answer with a stream. Each holds a place until its stream ends, and looks with every step whether its caller
//! may still read: a management key that was revoked reads nothing more.

use super::{AuditStreams, Reading, events};
use crate::{
    app::{
        audit::{Position, Walk},
        ports::Store,
    },
    domain::{
        audit::{AuditEvent, Checkpoint, Signed},
        id::{AccountId, RealmName},
    },
    grpc::{fields::Fields, refusal::TooMany, turnstile::Ticket},
    proto::v1,
};
use std::time::Duration;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};
use tracing::Instrument;

/// Messages that wait for a slow client.
const BUFFER: usize = 16;
/// How long the last word of a stream waits for a slow client.
const PATIENCE: Duration = Duration::from_secs(1);

pub(in crate::grpc) type Answers<T> = ReceiverStream<Result<T, Status>>;

/// The server is about to end.
pub(super) fn going_down() -> Status {
    Status::unavailable("keygate is shutting down")
}

fn no_place() -> Status {
    TooMany::Streams.refusal("too many streams of the audit log are open")
}

/// The sending end of a stream.
pub(in crate::grpc) struct Outlet<T> {
    sender: mpsc::Sender<Result<T, Status>>,
    stopping: watch::Receiver<bool>,
    _place: Ticket,
}

/// Whoever listened has gone, or was told that the server ends.
pub(in crate::grpc) struct Gone;

impl<T> Outlet<T> {
    pub(in crate::grpc) fn open(streams: AuditStreams) -> Result<(Self, Answers<T>), Status> {
        let place = streams.places.enter().ok_or_else(no_place)?;
        let (sender, receiver) = mpsc::channel(BUFFER);
        Ok((Self { sender, stopping: streams.stopping, _place: place }, ReceiverStream::new(receiver)))
    }

    pub(in crate::grpc) async fn send(&mut self, message: T) -> Result<(), Gone> {
        tokio::select! {
            biased;
            _ = self.stopping.wait_for(|stopping| *stopping) => {}
            sent = self.sender.send(Ok(message)) => return sent.map_err(|_| Gone),
        }
        Err(self.end(going_down()).await)
    }

    /// Ends the stream with an error. A client that does not read is not waited for long.
    pub(in crate::grpc) async fn end(&self, status: Status) -> Gone {
        // Whoever does not read it finds the stream cut off.
        let _ = self.sender.send_timeout(Err(status), PATIENCE).await;
        Gone
    }
}

pub(super) async fn follow<S: Store>(
    reading: Reading<S>,
    streams: AuditStreams,
    message: v1::FollowEventsRequest,
) -> Result<Response<Answers<v1::FollowEventsResponse>>, Status> {
    let begun = reading.step(async {
        let (guard, permit) = reading.begin().await?;
        let mut fields = Fields::default();
        let account = fields.account("account_id", &message.account_id);
        let account = fields.finish(account)?;
        let position = reading.app.begin_to_follow(permit, account.clone(), message.after).await?;
        Ok((guard.realm.name.clone(), account, position))
    });
    let begun = begun.await.and_then(|begun| Ok((begun, Outlet::open(streams)?)));
    match begun {
        Ok(((realm, account, position), (outlet, answers))) => {
            let response = reading.answer(Ok(answers));
            let span = reading.span.clone();
            let following = Following { reading, realm, account, position, outlet };
            tokio::spawn(following.run().instrument(span));
            response
        }
        Err(status) => reading.answer(Err(status)),
    }
}

struct Following<S> {
    reading: Reading<S>,
    realm: RealmName,
    account: AccountId,
    position: Position,
    outlet: Outlet<v1::FollowEventsResponse>,
}

impl<S: Store> Following<S> {
    async fn run(mut self) {
        let mut ticks = interval(AuditStreams::PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.wait(&mut ticks).await.is_ok() && self.pass_on().await.is_ok() {}
        tracing::info!(sequence = self.position.sequence(), "followed to the end");
    }

    async fn wait(&mut self, ticks: &mut tokio::time::Interval) -> Result<(), Gone> {
        tokio::select! {
            _ = ticks.tick() => return Ok(()),
            () = self.outlet.sender.closed() => return Err(Gone),
            _ = self.outlet.stopping.wait_for(|stopping| *stopping) => {}
        }
        Err(self.outlet.end(going_down()).await)
    }

    /// Passes on what is new.
    async fn pass_on(&mut self) -> Result<(), Gone> {
        loop {
            let found = match self.next().await {
                Ok(found) if found.is_empty() => return Ok(()),
                Ok(found) => found,
                Err(status) => return Err(self.outlet.end(status).await),
            };
            for event in found {
                let event = Some(events::event(&self.realm, &self.account, &event));
                self.outlet.send(v1::FollowEventsResponse { event }).await?;
            }
        }
    }

    async fn next(&mut self) -> Result<Vec<AuditEvent>, Status> {
        let Self { reading, position, .. } = self;
        reading.go_on();
        let reading = &*reading;
        let step = async {
            let (_, permit) = reading.permit().await?;
            reading.app.follow(permit, position).await
        };
        reading.step(step).await
    }
}

pub(super) async fn checkpoints<S: Store>(
    reading: Reading<S>,
    streams: AuditStreams,
    message: v1::CheckpointRequest,
) -> Result<Response<Answers<v1::CheckpointResponse>>, Status> {
    let begun = reading.step(async {
        let (_, permit) = reading.begin().await?;
        let mut fields = Fields::default();
        let only = fields.optional("account_id", &message.account_id, AccountId::new);
        let only = fields.finish(Some(only))?;
        let mut walk = reading.app.begin_checkpoints(&permit, only);
        let first = reading.app.next_checkpoints(&mut walk).await?;
        Ok((walk, first))
    });
    let begun = begun.await.and_then(|begun| Ok((begun, Outlet::open(streams)?)));
    match begun {
        Ok(((walk, first), (outlet, answers))) => {
            let response = reading.answer(Ok(answers));
            let span = reading.span.clone();
            tokio::spawn(async move { drop(walk_on(reading, walk, first, outlet).await) }.instrument(span));
            response
        }
        Err(status) => reading.answer(Err(status)),
    }
}

async fn walk_on<S: Store>(
    mut reading: Reading<S>,
    mut walk: Walk,
    first: Option<Vec<Signed<Checkpoint>>>,
    mut outlet: Outlet<v1::CheckpointResponse>,
) -> Result<(), Gone> {
    let mut found = first;
    while let Some(checkpoints) = found {
        for checkpoint in &checkpoints {
            outlet.send(events::checkpoint(checkpoint)).await?;
        }
        reading.go_on();
        let step = async {
            reading.permit().await?;
            reading.app.next_checkpoints(&mut walk).await
        };
        found = match reading.step(step).await {
            Ok(found) => found,
            Err(status) => return Err(outlet.end(status).await),
        };
    }
    let seal = reading.app.seal(walk);
    outlet.send(events::seal(&seal)).await
}
