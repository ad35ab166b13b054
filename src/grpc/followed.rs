//! Calls that are followed: who they come from, and what is told of them.

use super::{
    failure::{Call, Fault, IdIn},
    measure::Begun,
};
use crate::{
    app::{error::AppError, meter::Failure, ports::trace::Span},
    domain::trace::Caller,
};
use tonic::{Status, metadata::MetadataMap};

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// Awaits work as a part of a call, apart where the call is followed: one that is not does not carry room for it.
macro_rules! around {
    ($span:expr, $work:expr) => {
        match $span {
            None => $work.await,
            Some(span) => Box::pin(span.around($work)).await,
        }
    };
}
pub(super) use around;

impl Call<'_> {
    /// The same, followed if it is to be.
    pub(super) fn followed(mut self, service: &'static str, begun: Begun) -> Self {
        let (house, method) = (self.house, self.name);
        let span = house.following.call(|| format!("{service}/{method}"), || self.caller(), &house.clock, begun);
        self.span = span.map(|span| self.introduced(service, span));
        self
    }

    /// The same of an act of management.
    pub(super) fn followed_act(self) -> Self {
        if !self.house.following.is_on() {
            return self;
        }
        let begun = self.house.clock.reading();
        let service = match self.name {
            "ManageKeys" => "keygate.v1.Authorization",
            "Mint" => "keygate.v1.EmbedTokens",
            "PutCredential" | "ListCredentials" | "DeleteCredential" | "RewrapCredentials" => "keygate.v1.Vault",
            "ListDeadLetters" | "Redeliver" | "Test" => "keygate.v1.Webhooks",
            _ => "keygate.v1.Directory",
        };
        self.followed(service, begun)
    }

    fn introduced(&self, service: &'static str, span: Span) -> Box<Span> {
        // Until it is answered: whoever asked may give up.
        span.ended(Some("cancelled"));
        span.note("rpc.system", "grpc");
        span.note("rpc.service", service);
        span.note("rpc.method", self.name);
        if let Some(id) = self.given_id() {
            span.note("keygate.request_id", id.to_owned());
        }
        Box::new(span)
    }

    /// What the caller says of its trace: what came with the call itself, else what stands in the request that is asked about.
    pub(super) fn caller(&self) -> Option<Caller> {
        let of_call = |metadata: &MetadataMap| {
            let lines = |name| metadata.get_all(name).into_iter().map(|value| value.as_encoded_bytes());
            Caller::read(lines(PARENT), lines(STATE))
        };
        match self.id {
            IdIn::Metadata(metadata) => of_call(metadata),
            IdIn::Proxied(metadata, http) if http.header(PARENT).is_none() || metadata.contains_key(PARENT) => {
                of_call(metadata)
            }
            IdIn::Proxied(_, http) => Caller::read(http.headers_named(PARENT), http.headers_named(STATE)),
        }
    }

    /// Tells what was answered where no realm decided.
    pub(super) fn tell_plainly(&self, outcome: &'static str, reason: Option<String>) {
        let Some(span) = &self.span else { return };
        span.ended(None);
        span.note("rpc.grpc.status_code", 0);
        span.note("keygate.outcome", outcome);
        if let Some(reason) = reason {
            span.note("keygate.reason", reason);
        }
    }

    /// Tells how a call ended that failed. The caller's mistakes are no errors of this server.
    pub(super) fn tell_status(&self, status: &Status, error: &AppError, fault: &Fault) {
        let Some(span) = &self.span else { return };
        span.note("rpc.grpc.status_code", i64::from(i32::from(status.code())));
        let failed = !matches!(fault, Fault::Callers);
        span.ended(failed.then(|| Failure::of(error).name()));
    }
}
