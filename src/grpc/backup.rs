//! `keygate.v1.Backup`: the file of a backup as a stream. It is read like the audit log: each stream holds a place, and looks with
//! every step whether its caller may still read.

use super::{
    acts::Caller,
    audit::{
        AuditLogService, Reading,
        streams::{Answers, Gone, Outlet},
    },
};
use crate::{
    app::{backup::BackupWalk, ports::Store},
    domain::realm::Realms,
    proto::v1::{TakeBackupRequest, TakeBackupResponse, backup_server::Backup},
};
use tonic::{Request, Response, Status};
use tracing::Instrument;

/// Bytes of one message, about.
const MESSAGE_BYTES: usize = 512 * 1_024;

/// The service.
pub struct BackupService<S> {
    log: AuditLogService<S>,
}

impl<S: Store> BackupService<S> {
    /// The service over what reads the audit log.
    #[must_use]
    pub fn new(log: AuditLogService<S>) -> Self {
        Self { log }
    }
}

#[tonic::async_trait]
impl<S: Store> Backup for BackupService<S> {
    type TakeStream = Answers<TakeBackupResponse>;

    async fn take(&self, request: Request<TakeBackupRequest>) -> Result<Response<Self::TakeStream>, Status> {
        let (caller, _) = Caller::of(request);
        // Whoever reads everything is an operator.
        let reading = self.log.reading("Take", Realms::BUILT_IN, caller);
        let streams = self.log.streams.clone();
        let begun = async move {
            let begun = reading.step(async {
                let (_, permit) = reading.begin().await?;
                reading.app.begin_backup(&permit)
            });
            match begun.await.and_then(|walk| Ok((walk, Outlet::open(streams)?))) {
                Ok((walk, (outlet, answers))) => {
                    let response = reading.answer(Ok(answers));
                    let span = reading.span.clone();
                    tokio::spawn(async move { drop(walk_on(reading, walk, outlet).await) }.instrument(span));
                    response
                }
                Err(status) => reading.answer(Err(status)),
            }
        };
        self.log.run(begun).await
    }
}

async fn walk_on<S: Store>(
    mut reading: Reading<S>,
    mut walk: BackupWalk,
    mut outlet: Outlet<TakeBackupResponse>,
) -> Result<(), Gone> {
    let mut data = Vec::new();
    loop {
        reading.go_on();
        let step = async {
            reading.permit().await?;
            reading.app.next_of_backup(&mut walk).await
        };
        let complete = match reading.step(step).await {
            Ok(Some(bytes)) => {
                data.extend(bytes);
                false
            }
            Ok(None) => true,
            Err(status) => return Err(outlet.end(status).await),
        };
        let totals = walk.totals();
        if complete {
            let (accounts, keys) = (totals.accounts, totals.keys);
            tracing::info!(accounts, keys, "backed up");
            return outlet.send(TakeBackupResponse { data, accounts, keys, complete }).await;
        }
        if data.len() >= MESSAGE_BYTES {
            // A page of large records may be more than one message takes.
            for data in std::mem::take(&mut data).chunks(MESSAGE_BYTES) {
                let (data, accounts, keys) = (data.to_vec(), totals.accounts, totals.keys);
                outlet.send(TakeBackupResponse { data, accounts, keys, complete }).await?;
            }
        }
    }
}
