//! From decisions to messages: what every dialect of the API shares.

use crate::{
    app::authenticate::Denial,
    domain::{
        deny::DenyReason,
        limit::LimitOutcome,
        realm::{RateHeaders, Realm, ceil_seconds},
        time::Timestamp,
        token::Token,
    },
    proto::v1,
};
use std::time::Duration;

pub(super) fn header(name: &str, value: impl Into<String>) -> v1::Header {
    v1::Header { name: name.to_owned(), value: value.into() }
}

/// A span as protobuf writes it. Anything that does not fit lies beyond what the API allows, and is cut there.
pub(super) fn span(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or_default(),
    }
}

/// An instant as protobuf writes it.
pub(super) fn instant(at: Timestamp) -> prost_types::Timestamp {
    let micros = at.as_micros();
    prost_types::Timestamp {
        seconds: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(micros % 1_000_000).unwrap_or_default().saturating_mul(1_000),
    }
}

/// The headers that tell the end client how the limits stand.
pub(super) fn rate_headers(
    forms: &RateHeaders,
    limits: &[LimitOutcome<'_>],
    now: Timestamp,
    headers: &mut Vec<v1::Header>,
) {
    each_rate_header(forms, limits, now, |name, value| headers.push(header(name, value)));
}

/// The same, one by one.
pub(super) fn each_rate_header(
    forms: &RateHeaders,
    limits: &[LimitOutcome<'_>],
    now: Timestamp,
    put: impl FnMut(&str, &str),
) {
    if let Some(outcome) = LimitOutcome::spokesman(limits).filter(|outcome| !outcome.degraded) {
        forms.render(outcome, now, put);
    }
}

/// How the limits stand.
pub(super) fn limit_states(limits: &[LimitOutcome<'_>]) -> Vec<v1::LimitState> {
    limits.iter().map(limit_state).collect()
}

fn limit_state(outcome: &LimitOutcome<'_>) -> v1::LimitState {
    v1::LimitState {
        name: outcome.rule.name.to_string(),
        limit: u64::from(outcome.rule.limit),
        window: Some(span(outcome.rule.window)),
        remaining: u64::from(outcome.remaining),
        reset_after: Some(span(outcome.reset_after)),
        exceeded: outcome.exceeded,
        shadow: outcome.rule.shadow,
        retry_after: outcome.retry_after.map(span),
        degraded: outcome.degraded,
    }
}

/// A denial in the realm's own words.
pub(super) fn denied(realm: &Realm, denial: &Denial<'_>, limits: &[LimitOutcome<'_>], now: Timestamp) -> v1::Denied {
    let mut headers = Vec::new();
    let (mut http_status, mut body) = (500, String::new());
    if let Some(rendered) = realm.envelope.answer(denial.reason) {
        http_status = u32::from(rendered.status);
        body.clone_from(&rendered.body);
        headers.extend(rendered.headers.iter().map(|(name, value)| header(name, value)));
    }
    rate_headers(&realm.rate_headers, limits, now, &mut headers);
    if let Some(wait) = denial.retry_after {
        headers.push(header("retry-after", ceil_seconds(wait).max(1).to_string()));
    }
    let of_key = denial.key.as_ref().map(|key| &key.owner.account);
    let account = of_key.or(denial.token.as_ref().map(|token| &token.account));
    v1::Denied {
        reason: reason(denial.reason).into(),
        http_status,
        headers,
        body,
        retry_after: denial.retry_after.map(span),
        limit: denial.limit.map(|rule| rule.name.to_string()).unwrap_or_default(),
        key_id: denial.key.as_ref().map(|key| key.key.id.to_string()).unwrap_or_default(),
        account_id: account.map(ToString::to_string).unwrap_or_default(),
        token: denial.token.as_deref().map(token),
    }
}

/// What is told of a token.
pub(super) fn token(token: &Token) -> v1::TokenIdentity {
    v1::TokenIdentity {
        issuer: token.issuer.to_string(),
        subject: token.subject.clone(),
        expires_at: Some(instant(token.expires_at)),
        roles: token.roles.clone(),
    }
}

fn reason(reason: DenyReason) -> v1::DenyReason {
    match reason {
        DenyReason::MissingCredential => v1::DenyReason::MissingCredential,
        DenyReason::AmbiguousCredential => v1::DenyReason::AmbiguousCredential,
        DenyReason::MalformedKey => v1::DenyReason::MalformedKey,
        DenyReason::UnknownKey => v1::DenyReason::UnknownKey,
        DenyReason::RevokedKey => v1::DenyReason::RevokedKey,
        DenyReason::ExpiredKey => v1::DenyReason::ExpiredKey,
        DenyReason::RetiredSecret => v1::DenyReason::RetiredSecret,
        DenyReason::SuspendedKey => v1::DenyReason::SuspendedKey,
        DenyReason::UnusedKey => v1::DenyReason::UnusedKey,
        DenyReason::EarlyKey => v1::DenyReason::EarlyKey,
        DenyReason::ForbiddenAddress => v1::DenyReason::ForbiddenAddress,
        DenyReason::WrongEnvironment => v1::DenyReason::WrongEnvironment,
        DenyReason::SuspendedAccount => v1::DenyReason::SuspendedAccount,
        DenyReason::DeactivatedAccount => v1::DenyReason::DeactivatedAccount,
        DenyReason::ForbiddenAccount => v1::DenyReason::ForbiddenAccount,
        DenyReason::UnknownAccount => v1::DenyReason::UnknownAccount,
        DenyReason::InsufficientScope => v1::DenyReason::InsufficientScope,
        DenyReason::UnknownOperation => v1::DenyReason::UnknownOperation,
        DenyReason::RateLimited => v1::DenyReason::RateLimited,
        DenyReason::CostAboveLimit => v1::DenyReason::CostAboveLimit,
        DenyReason::TooManyMisses => v1::DenyReason::TooManyMisses,
        DenyReason::InvalidCode => v1::DenyReason::InvalidCode,
        DenyReason::MalformedRequest => v1::DenyReason::MalformedRequest,
        DenyReason::InvalidToken => v1::DenyReason::InvalidToken,
        DenyReason::ExpiredEmbedToken => v1::DenyReason::ExpiredEmbedToken,
        DenyReason::ExpiredToken => v1::DenyReason::ExpiredToken,
        DenyReason::NoProviderCredential => v1::DenyReason::NoProviderCredential,
    }
}
