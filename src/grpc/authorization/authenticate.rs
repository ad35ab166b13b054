//! Messages of `Authenticate`, and the use case between them.

use super::{AuthorizationService, answer::AllowedAnswer};
use crate::{
    app::{
        authenticate::{AuthenticateRequest, Decision, Presented, Release, Released, Verdict},
        error::AppError,
        house::Guarded,
        meter::{Astray, Verb},
        ports::Store,
    },
    domain::{
        id::AccountId,
        key::KeySnapshot,
        realm::{Operation, Realm},
        request::{CanonicalPath, CanonicalRequest, METHOD_BYTES, RequestError},
        secret::{Secret, SecretRef},
        token::TOKEN_BYTES,
    },
    grpc::{
        failure::{Call, IdIn},
        fields::Fields,
        followed::around,
        measure::{Begun, Question},
        plain::Answer,
        releasing::may_release,
        render,
    },
    proto::v1::{self, authenticate_request::Credential, authenticate_response::Outcome},
};
use prost::Message;
use tonic::{Request, Status};

/// Header lines in one request, at most.
const HEADER_LINES: usize = 128;
/// Bytes of all header lines together, at most.
const HEADER_BYTES: usize = 32 * 1_024;

pub(super) async fn handle<S: Store>(
    service: &AuthorizationService<S>,
    request: &Request<v1::AuthenticateRequest>,
) -> Result<v1::AuthenticateResponse, Status> {
    let (guard, decision) = answered(service, request).await?;
    Ok(write(&guard.realm, &decision))
}

/// The same, the answer written straight into its bytes.
pub(super) async fn handle_to_bytes<S: Store>(
    service: &AuthorizationService<S>,
    request: &Request<v1::AuthenticateRequest>,
) -> Result<Answer, Status> {
    let (guard, decision) = answered(service, request).await?;
    Ok(write_answer(&guard.realm, &decision))
}

/// Decides, and counts and logs the decision or why there is none.
async fn answered<'s, S: Store>(
    service: &'s AuthorizationService<S>,
    request: &Request<v1::AuthenticateRequest>,
) -> Result<(&'s Guarded, Decision<'s>), Status> {
    let (house, message) = (&service.decisions.house, request.get_ref());
    let begun = house.clock.reading();
    let call = Call { house, name: "Authenticate", id: IdIn::Metadata(request.metadata()), span: None };
    let call = call.followed("keygate.v1.Authorization", begun);
    let unknown = |error: AppError| {
        house.meter.astray(Verb::Authenticate, Astray::UnknownRealm);
        call.failed(&message.realm, &error)
    };
    let guard = house.realm(&message.realm).map_err(unknown)?;
    let question = Question { verb: Verb::Authenticate, guard, call: &call, begun };
    match around!(&call.span, decide(service, guard, message, may_release(request.extensions()), begun)) {
        Ok(decision) => {
            question.decided(&decision);
            Ok((guard, decision))
        }
        Err(error) => {
            question.failed(&error);
            Err(call.failed(&message.realm, &error))
        }
    }
}

async fn decide<'s, S: Store>(
    service: &AuthorizationService<S>,
    guard: &'s Guarded,
    message: &v1::AuthenticateRequest,
    may_release: bool,
    begun: Begun,
) -> Result<Decision<'s>, AppError> {
    let mut request = read(&guard.realm, message)?;
    request.begun = Some(begun);
    if message.release_credential {
        request.release = if may_release { Release::Granted } else { Release::Refused };
    }
    let mut decision = service.decisions.authenticate(guard, &request).await?;
    if let Some(work) = decision.rekey.take() {
        service.rekeying.later(work);
    }
    Ok(decision)
}

fn read<'m>(realm: &Realm, message: &'m v1::AuthenticateRequest) -> Result<AuthenticateRequest<'m>, AppError> {
    let mut fields = Fields::default();
    let mut headers = Vec::new();
    let presented = match &message.credential {
        None => Presented::Nothing,
        Some(Credential::ApiKey(key)) => {
            if key.len() > Secret::MAX_BYTES {
                fields.wrong("api_key", format_args!("must be at most {} bytes", Secret::MAX_BYTES));
            }
            Presented::Key(SecretRef::new(key))
        }
        Some(Credential::AccessToken(token)) => {
            if token.len() > TOKEN_BYTES {
                fields.wrong("access_token", format_args!("must be at most {TOKEN_BYTES} bytes"));
            }
            Presented::Token(SecretRef::new(token))
        }
        Some(Credential::Headers(lines)) => {
            let lines = &lines.entries;
            let bytes: usize = lines.iter().map(|line| line.name.len().saturating_add(line.value.len())).sum();
            if lines.len() > HEADER_LINES || bytes > HEADER_BYTES {
                fields.wrong("headers", format_args!("must be at most {HEADER_LINES} lines and {HEADER_BYTES} bytes"));
            }
            headers = lines.iter().map(|line| (line.name.as_str(), line.value.as_str())).collect();
            Presented::InHeaders
        }
    };
    let asked = match (message.method.as_str(), message.path.as_str()) {
        ("", "") => None,
        ("", _) => {
            fields.wrong("method", "is needed where there is a path");
            None
        }
        (_, "") => {
            fields.wrong("path", "is needed where there is a method");
            None
        }
        asked => Some(asked),
    };
    let request = match CanonicalRequest::told(asked, headers) {
        Ok(request) => Some(request),
        Err(RequestError::Path(problem)) => {
            fields.wrong("path", problem);
            None
        }
        Err(_) => {
            fields.wrong("method", format_args!("must be 1 to {METHOD_BYTES} of `A-Z`"));
            // What is wrong with the path, too, shall be told in the same answer.
            fields.check("path", asked.map_or(Ok(()), |(_, path)| CanonicalPath::new(path).map(drop)));
            None
        }
    };
    if message.release_credential && asked.is_none() {
        fields.wrong("release_credential", "takes `method` and `path`: they tell which provider the request goes to");
    }
    let environment = fields.environment("environment", &message.environment, realm);
    let request = AuthenticateRequest {
        presented,
        request: request.unwrap_or_default(),
        operation: None,
        source_address: fields.address("source_address", &message.source_address),
        account: fields.optional("account_id", &message.account_id, AccountId::new),
        organization: fields.optional("organization_id", &message.organization_id, AccountId::new),
        environment: environment.map(|(_, name)| name.clone()),
        required_scopes: fields.scopes("required_scopes", &message.required_scopes, realm),
        cost: fields.cost("cost", message.cost),
        check_rate_limit: message.check_rate_limit,
        explain: message.explain,
        release: Release::NotAsked,
        begun: None,
    };
    fields.finish(Some(request))
}

/// What most requests come to is written as it is decided, everything else by way of the message.
fn write_answer(realm: &Realm, decision: &Decision<'_>) -> Answer {
    match &decision.verdict {
        Verdict::Allowed { key, target, operation } if decision.steps.is_empty() => {
            let answer = allowed(realm, decision, key, target, *operation).answer();
            debug_assert_eq!(v1::AuthenticateResponse::decode(answer.message()), Ok(write(realm, decision)));
            answer
        }
        _ => Answer::of(&write(realm, decision)),
    }
}

fn write(realm: &Realm, decision: &Decision<'_>) -> v1::AuthenticateResponse {
    let steps = decision.steps.iter();
    let explanation =
        steps.map(|step| v1::ExplainStep { stage: step.stage.to_owned(), finding: step.finding.clone() }).collect();
    let outcome = match &decision.verdict {
        Verdict::Allowed { key, target, operation } => {
            let answer = allowed(realm, decision, key, target, *operation);
            return v1::AuthenticateResponse { explanation, ..answer.message() };
        }
        Verdict::Bearer(bearer) => {
            let mut headers = Vec::new();
            render::rate_headers(&realm.rate_headers, &decision.limits, decision.now, &mut headers);
            let token = &bearer.token;
            Outcome::Allowed(v1::Allowed {
                key_id: bearer.key.as_ref().map(|key| key.key.id.to_string()).unwrap_or_default(),
                environment: token.environment.to_string(),
                account_id: token.account.to_string(),
                target_account_id: bearer.target.to_string(),
                scopes: bearer.scopes.iter().map(ToString::to_string).collect(),
                operation: bearer.operation.map(|operation| operation.name.to_string()).unwrap_or_default(),
                headers,
                token: Some(render::token(token)),
                ..v1::Allowed::default()
            })
        }
        Verdict::Public { operation } => {
            let mut headers = Vec::new();
            render::rate_headers(&realm.rate_headers, &decision.limits, decision.now, &mut headers);
            let operation = operation.name.to_string();
            Outcome::Allowed(v1::Allowed { operation, headers, ..v1::Allowed::default() })
        }
        Verdict::Denied(denial) => Outcome::Denied(render::denied(realm, denial, &decision.limits, decision.now)),
    };
    v1::AuthenticateResponse {
        outcome: Some(outcome),
        limits: render::limit_states(&decision.limits),
        data_age: Some(render::span(decision.data_age)),
        degraded: decision.degraded,
        explanation,
    }
}

fn allowed<'d>(
    realm: &'d Realm,
    decision: &'d Decision<'d>,
    key: &'d KeySnapshot,
    target: &'d AccountId,
    operation: Option<&'d Operation>,
) -> AllowedAnswer<'d> {
    AllowedAnswer {
        rate_headers: &realm.rate_headers,
        key,
        target: target.as_str(),
        operation: operation.map_or("", |operation| &operation.name),
        limits: &decision.limits,
        data_age: decision.data_age,
        degraded: decision.degraded,
        now: decision.now,
        upstream: decision.released.as_ref().and_then(Released::header),
    }
}
