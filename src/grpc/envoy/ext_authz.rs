//! `envoy.service.auth.v3.Authorization`: may this request pass. One call finds out who is calling and charges every limit.
//!
//! A request that is wrong is denied, and so is one that the settings do not fit. A gRPC error, for which Envoy has a failure
//! mode of its own, is left for what keygate cannot know.

use super::message::{Metadata, address, set};
use crate::{
    app::{
        authenticate::{Decision, Verdict},
        authorize::AuthorizeRequest,
        error::AppError,
        house::{App, Guarded},
        ports::Store,
        seldom::Seldom,
    },
    domain::{
        deny::DenyReason,
        envelope::{Envelope, ErrorRow, RenderedError, Template},
        id::AccountId,
        key::KeySnapshot,
        limit::MAX_COST,
        realm::{Identity, Operation, Realm, Routing},
        request::{Host, ProxiedRequest},
    },
    grpc::{
        Rekeying, decision_log,
        failure::{Call, IdIn},
        render,
    },
};
use envoy_types::pb::{
    envoy::{
        config::core::v3::HeaderValueOption,
        service::auth::v3::{
            AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
            attribute_context::HttpRequest, authorization_server::Authorization, check_response::HttpResponse,
        },
        r#type::v3::HttpStatus,
    },
    google::{protobuf::Struct, rpc},
};
use std::{net::IpAddr, sync::Arc};
use tonic::{Code, Request, Response, Status};

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
}

/// Why a request is denied before any realm judges it.
enum Unjudged {
    /// The request itself is wrong.
    Malformed(String),
    /// No realm is said to guard it.
    NoRealm(String),
    /// Whoever set up the route or the realm made a mistake.
    Misconfigured(String),
}

/// What a route asks for beside its realm.
struct RouteRules {
    operation: Option<usize>,
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
        let message = request.get_ref();
        let id = http_of(message).map_or(IdIn::Metadata(request.metadata()), IdIn::Proxied);
        let call = Call { house: &self.app.house, name: "Check", id };
        match self.decide(&call, message).await {
            Ok(Ok((guard, decision))) => Ok(write(&guard.realm, &decision)),
            // A limit that these requests cannot be counted by is a mistake of the realm.
            Ok(Err(unjudged)) => Ok(self.unjudged(&call, &unjudged)),
            Err(error @ AppError::Invalid(_)) => Ok(self.unjudged(&call, &Unjudged::Misconfigured(error.to_string()))),
            Err(error) => Err(call.failed("", &error)),
        }
    }

    /// The answer to a question that is too large, or not written as such questions are. Whoever sent the request has a hand in
    /// that, so it is a denial too.
    #[must_use]
    pub fn unreadable(&self, problem: &str) -> CheckResponse {
        if let Some(left_out) = self.unreadable.turn(self.app.house.clock.ticks()) {
            tracing::warn!(problem, left_out, "a request was denied whose question could not be read");
        }
        self.refused(self.errors.envelope.answer(DenyReason::MalformedRequest), DenyReason::MalformedRequest.name())
    }

    async fn decide(
        &self,
        call: &Call<'_>,
        message: &CheckRequest,
    ) -> Result<Result<(&Guarded, Decision<'_>), Unjudged>, AppError> {
        let Some(attributes) = &message.attributes else {
            return Ok(Err(Unjudged::Malformed("it has no attributes".to_owned())));
        };
        let Some(http) = http_of(message) else {
            return Ok(Err(Unjudged::Malformed("it is not an HTTP request".to_owned())));
        };
        let guard = match self.realm(attributes, http) {
            Ok(guard) => guard,
            Err(unjudged) => return Ok(Err(unjudged)),
        };
        let rules = match route_rules(&guard.realm, attributes) {
            Ok(rules) => rules,
            Err(problem) => return Ok(Err(Unjudged::Misconfigured(problem))),
        };
        let source_address = match self.client_address(attributes, http) {
            Ok(address) => address,
            Err(problem) => return Ok(Err(Unjudged::Malformed(problem))),
        };
        let (host, target, headers) = (http.host.as_str(), target(http), headers(http));
        let request = ProxiedRequest { method: http.method.as_str(), host, target, headers };
        let RouteRules { operation, cost } = rules;
        let request = AuthorizeRequest { request, source_address, operation, cost };
        let mut decision = self.app.authorize(guard, request).await?;
        if let Some(work) = decision.rekey.take() {
            self.rekeying.later(work);
        }
        decision_log::write(call, guard, &decision);
        Ok(Ok((guard, decision)))
    }

    /// The realm that the route names, else that of the host.
    fn realm(&self, attributes: &AttributeContext, http: &HttpRequest) -> Result<&Guarded, Unjudged> {
        let house = &self.app.house;
        if let Some(name) = attributes.context_extensions.get("realm") {
            let unknown = |error| {
                let name = name.escape_debug();
                Unjudged::Misconfigured(format!("a route's `context_extensions` name the realm `{name}`: {error}"))
            };
            return house.realm(name).map_err(unknown);
        }
        let host = Host::new(&http.host).map_err(|problem| Unjudged::Malformed(format!("the host {problem}")))?;
        let Some(name) = self.routing.by_host(&host) else {
            let host = host.as_str();
            return Err(Unjudged::NoRealm(format!(
                "neither the route (`context_extensions`, `realm`) nor `[envoy.hosts]` says which realm guards the host `{host}`"
            )));
        };
        house.realm(name.as_str()).map_err(|error| Unjudged::Misconfigured(format!("`[envoy.hosts]`: {error}")))
    }

    /// The address in the header that the settings trust, else that of the peer.
    fn client_address(&self, attributes: &AttributeContext, http: &HttpRequest) -> Result<Option<IpAddr>, String> {
        let Some(trusted) = self.routing.client_address_header() else {
            return Ok(address(attributes.source.as_ref()));
        };
        let mut found = headers_named(http, trusted);
        let Some(value) = found.next() else { return Ok(address(attributes.source.as_ref())) };
        let parsed = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
        match parsed.filter(|_| found.next().is_none()) {
            Some(address) => Ok(Some(address)),
            None => Err(format!("the header `{trusted}` must hold one address, once")),
        }
    }

    fn unjudged(&self, call: &Call<'_>, unjudged: &Unjudged) -> CheckResponse {
        let now = self.app.house.clock.ticks();
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
        };
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
        let row = ErrorRow {
            code: "misconfigured".to_owned(),
            kind: String::new(),
            status: 500,
            message: "The service is not set up for this request".to_owned(),
            headers: Vec::new(),
            answers: Vec::new(),
        };
        let misconfigured = template.render(&row, &row.message);
        Self { envelope: Envelope::new(template, Vec::new()), misconfigured }
    }
}

/// The request that is asked about.
fn http_of(message: &CheckRequest) -> Option<&HttpRequest> {
    message.attributes.as_ref()?.request.as_ref()?.http.as_ref()
}

/// The first line of that header.
pub(in crate::grpc) fn header<'h>(http: &'h HttpRequest, name: &'h str) -> Option<&'h [u8]> {
    headers_named(http, name).next()
}

/// Every line of that header.
fn headers_named<'h>(http: &'h HttpRequest, wanted: &'h str) -> impl Iterator<Item = &'h [u8]> {
    headers(http).filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
}

/// Path and query as they arrived: in its own field for them, Envoy writes `!` for what is not UTF-8.
fn target(http: &HttpRequest) -> &[u8] {
    let mut lines = http.header_map.iter().flat_map(|map| &map.headers);
    let raw = lines.find(|line| line.key == ":path").map(|line| line.raw_value.as_slice());
    raw.filter(|raw| !raw.is_empty()).unwrap_or(http.path.as_bytes())
}

/// The headers as they arrived: line by line where Envoy was told to send them so (`encode_raw_headers`), else joined by name.
fn headers(http: &HttpRequest) -> impl Iterator<Item = (&str, &[u8])> {
    let lines = http.header_map.iter().flat_map(|map| &map.headers).map(|header| {
        let value = if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
        (header.key.as_str(), value)
    });
    lines.chain(http.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

fn route_rules(realm: &Realm, attributes: &AttributeContext) -> Result<RouteRules, String> {
    let extensions = &attributes.context_extensions;
    let cost = match extensions.get("cost") {
        None => 1,
        Some(text) => text
            .parse()
            .ok()
            .filter(|cost| *cost <= MAX_COST)
            .ok_or("a route's `context_extensions`: `cost` must be 0 to 1,000,000,000")?,
    };
    let operation = match extensions.get("operation") {
        None => None,
        Some(name) => {
            let unknown = || format!("a route's `context_extensions`: `{}` has no operation `{name}`", realm.name);
            Some(realm.operations.named(name).ok_or_else(unknown)?.0)
        }
    };
    Ok(RouteRules { operation, cost })
}

fn write(realm: &Realm, decision: &Decision<'_>) -> CheckResponse {
    match &decision.verdict {
        Verdict::Allowed { key, target, operation } => {
            let caller = Caller { key, target };
            allowed(realm, decision, Some(&caller), *operation)
        }
        Verdict::Public { operation } => allowed(realm, decision, None, Some(operation)),
        Verdict::Denied(denial) => {
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
    }
}

/// Whoever was found to be calling.
struct Caller<'d> {
    key: &'d KeySnapshot,
    target: &'d AccountId,
}

fn allowed(
    realm: &Realm,
    decision: &Decision<'_>,
    caller: Option<&Caller<'_>>,
    operation: Option<&Operation>,
) -> CheckResponse {
    let mut answer = OkHttpResponse::default();
    for (identity, name) in realm.upstream.headers() {
        // Whatever the client sent under a name of ours never arrives: it is overwritten, or taken out.
        match tell(identity, caller, operation).filter(|value| !value.is_empty()) {
            Some(value) => answer.headers.push(set(name, value)),
            None => answer.headers_to_remove.push(name.to_owned()),
        }
    }
    if !realm.upstream.keeps_credential {
        answer.headers_to_remove.extend(realm.credentials.iter().map(|source| source.header.clone()));
    }
    let tell_limit = |name: &str, value: &str| answer.response_headers_to_add.push(set(name, value));
    render::each_rate_header(&realm.rate_headers, &decision.limits, decision.now, tell_limit);

    let mut metadata = Metadata::default();
    metadata.text("realm", realm.name.as_str());
    metadata.text("operation", operation.map_or("", |operation| &operation.name));
    if let Some(Caller { key, target }) = caller {
        metadata.text("account", key.owner.account.as_str());
        metadata.text("target_account", target.as_str());
        metadata.text("key_id", key.key.id.to_string());
        metadata.text("environment", key.key.environment.as_str());
        metadata.list("scopes", key.key.scopes.iter().map(ToString::to_string));
    }
    CheckResponse {
        status: Some(rpc::Status { code: Code::Ok.into(), ..rpc::Status::default() }),
        dynamic_metadata: Some(metadata.finish()),
        http_response: Some(HttpResponse::OkResponse(answer)),
    }
}

fn tell(identity: Identity, caller: Option<&Caller<'_>>, operation: Option<&Operation>) -> Option<String> {
    if identity == Identity::Operation {
        return operation.map(|operation| operation.name.to_string());
    }
    let Caller { key, target } = caller?;
    Some(match identity {
        Identity::Account => key.owner.account.to_string(),
        Identity::TargetAccount => target.to_string(),
        Identity::KeyId => key.key.id.to_string(),
        Identity::Environment => key.key.environment.to_string(),
        Identity::Scopes => {
            let scopes: Vec<&str> = key.key.scopes.iter().map(|scope| scope.as_str()).collect();
            scopes.join(" ")
        }
        Identity::Operation => return None,
    })
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
