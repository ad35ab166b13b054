//! `envoy.service.auth.v3.Authorization`: may this request pass. One call finds out who is calling and charges every limit.
//!
//! A request that is wrong is denied, and so is one that the settings do not fit. A gRPC error, for which Envoy has a failure
//! mode of its own, is left for what keygate cannot know.

use super::{
    message::{Metadata, set},
    passed::Passed,
    question::{HttpRequest, Question, Route},
};
use crate::{
    app::{
        authenticate::{Decision, Verdict},
        authorize::AuthorizeRequest,
        error::AppError,
        house::{App, Guarded},
        meter::{Astray, Verb},
        ports::Store,
        seldom::Seldom,
    },
    domain::{
        deny::DenyReason,
        envelope::{Envelope, ErrorRow, RenderedError, Template},
        id::Environment,
        limit::MAX_COST,
        realm::{Realm, Routing},
        request::{Host, ProxiedRequest},
    },
    grpc::{
        Rekeying,
        failure::{Call, IdIn},
        followed::around,
        measure::{self, Begun},
        plain::Answer,
        releasing::may_release,
        render,
    },
};
use envoy_types::pb::{
    envoy::{
        config::core::v3::HeaderValueOption,
        service::auth::v3::{
            CheckRequest, CheckResponse, DeniedHttpResponse, authorization_server::Authorization,
            check_response::HttpResponse,
        },
        r#type::v3::HttpStatus,
    },
    google::{protobuf::Struct, rpc},
};
use prost::Message;
use std::{net::IpAddr, sync::Arc};
use tonic::{Code, Request, Response, Status, metadata::MetadataMap};

/// The service.
pub struct CheckService<S> {
    app: App<S>,
    rekeying: Rekeying<S>,
    routing: Arc<Routing>,
    errors: OwnErrors,
    unguarded: Seldom,
    misconfigured: Seldom,
    unreadable: Seldom,
}

/// What is answered where no realm has words for it.
struct OwnErrors {
    envelope: Envelope,
    misconfigured: RenderedError,
    unavailable: RenderedError,
}

/// Why a request is denied before any realm judges it.
enum Unjudged {
    /// The request itself is wrong.
    Malformed(String),
    /// No realm is said to guard it.
    NoRealm(String),
    /// Whoever set up the route or the realm made a mistake.
    Misconfigured(String),
    /// The credential that the request goes on with cannot be opened: it may not go on without.
    Sealed,
}

impl Unjudged {
    /// What is counted; what a realm's own numbers hold already is not.
    fn astray(&self) -> Option<Astray> {
        match self {
            Self::Malformed(_) => Some(Astray::Malformed),
            Self::NoRealm(_) => Some(Astray::NoRealm),
            Self::Misconfigured(_) => Some(Astray::Misconfigured),
            Self::Sealed => None,
        }
    }
}

/// What a route asks for beside its realm.
struct RouteRules {
    operation: Option<usize>,
    environment: Option<Environment>,
    cost: u32,
}

impl<S: Store> CheckService<S> {
    /// The service over the use cases.
    #[must_use]
    pub fn new(app: App<S>, rekeying: Rekeying<S>, routing: Arc<Routing>) -> Self {
        let (unguarded, misconfigured, unreadable) = (Seldom::new(), Seldom::new(), Seldom::new());
        Self { app, rekeying, routing, errors: OwnErrors::new(), unguarded, misconfigured, unreadable }
    }

    /// Answers one question.
    ///
    /// # Errors
    /// When keygate cannot know.
    pub async fn answer(&self, request: &Request<CheckRequest>) -> Result<CheckResponse, Status> {
        let question = Question::of(request.get_ref());
        Ok(match self.judge(request.metadata(), &question, may_release(request.extensions())).await? {
            Ok((guard, decision)) => write(&guard.realm, &decision),
            Err(unjudged) => unjudged,
        })
    }

    /// The same, the answer written straight into its bytes.
    pub(in crate::grpc) async fn answer_to_bytes(
        &self,
        metadata: &MetadataMap,
        question: &Question<'_>,
        may_release: bool,
    ) -> Result<Answer, Status> {
        Ok(match self.judge(metadata, question, may_release).await? {
            Ok((guard, decision)) => write_answer(&guard.realm, &decision),
            Err(unjudged) => Answer::of(&unjudged),
        })
    }

    /// Decides; what no realm judges is answered here.
    async fn judge(
        &self,
        metadata: &MetadataMap,
        question: &Question<'_>,
        may_release: bool,
    ) -> Result<Result<(&Guarded, Decision<'_>), CheckResponse>, Status> {
        let begun = self.app.house.clock.reading();
        let id = question.http.as_ref().map_or(IdIn::Metadata(metadata), |http| IdIn::Proxied(metadata, http));
        let call = Call { house: &self.app.house, name: "Check", id, span: None };
        let call = call.followed("envoy.service.auth.v3.Authorization", begun);
        let unjudged = match self.decide(&call, begun, question, may_release).await {
            Ok(Ok(decided)) => return Ok(Ok(decided)),
            Ok(Err(unjudged)) => unjudged,
            // A limit that these requests cannot be counted by is a mistake of the realm.
            Err(error @ (AppError::Invalid(_) | AppError::NoRelease)) => Unjudged::Misconfigured(error.to_string()),
            // A denial and no error: Envoy may be told to let pass what ends in an error.
            Err(error @ AppError::Vault(_)) => {
                drop(call.failed("", &error));
                Unjudged::Sealed
            }
            Err(error) => return Err(call.failed("", &error)),
        };
        Ok(Err(self.unjudged(&call, &unjudged)))
    }

    /// The answer to a question that is too large, or not written as such questions are. Whoever sent the request has a hand in
    /// that, so it is a denial too.
    #[must_use]
    pub fn unreadable(&self, problem: &str) -> CheckResponse {
        self.app.house.meter.astray(Verb::Check, Astray::Unreadable);
        if let Some(left_out) = self.unreadable.turn(self.app.house.clock.ticks()) {
            tracing::warn!(problem, left_out, "a request was denied whose question could not be read");
        }
        self.refused(self.errors.envelope.answer(DenyReason::MalformedRequest), DenyReason::MalformedRequest.name())
    }

    async fn decide(
        &self,
        call: &Call<'_>,
        begun: Begun,
        question: &Question<'_>,
        may_release: bool,
    ) -> Result<Result<(&Guarded, Decision<'_>), Unjudged>, AppError> {
        let Question { http: Some(http), route, peer } = question else {
            return Ok(Err(Unjudged::Malformed("it is not an HTTP request".to_owned())));
        };
        let guard = match self.realm(route, http) {
            Ok(guard) => guard,
            Err(unjudged) => return Ok(Err(unjudged)),
        };
        let rules = match route_rules(&guard.realm, route) {
            Ok(rules) => rules,
            Err(problem) => return Ok(Err(Unjudged::Misconfigured(problem))),
        };
        let source_address = match self.client_address(*peer, http) {
            Ok(address) => address,
            Err(problem) => return Ok(Err(Unjudged::Malformed(problem))),
        };
        let headers = http.headers.iter().copied();
        let request = ProxiedRequest { method: http.method, host: http.host, target: http.target(), headers };
        let RouteRules { operation, environment, cost } = rules;
        let request = AuthorizeRequest { request, source_address, operation, environment, cost, may_release, begun };
        let asked = measure::Question { verb: Verb::Check, guard, call, begun };
        let decided = around!(&call.span, self.app.authorize(guard, request));
        let mut decision = decided.inspect_err(|error| asked.failed(error))?;
        if let Some(work) = decision.rekey.take() {
            self.rekeying.later(work);
        }
        asked.decided(&decision);
        Ok(Ok((guard, decision)))
    }

    /// The realm that the route names, else that of the host.
    fn realm(&self, route: &Route<'_>, http: &HttpRequest<'_>) -> Result<&Guarded, Unjudged> {
        let house = &self.app.house;
        if let Some(name) = route.realm {
            let unknown = |error| {
                let name = name.escape_debug();
                Unjudged::Misconfigured(format!("a route's `context_extensions` name the realm `{name}`: {error}"))
            };
            return house.realm(name).map_err(unknown);
        }
        let host = Host::new(http.host).map_err(|problem| Unjudged::Malformed(format!("the host {problem}")))?;
        let Some(name) = self.routing.by_host(&host) else {
            let host = host.as_str();
            return Err(Unjudged::NoRealm(format!(
                "neither the route (`context_extensions`, `realm`) nor `[envoy.hosts]` says which realm guards the host `{host}`"
            )));
        };
        house.realm(name.as_str()).map_err(|error| Unjudged::Misconfigured(format!("`[envoy.hosts]`: {error}")))
    }

    /// The address in the header that the settings trust, else that of the peer.
    fn client_address(&self, peer: Option<&str>, http: &HttpRequest<'_>) -> Result<Option<IpAddr>, String> {
        let of_peer = || Ok(peer.and_then(|address| address.parse().ok()));
        let Some(trusted) = self.routing.client_address_header() else { return of_peer() };
        let mut found = http.headers_named(trusted);
        let Some(value) = found.next() else { return of_peer() };
        let parsed = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
        match parsed.filter(|_| found.next().is_none()) {
            Some(address) => Ok(Some(address)),
            None => Err(format!("the header `{trusted}` must hold one address, once")),
        }
    }

    fn unjudged(&self, call: &Call<'_>, unjudged: &Unjudged) -> CheckResponse {
        let now = self.app.house.clock.ticks();
        if let Some(why) = unjudged.astray() {
            self.app.house.meter.astray(Verb::Check, why);
        }
        let (rendered, reason) = match unjudged {
            Unjudged::Malformed(problem) => {
                if tracing::enabled!(tracing::Level::DEBUG) {
                    let request_id = call.request_id();
                    tracing::debug!(request_id, problem, "a request was refused that has no canonical form");
                }
                (self.errors.envelope.answer(DenyReason::MalformedRequest), "malformed_request")
            }
            Unjudged::NoRealm(problem) => {
                if let Some(left_out) = self.unguarded.turn(now) {
                    let request_id = call.request_id();
                    tracing::warn!(request_id, problem, left_out, "a request was denied that no realm guards");
                }
                (self.errors.envelope.answer(DenyReason::UnknownOperation), "no_realm")
            }
            Unjudged::Misconfigured(problem) => {
                if let Some(left_out) = self.misconfigured.turn(now) {
                    let request_id = call.request_id();
                    tracing::error!(
                        request_id,
                        problem,
                        left_out,
                        "a request was denied because of a mistake in the configuration"
                    );
                }
                (Some(&self.errors.misconfigured), "misconfigured")
            }
            Unjudged::Sealed => (Some(&self.errors.unavailable), "vault_unavailable"),
        };
        call.tell_plainly("denied", Some(reason.to_owned()));
        self.refused(rendered, reason)
    }

    fn refused(&self, rendered: Option<&RenderedError>, reason: &str) -> CheckResponse {
        let rendered = rendered.unwrap_or(&self.errors.misconfigured);
        let headers = rendered.headers.iter().map(|(name, value)| set(name, value)).collect();
        let mut metadata = Metadata::default();
        metadata.text("reason", reason);
        denied(u32::from(rendered.status), headers, rendered.body.clone(), metadata.finish())
    }
}

#[tonic::async_trait]
impl<S: Store> Authorization for CheckService<S> {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        self.answer(&request).await.map(Response::new)
    }
}

impl OwnErrors {
    fn new() -> Self {
        let template = Template::problem_details();
        let render = |code: &str, status, message: &str| {
            let (code, message, headers, answers) = (code.to_owned(), message.to_owned(), Vec::new(), Vec::new());
            let row = ErrorRow { code, kind: String::new(), status, message, headers, answers };
            template.render(&row, &row.message)
        };
        let misconfigured = render("misconfigured", 500, "The service is not set up for this request");
        let unavailable = render("unavailable", 503, "The service is unavailable: try again");
        Self { envelope: Envelope::new(template, Vec::new()), misconfigured, unavailable }
    }
}

fn route_rules(realm: &Realm, route: &Route<'_>) -> Result<RouteRules, String> {
    let cost = match route.cost {
        None => 1,
        Some(text) => text
            .parse()
            .ok()
            .filter(|cost| *cost <= MAX_COST)
            .ok_or("a route's `context_extensions`: `cost` must be 0 to 1,000,000,000")?,
    };
    let operation = match route.operation {
        None => None,
        Some(name) => {
            let unknown = || format!("a route's `context_extensions`: `{}` has no operation `{name}`", realm.name);
            Some(realm.operations.named(name).ok_or_else(unknown)?.0)
        }
    };
    let environment = match route.environment {
        None => None,
        Some(name) => {
            let unknown = || format!("a route's `context_extensions`: `{}` has no environment `{name}`", realm.name);
            Some(realm.environment(name).ok_or_else(unknown)?.1.name.clone())
        }
    };
    Ok(RouteRules { operation, environment, cost })
}

/// What most requests come to is written as it is decided, everything else by way of the message.
fn write_answer(realm: &Realm, decision: &Decision<'_>) -> Answer {
    match Passed::of(realm, decision) {
        Some(passed) => {
            let answer = passed.answer();
            debug_assert_eq!(CheckResponse::decode(answer.message()), Ok(passed.message()));
            answer
        }
        None => Answer::of(&write(realm, decision)),
    }
}

fn write(realm: &Realm, decision: &Decision<'_>) -> CheckResponse {
    let Verdict::Denied(denial) = &decision.verdict else {
        return Passed::of(realm, decision).map(|passed| passed.message()).unwrap_or_default();
    };
    let told = render::denied(realm, denial, &decision.limits, decision.now);
    let mut metadata = Metadata::default();
    metadata.text("realm", realm.name.as_str());
    metadata.text("reason", denial.reason.name());
    metadata.text("key_id", told.key_id);
    metadata.text("account", told.account_id);
    metadata.text("limit", told.limit);
    let headers = told.headers.into_iter().map(|header| set(header.name, header.value)).collect();
    denied(told.http_status, headers, told.body, metadata.finish())
}

fn denied(http_status: u32, headers: Vec<HeaderValueOption>, body: String, metadata: Struct) -> CheckResponse {
    let code = match http_status {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        404 => Code::NotFound,
        429 => Code::ResourceExhausted,
        500.. => Code::Internal,
        _ => Code::PermissionDenied,
    };
    let status = Some(HttpStatus { code: i32::try_from(http_status).unwrap_or(500) });
    CheckResponse {
        status: Some(rpc::Status { code: code.into(), ..rpc::Status::default() }),
        dynamic_metadata: Some(metadata),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse { status, headers, body })),
    }
}
