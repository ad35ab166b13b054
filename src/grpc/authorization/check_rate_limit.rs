//! Messages of `CheckRateLimit`, and the use case between them.

use crate::{
    app::{
        check_rate_limit::{CheckRateLimit, LimitDecision, Selection},
        error::AppError,
        house::{App, Guarded},
        meter::{Astray, Verb},
        ports::Store,
    },
    domain::{
        id::{AccountId, KeyId},
        limit::{LimitRule, Subject},
        realm::{Operation, Realm},
    },
    grpc::{
        failure::{Call, IdIn},
        fields::{Fields, one_of},
        followed::around,
        measure::Question,
        render,
    },
    proto::v1::{self, check_rate_limit_request::Selection as Wire},
};
use std::net::IpAddr;
use tonic::{Request, Status};

/// Limits named in one request, at most.
const LIMITS: usize = 16;
/// Bytes of a free subject, at most.
const CUSTOM_BYTES: usize = 256;

/// Whom to charge, its fields checked.
#[derive(Default)]
struct OwnedSubject {
    account: Option<AccountId>,
    target_account: Option<AccountId>,
    key: Option<KeyId>,
    address: Option<IpAddr>,
    custom: Option<String>,
}

pub(super) async fn handle<S: Store>(
    app: &App<S>,
    request: &Request<v1::CheckRateLimitRequest>,
) -> Result<v1::CheckRateLimitResponse, Status> {
    let message = request.get_ref();
    let begun = app.house.clock.reading();
    let call = Call { house: &app.house, name: "CheckRateLimit", id: IdIn::Metadata(request.metadata()), span: None };
    let call = call.followed("keygate.v1.Authorization", begun);
    let unknown = |error: AppError| {
        app.house.meter.astray(Verb::CheckRateLimit, Astray::UnknownRealm);
        call.failed(&message.realm, &error)
    };
    let guard = app.house.realm(&message.realm).map_err(unknown)?;
    let question = Question { verb: Verb::CheckRateLimit, guard, call: &call, begun };
    let decided = around!(&call.span, decide(app, guard, message));
    let decision = decided.map_err(|error| {
        question.failed(&error);
        call.failed(&message.realm, &error)
    })?;
    question.decided_limits(&decision);
    Ok(write(&guard.realm, &decision))
}

async fn decide<'a, S: Store>(
    app: &App<S>,
    guard: &'a Guarded,
    message: &v1::CheckRateLimitRequest,
) -> Result<LimitDecision<'a>, AppError> {
    let realm: &Realm = &guard.realm;
    let mut fields = Fields::default();
    let environment = fields.one_environment("environment", &message.environment, realm);
    let selection = select(&mut fields, realm, message.selection.as_ref());
    let cost = fields.cost("cost", message.cost);
    let owned = message.subject.as_ref().map(|subject| read_subject(&mut fields, subject)).unwrap_or_default();
    let ((_, environment), selection) = fields.finish(environment.zip(selection))?;
    let subject = Subject {
        account: owned.account.as_ref(),
        target_account: owned.target_account.as_ref(),
        key: owned.key,
        address: owned.address,
        custom: owned.custom.as_deref(),
        descriptor: None,
        bearer: None,
    };
    let request = CheckRateLimit { environment, selection, subject, cost, peek: message.peek };
    app.check_rate_limit(guard, &request).await
}

fn select<'r>(fields: &mut Fields, realm: &'r Realm, selection: Option<&Wire>) -> Option<Selection<'r>> {
    match selection {
        None => {
            fields.wrong("selection", "must be `limits` or `operation`");
            None
        }
        Some(Wire::Operation(name)) => {
            let known =
                || one_of("an operation of the realm", realm.operations.list().iter().map(|o: &Operation| &*o.name));
            let found = realm.operations.named(name).map(|(index, _)| Selection::Operation(index));
            fields.check("operation", found.ok_or_else(known))
        }
        Some(Wire::Limits(names)) => {
            let names = &names.names;
            if !(1..=LIMITS).contains(&names.len()) {
                fields.wrong("limits.names", format_args!("must be 1 to {LIMITS} names"));
                return None;
            }
            let mut limits: Vec<&LimitRule> = Vec::with_capacity(names.len());
            let mut told = None;
            for (at, name) in names.iter().enumerate() {
                let field = format!("limits.names[{at}]");
                match realm.limit(name) {
                    Some(limit) if limits.iter().any(|other| other.name == limit.name) => {
                        fields.wrong(&field, "must not repeat an earlier name");
                    }
                    Some(limit) => limits.push(limit),
                    None => {
                        let known = realm.limits.iter().map(|limit| &*limit.name);
                        fields.wrong_element("limits.names", at, &mut told, "a limit of the realm", known);
                    }
                }
            }
            Some(Selection::Limits(limits))
        }
    }
}

fn read_subject(fields: &mut Fields, subject: &v1::Subject) -> OwnedSubject {
    OwnedSubject {
        account: fields.optional("subject.account_id", &subject.account_id, AccountId::new),
        target_account: fields.optional("subject.target_account_id", &subject.target_account_id, AccountId::new),
        key: fields.optional("subject.key_id", &subject.key_id, KeyId::parse),
        address: fields.address("subject.source_address", &subject.source_address),
        custom: fields.text("subject.custom", &subject.custom, CUSTOM_BYTES).filter(|text| !text.is_empty()),
    }
}

fn write(realm: &Realm, decision: &LimitDecision<'_>) -> v1::CheckRateLimitResponse {
    let mut headers = Vec::new();
    render::rate_headers(&realm.rate_headers, &decision.limits, decision.now, &mut headers);
    let denied = decision.denial.as_ref().map(|denial| render::denied(realm, denial, &decision.limits, decision.now));
    v1::CheckRateLimitResponse {
        allowed: denied.is_none(),
        denied,
        limits: render::limit_states(&decision.limits),
        headers,
        degraded: decision.degraded,
    }
}
