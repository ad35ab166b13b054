//! A client of the audit log of one realm.

use crate::{
    cli::{
        client::{self, Connection, Management},
        failure::Failure,
        values,
    },
    proto::v1::{
        AuditPublicKey, CheckpointRequest, CheckpointResponse, FollowEventsRequest, FollowEventsResponse,
        ListEventsRequest, ListEventsResponse, PublicKeysRequest, audit_log_client::AuditLogClient,
    },
};
use std::time::Duration;
use tonic::{
    Request, Streaming,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

/// Reads the log of one realm.
pub struct Reader {
    inner: AuditLogClient<Channel>,
    endpoint: String,
    timeout: Duration,
    realm: String,
    credential: MetadataValue<Ascii>,
}

impl Reader {
    /// Finds the management key and connects.
    ///
    /// # Errors
    /// When there is no key, or nobody answers.
    pub async fn open(management: Management) -> Result<Self, Failure> {
        let credential = management.credential()?;
        let Management { realm, connection, .. } = management;
        let inner = open(&connection).await?;
        Ok(Self { inner, endpoint: connection.endpoint, timeout: connection.timeout, realm, credential })
    }

    /// A page of events; the realm is filled in.
    ///
    /// # Errors
    /// When the server refuses, fails, or is out of reach.
    pub async fn list(&mut self, list: ListEventsRequest) -> Result<ListEventsResponse, Failure> {
        let list = self.request(ListEventsRequest { realm: self.realm.clone(), ..list });
        client::answered(&self.endpoint, self.timeout, self.inner.list(list)).await
    }

    /// Events of an account from a position on.
    ///
    /// # Errors
    /// When the server refuses, fails, or is out of reach.
    pub async fn follow(
        &mut self,
        account_id: String,
        after: Option<u64>,
    ) -> Result<Streaming<FollowEventsResponse>, Failure> {
        let follow = self.request(FollowEventsRequest { realm: self.realm.clone(), account_id, after });
        client::answered(&self.endpoint, self.timeout, self.inner.follow(follow)).await
    }

    /// Signed statements about one account, or, with an empty name, about all.
    ///
    /// # Errors
    /// When the server refuses, fails, or is out of reach.
    pub async fn checkpoints(&mut self, account_id: String) -> Result<Streaming<CheckpointResponse>, Failure> {
        let checkpoint = self.request(CheckpointRequest { realm: self.realm.clone(), account_id });
        client::answered(&self.endpoint, self.timeout, self.inner.checkpoint(checkpoint)).await
    }

    /// The next message of a stream, which is waited for as for any answer.
    ///
    /// # Errors
    /// When the server fails, or is out of reach.
    pub async fn next<T>(&self, stream: &mut Streaming<T>) -> Result<Option<T>, Failure> {
        match tokio::time::timeout(self.timeout, stream.message()).await {
            Ok(next) => next.map_err(|status| Failure::from_status(&status)),
            Err(_) => {
                let waited = values::span_for_people(&values::to_proto(self.timeout));
                Err(Failure::late(&self.endpoint, &waited))
            }
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.credential.clone());
        request
    }
}

async fn open(connection: &Connection) -> Result<AuditLogClient<Channel>, Failure> {
    let channel = connection.channel().await?;
    Ok(AuditLogClient::new(channel).max_decoding_message_size(client::MAX_ANSWER_BYTES))
}

/// The keys that checkpoints are signed with.
///
/// # Errors
/// When nobody answers.
pub async fn public_keys(connection: &Connection) -> Result<Vec<AuditPublicKey>, Failure> {
    let mut inner = open(connection).await?;
    let asked = inner.public_keys(PublicKeysRequest {});
    Ok(client::answered(&connection.endpoint, connection.timeout, asked).await?.keys)
}
