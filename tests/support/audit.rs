//! The audit log in few words.

use super::keygate::Keygate;
use keygate::proto::v1::{
    AuditCheckpoint, AuditEvent, AuditSeal, CheckpointRequest, FollowEventsRequest, FollowEventsResponse,
    ListEventsRequest, ListEventsResponse, audit_log_client::AuditLogClient, checkpoint_response::Statement,
};
use tonic::{Request, Status, Streaming, transport::Channel};

impl Keygate {
    pub fn audit(&self) -> AuditLogClient<Channel> {
        AuditLogClient::new(self.channel()).max_decoding_message_size(64 * 1024 * 1024)
    }

    /// A request with that management key, or with none.
    pub fn with_key<T>(key: Option<&str>, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(key) = key {
            let value = format!("Bearer {key}").parse().expect("a management key is ASCII");
            request.metadata_mut().insert("authorization", value);
        }
        request
    }

    pub async fn try_events(&self, key: Option<&str>, list: ListEventsRequest) -> Result<ListEventsResponse, Status> {
        let page = self.audit().list(Self::with_key(key, list)).await.map_err(|status| self.checked(status))?;
        let page = page.into_inner();
        self.assert_no_secret("a page of events", &format!("{page:?}"));
        Ok(page)
    }

    /// All events that a filter lets through, read page by page as the operator; and how many pages that took.
    pub async fn events(&self, filter: &ListEventsRequest) -> (Vec<AuditEvent>, usize) {
        let (mut events, mut pages, mut page_token) = (Vec::new(), 0, String::new());
        loop {
            let list = ListEventsRequest { page_token, ..filter.clone() };
            let page = self.try_events(Some(self.operator()), list).await.expect("a page");
            let most =
                if filter.page_size == 0 { 100 } else { usize::try_from(filter.page_size).expect("not negative") };
            assert!(page.events.len() <= most, "{} events on a page of {most}", page.events.len());
            pages += 1;
            events.extend(page.events);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return (events, pages);
            }
        }
    }

    /// All events of an account.
    pub async fn chain(&self, realm: &str, account: &str) -> Vec<AuditEvent> {
        let (realm, account_id) = (realm.to_owned(), account.to_owned());
        self.events(&ListEventsRequest { realm, account_id, ..Default::default() }).await.0
    }

    pub async fn try_checkpoints(
        &self,
        key: Option<&str>,
        realm: &str,
        account: &str,
    ) -> Result<(Vec<AuditCheckpoint>, AuditSeal), Status> {
        let ask = CheckpointRequest { realm: realm.to_owned(), account_id: account.to_owned() };
        let answer = self.audit().checkpoint(Self::with_key(key, ask)).await.map_err(|status| self.checked(status))?;
        let (mut stream, mut checkpoints) = (answer.into_inner(), Vec::new());
        loop {
            match stream.message().await?.expect("the seal comes last").statement.expect("a statement") {
                Statement::Checkpoint(checkpoint) => checkpoints.push(checkpoint),
                Statement::Seal(seal) => {
                    assert_eq!(stream.message().await?, None);
                    return Ok((checkpoints, seal));
                }
            }
        }
    }

    pub async fn follow(
        &self,
        key: Option<&str>,
        realm: &str,
        account: &str,
        after: Option<u64>,
    ) -> Result<Streaming<FollowEventsResponse>, Status> {
        let ask = FollowEventsRequest { realm: realm.to_owned(), account_id: account.to_owned(), after };
        let answer = self.audit().follow(Self::with_key(key, ask)).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.checked(status))
    }
}

/// The next event of a stream. It comes without being asked for.
pub async fn next(stream: &mut Streaming<FollowEventsResponse>) -> AuditEvent {
    stream.message().await.expect("an event").expect("an event").event.expect("an event")
}
