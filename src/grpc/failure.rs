//! Failures at the edge, logged here and nowhere else: the caller hears a sentence, the log the cause, and both the request
//! id that joins them. A store that is away fails every request, so of each kind of failure one line a second is written.

use super::{envoy::HttpRequest, status};
use crate::{
    app::{
        error::AppError,
        house::House,
        meter::{Failure, Marks},
        ports::{StoreError, trace::Span},
        seldom::Seldom,
        vault::VaultError,
    },
    domain::id::is_request_id,
};
use tonic::{Response, Status, metadata::MetadataMap};

const REQUEST_ID: &str = "x-request-id";

// One log, however many workers write to it.
static UNAVAILABLE: Seldom = Seldom::new();
static DEADLINE: Seldom = Seldom::new();
static UNCONFIRMED: Seldom = Seldom::new();
static FULL: Seldom = Seldom::new();
static CORRUPT: Seldom = Seldom::new();
static CONTENDED: Seldom = Seldom::new();
static NO_KEYS: Seldom = Seldom::new();
static KEY_SERVICE: Seldom = Seldom::new();
static LOST_KEY: Seldom = Seldom::new();
static ENTROPY: Seldom = Seldom::new();
static BUG: Seldom = Seldom::new();

/// Whose failure it is.
pub(super) enum Fault {
    /// The caller's.
    Callers,
    /// Nobody's for long: it passes, or the store comes back.
    Passing(&'static Seldom),
    /// One that somebody has to look at.
    Grave(&'static Seldom),
}

impl Fault {
    pub(super) fn of(error: &AppError) -> Self {
        match error {
            AppError::Store(StoreError::Unconfirmed(_)) => Self::Passing(&UNCONFIRMED),
            AppError::Vault(VaultError::Service { .. }) => Self::Passing(&KEY_SERVICE),
            AppError::Entropy(_) => Self::Grave(&ENTROPY),
            error => match Failure::of(error) {
                Failure::Invalid => Self::Callers,
                Failure::StoreUnavailable => Self::Passing(&UNAVAILABLE),
                Failure::StoreDeadline => Self::Passing(&DEADLINE),
                Failure::StoreFull => Self::Passing(&FULL),
                Failure::StoreCorrupt => Self::Grave(&CORRUPT),
                Failure::IssuerUnavailable => Self::Passing(&NO_KEYS),
                Failure::VaultUnavailable => Self::Grave(&LOST_KEY),
                Failure::Contended => Self::Passing(&CONTENDED),
                Failure::Internal => Self::Grave(&BUG),
            },
        }
    }
}

/// A call of which something may have to be told.
pub(super) struct Call<'c> {
    pub(super) house: &'c House,
    /// The method.
    pub(super) name: &'static str,
    /// Where its request id may stand.
    pub(super) id: IdIn<'c>,
    /// Present where the call is followed.
    pub(super) span: Option<Box<Span>>,
}

/// Where a request id is looked for.
pub(super) enum IdIn<'c> {
    /// What came with the call.
    Metadata(&'c MetadataMap),
    /// The request that a proxy asks about: the id that the proxy's own log tells. With what came with the proxy's own call.
    Proxied(&'c MetadataMap, &'c HttpRequest<'c>),
}

impl<'c> Call<'c> {
    /// The caller's request id where it is legal, else a new one.
    pub(super) fn request_id(&self) -> String {
        self.given_id().map_or_else(|| self.house.new_request_id(), ToOwned::to_owned)
    }

    pub(super) fn given_id(&self) -> Option<&str> {
        self.header(REQUEST_ID).filter(|id| is_request_id(id))
    }

    fn header(&self, name: &str) -> Option<&str> {
        match self.id {
            IdIn::Metadata(metadata) => metadata.get(name).and_then(|value| value.to_str().ok()),
            IdIn::Proxied(_, http) => http.header(name).and_then(|value| std::str::from_utf8(value).ok()),
        }
    }

    /// What leads from a number to this call: what came with it, nothing that was made for it. Ids longer than most are left
    /// out: all of an exemplar's may have 128 characters.
    pub(super) fn marks(&self) -> Marks {
        // A trace that nobody keeps would lead nowhere; one that is not followed here may be kept by others.
        let others = || self.caller().filter(|caller| caller.sampled).map(|caller| caller.trace);
        let trace_id = self.span.as_ref().map(|span| span.trace()).or_else(others);
        let request_id = self.given_id().filter(|id| id.len() <= 64);
        Marks { request_id: request_id.map(ToOwned::to_owned), trace_id: trace_id.map(|trace| trace.to_string()) }
    }

    /// The realm that a request names, if there is one. What is no realm's name may be anything, a key that was put in the wrong
    /// place too: of that the log tells nothing.
    pub(super) fn known_realm(&self, named: &str) -> &'c str {
        self.house.realm(named).map_or("", |guard| guard.realm.name.as_str())
    }

    /// The status of a failure, which is logged with its cause. `realm` is what the request named as one.
    pub(super) fn failed(&self, realm: &str, error: &AppError) -> Status {
        let mut status = status(error);
        let fault = Fault::of(error);
        self.tell_status(&status, error, &fault);
        let turn = match &fault {
            Fault::Callers => tracing::enabled!(tracing::Level::DEBUG).then_some(0),
            Fault::Passing(seldom) | Fault::Grave(seldom) => seldom.turn(self.house.clock.ticks()),
        };
        let Some(left_out) = turn else { return status };
        let (call, request_id) = (self.name, self.request_id());
        let realm = self.known_realm(realm);
        match fault {
            Fault::Callers => tracing::debug!(call, request_id, realm, %error, "refused"),
            Fault::Passing(_) => tracing::warn!(call, request_id, realm, %error, left_out, "failed"),
            Fault::Grave(_) => tracing::error!(call, request_id, realm, %error, left_out, "failed"),
        }
        echo(&request_id, status.metadata_mut());
        status
    }
}

/// An answer, or a failure, with the request id that the log carries.
pub(super) fn echoed<T>(request_id: &str, answer: Result<T, Status>) -> Result<Response<T>, Status> {
    let mut answer = answer.map(Response::new);
    let metadata = match &mut answer {
        Ok(answer) => answer.metadata_mut(),
        Err(status) => status.metadata_mut(),
    };
    echo(request_id, metadata);
    answer
}

/// Tells the caller the request id that the log carries.
fn echo(request_id: &str, metadata: &mut MetadataMap) {
    if let Ok(value) = request_id.parse() {
        metadata.insert(REQUEST_ID, value);
    }
}
