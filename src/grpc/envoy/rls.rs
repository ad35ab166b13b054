//! `envoy.service.ratelimit.v3.RateLimitService`: does this come too often. Every descriptor is answered for, in order; the
//! limits of all of them are charged, or those of none.

use crate::{
    app::{
        check_descriptors::{Described, DescriptorDecision, Override},
        error::AppError,
        house::{App, Guarded},
        meter::{Astray, Verb},
        ports::Store,
        seldom::Seldom,
    },
    domain::{
        deny::DenyReason,
        limit::{LimitOutcome, MAX_COST},
        realm::{Realm, Routing, ceil_seconds},
    },
    grpc::{
        failure::{Call, IdIn},
        fields::Fields,
        followed::around,
        measure::Question,
        plain::Answer,
        render,
        writer::MessageWriter,
    },
};
use envoy_types::pb::{
    envoy::{
        config::core::v3::HeaderValue,
        extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::RateLimitOverride},
        service::ratelimit::v3::{
            RateLimitRequest, RateLimitResponse,
            rate_limit_response::{Code, DescriptorStatus, RateLimit, rate_limit::Unit},
            rate_limit_service_server::RateLimitService as Service,
        },
    },
    google::protobuf::Duration as Span,
};
use prost::Message;
use std::{sync::Arc, time::Duration};
use tonic::{Request, Response, Status};

/// Descriptors in one request, at most.
const DESCRIPTORS: usize = 64;
/// Entries of one descriptor, at most.
const ENTRIES: usize = 32;

/// Bytes that nearly every answer stays below.
const USUAL_BYTES: usize = 384;

const DAY: u64 = 86_400;
/// Seconds of each unit. A month has 30 days and a year 365, wherever they begin.
const UNITS: [(Unit, u64); 7] = [
    (Unit::Second, 1),
    (Unit::Minute, 60),
    (Unit::Hour, 3_600),
    (Unit::Day, DAY),
    (Unit::Week, 7 * DAY),
    (Unit::Month, 30 * DAY),
    (Unit::Year, 365 * DAY),
];

/// The service.
pub struct RateLimitService<S> {
    app: App<S>,
    routing: Arc<Routing>,
    unlimited: Seldom,
    unreadable: Seldom,
}

impl<S: Store> RateLimitService<S> {
    /// The service over the use cases.
    #[must_use]
    pub fn new(app: App<S>, routing: Arc<Routing>) -> Self {
        Self { app, routing, unlimited: Seldom::new(), unreadable: Seldom::new() }
    }

    /// Answers one question.
    ///
    /// # Errors
    /// When the request is wrong, or the store cannot answer.
    pub async fn answer(&self, request: &Request<RateLimitRequest>) -> Result<RateLimitResponse, Status> {
        self.answered(request, write, |message| message).await
    }

    /// The same, the answer written straight into its bytes.
    pub(in crate::grpc) async fn answer_to_bytes(&self, request: &Request<RateLimitRequest>) -> Result<Answer, Status> {
        self.answered(request, write_answer, |message| Answer::of(&message)).await
    }

    /// The answer to a question that is too large, or not written as such questions are. Whoever sent the request has a hand in
    /// that, as descriptors may hold what its headers do, so it is over the limit.
    #[must_use]
    pub fn unreadable(&self, problem: &str) -> RateLimitResponse {
        self.app.house.meter.astray(Verb::ShouldRateLimit, Astray::Unreadable);
        if let Some(left_out) = self.unreadable.turn(self.app.house.clock.ticks()) {
            tracing::warn!(problem, left_out, "a request is over the limit whose question could not be read");
        }
        RateLimitResponse { overall_code: Code::OverLimit.into(), ..RateLimitResponse::default() }
    }

    /// Decides, and answers by `write`, or by `plain` where nothing is limited.
    async fn answered<A>(
        &self,
        request: &Request<RateLimitRequest>,
        write: impl Fn(&Realm, &DescriptorDecision<'_>, usize) -> A + Send,
        plain: impl Fn(RateLimitResponse) -> A + Send,
    ) -> Result<A, Status> {
        let message = request.get_ref();
        let begun = self.app.house.clock.reading();
        let call = Call {
            house: &self.app.house,
            name: "ShouldRateLimit",
            id: IdIn::Metadata(request.metadata()),
            span: None,
        };
        let call = call.followed("envoy.service.ratelimit.v3.RateLimitService", begun);
        let failed = |error: AppError| call.failed(&message.domain, &error);
        if message.domain.is_empty() {
            return Err(failed(AppError::invalid("domain", "must be a realm, or a domain of `[envoy.domains]`")));
        }
        let Some(guard) = self.realm(&message.domain) else {
            call.tell_plainly("allowed", None);
            return Ok(plain(unlimited(message.descriptors.len())));
        };
        let question = Question { verb: Verb::ShouldRateLimit, guard, call: &call, begun };
        let failed = |error: AppError| {
            question.failed(&error);
            failed(error)
        };
        let described = read(&guard.realm, message).map_err(failed)?;
        let decided = around!(&call.span, self.app.check_descriptors(guard, &described));
        let decision = decided.map_err(failed)?;
        question.decided_descriptors(decision.outcomes(), message.hits_addend.max(1));
        Ok(write(&guard.realm, &decision, message.descriptors.len()))
    }

    fn realm(&self, domain: &str) -> Option<&Guarded> {
        let house = &self.app.house;
        let name = self.routing.by_domain(domain).map_or(domain, |realm| realm.as_str());
        let found = house.realm(name).ok();
        if found.is_none() {
            house.meter.astray(Verb::ShouldRateLimit, Astray::UnknownRealm);
        }
        if found.is_none()
            && let Some(left_out) = self.unlimited.turn(house.clock.ticks())
        {
            tracing::warn!(
                domain,
                left_out,
                "nothing is limited in a domain that is neither a realm nor in `[envoy.domains]`"
            );
        }
        found
    }
}

#[tonic::async_trait]
impl<S: Store> Service for RateLimitService<S> {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        self.answer(&request).await.map(Response::new)
    }
}

fn read<'g>(realm: &'g Realm, message: &RateLimitRequest) -> Result<Vec<Described<'g>>, AppError> {
    let mut fields = Fields::default();
    let cost = fields.cost("hits_addend", Some(i64::from(message.hits_addend.max(1))));
    if message.descriptors.len() > DESCRIPTORS {
        fields.wrong("descriptors", format_args!("must be at most {DESCRIPTORS}"));
    }
    let mut described = Vec::with_capacity(message.descriptors.len());
    for (at, descriptor) in message.descriptors.iter().take(DESCRIPTORS).enumerate() {
        let asked = read_descriptor(&mut fields, at, descriptor, cost);
        let entries: Vec<(&str, &str)> =
            descriptor.entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
        if let Some((cost, instead)) = asked {
            described.push(Described::new(realm, &entries, cost, instead)?);
        }
    }
    fields.finish(Some(described))
}

fn read_descriptor(
    fields: &mut Fields,
    at: usize,
    descriptor: &RateLimitDescriptor,
    cost: u32,
) -> Option<(u32, Option<Override>)> {
    let entries = &descriptor.entries;
    if !(1..=ENTRIES).contains(&entries.len()) || entries.iter().any(|entry| entry.key.is_empty()) {
        let problem = format_args!("must be 1 to {ENTRIES}, each with a key");
        fields.wrong(&format!("descriptors[{at}].entries"), problem);
        return None;
    }
    if descriptor.is_negative_hits {
        fields
            .wrong(&format!("descriptors[{at}].is_negative_hits"), "must be false: what was charged is not given back");
        return None;
    }
    let cost = match &descriptor.hits_addend {
        None => cost,
        Some(hits) => {
            let hits = u32::try_from(hits.value).ok().filter(|hits| *hits <= MAX_COST);
            fields.check(&format!("descriptors[{at}].hits_addend"), hits.ok_or("must be 0 to 1,000,000,000"))?
        }
    };
    let instead = match &descriptor.limit {
        None => None,
        Some(RateLimitOverride { requests_per_unit, unit }) => {
            let window = UNITS.into_iter().find(|(known, _)| i32::from(*known) == *unit);
            let window = window.map(|(_, seconds)| Duration::from_secs(seconds));
            let window =
                fields.check(&format!("descriptors[{at}].limit.unit"), window.ok_or("must be second to year"))?;
            Some(Override { limit: *requests_per_unit, window })
        }
    };
    Some((cost, instead))
}

/// The answer where nothing is limited.
fn unlimited(descriptors: usize) -> RateLimitResponse {
    let ok = DescriptorStatus { code: Code::Ok.into(), ..DescriptorStatus::default() };
    RateLimitResponse { overall_code: Code::Ok.into(), statuses: vec![ok; descriptors], ..RateLimitResponse::default() }
}

/// What most requests come to is written straight into its bytes, everything else by way of the message.
fn write_answer(realm: &Realm, decision: &DescriptorDecision<'_>, descriptors: usize) -> Answer {
    if decision.spokesman().is_some_and(LimitOutcome::denies) {
        return Answer::of(&write(realm, decision, descriptors));
    }
    let mut answer = Answer::with_capacity(USUAL_BYTES);
    let mut message = MessageWriter::new(answer.buffer());
    message.number(1, Code::Ok as u64);
    for index in 0..descriptors {
        message.nested(2, |status| write_status(status, decision.of(index)));
    }
    let put = |name: &str, value: &str| message.pair(3, name, value);
    render::each_rate_header(&realm.rate_headers, decision.outcomes(), decision.now, put);
    debug_assert_eq!(RateLimitResponse::decode(answer.message()), Ok(write(realm, decision, descriptors)));
    answer
}

/// `DescriptorStatus` of one that does not deny.
fn write_status(status: &mut MessageWriter<'_>, outcome: Option<&LimitOutcome<'_>>) {
    status.number(1, Code::Ok as u64);
    let Some(outcome) = outcome.filter(|outcome| !outcome.degraded) else { return };
    status.nested(2, |limit| {
        limit.number(1, u64::from(outcome.rule.limit));
        limit.number(2, unit_of(outcome) as u64);
        limit.text(3, &outcome.rule.name);
    });
    status.number(3, u64::from(outcome.remaining));
    status.span(4, outcome.reset_after);
}

/// A window that is no unit is told as none: any number for another window would be a lie.
fn unit_of(outcome: &LimitOutcome<'_>) -> Unit {
    let window = outcome.rule.window;
    let unit = UNITS.into_iter().find(|(_, seconds)| window == Duration::from_secs(*seconds));
    unit.map_or(Unit::Unknown, |(unit, _)| unit)
}

fn write(realm: &Realm, decision: &DescriptorDecision<'_>, descriptors: usize) -> RateLimitResponse {
    let denying = decision.spokesman().filter(|outcome| outcome.denies());
    let mut answer = RateLimitResponse {
        overall_code: if denying.is_some() { Code::OverLimit.into() } else { Code::Ok.into() },
        statuses: (0..descriptors).map(|index| one_status(decision.of(index))).collect(),
        ..RateLimitResponse::default()
    };
    let header =
        |key: &str, value: &str| HeaderValue { key: key.to_owned(), value: value.to_owned(), ..HeaderValue::default() };
    let headers = &mut answer.response_headers_to_add;
    let put = |name: &str, value: &str| headers.push(header(name, value));
    render::each_rate_header(&realm.rate_headers, decision.outcomes(), decision.now, put);
    if let Some(outcome) = denying {
        if let Some(wait) = outcome.retry_after {
            let seconds = ceil_seconds(wait).max(1).to_string();
            answer.response_headers_to_add.push(header("retry-after", &seconds));
        }
        // Envoy answers with 429 by itself; the words are the realm's.
        if let Some(rendered) = realm.envelope.answer(DenyReason::RateLimited) {
            let told = rendered.headers.iter().map(|(name, value)| header(name, value));
            answer.response_headers_to_add.extend(told);
            answer.raw_body = rendered.body.clone().into_bytes();
        }
    }
    answer
}

fn one_status(outcome: Option<&LimitOutcome<'_>>) -> DescriptorStatus {
    let Some(outcome) = outcome.filter(|outcome| !outcome.degraded) else {
        return DescriptorStatus { code: Code::Ok.into(), ..DescriptorStatus::default() };
    };
    let code = if outcome.denies() { Code::OverLimit } else { Code::Ok };
    DescriptorStatus {
        code: code.into(),
        current_limit: Some(RateLimit {
            name: outcome.rule.name.to_string(),
            requests_per_unit: outcome.rule.limit,
            unit: unit_of(outcome).into(),
        }),
        limit_remaining: outcome.remaining,
        duration_until_reset: Some(Span {
            seconds: i64::try_from(outcome.reset_after.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(outcome.reset_after.subsec_nanos()).unwrap_or_default(),
        }),
        quota: None,
    }
}
