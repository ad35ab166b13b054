//! The answer of `Authenticate` to a request that is let through, written straight into its bytes. It is the one message
//! that is made at every request of every guarded product; built as a message first, it is some thirty small texts that are
//! copied, written once and freed again.
//!
//! What it tells of the key alone is written at the key's first use and remembered with the key. Decides nothing. Must be read
//! back as exactly the message that the usual conversion makes: a test compares the two on random decisions, and a debug
//! build does with every answer.

use crate::{
    domain::{key::KeySnapshot, limit::LimitOutcome, realm::RateHeaders, time::Timestamp},
    grpc::{plain::Answer, render, writer::MessageWriter},
    proto::v1::{self, authenticate_response::Outcome},
};
use std::time::Duration;

/// Bytes that nearly every answer stays below.
const USUAL_BYTES: usize = 512;

/// What an answer that lets a request through depends on.
#[derive(Clone, Copy)]
pub(super) struct AllowedAnswer<'d> {
    pub(super) rate_headers: &'d RateHeaders,
    pub(super) key: &'d KeySnapshot,
    /// The account acted on.
    pub(super) target: &'d str,
    /// The operation's name; empty when none was asked for.
    pub(super) operation: &'d str,
    pub(super) limits: &'d [LimitOutcome<'d>],
    pub(super) data_age: Duration,
    pub(super) degraded: bool,
    pub(super) now: Timestamp,
    /// The header that carries a provider's credential.
    pub(super) upstream: Option<(&'d str, &'d str)>,
}

impl AllowedAnswer<'_> {
    /// `AuthenticateResponse` in its bytes, without an explanation.
    pub(super) fn answer(&self) -> Answer {
        let mut answer = Answer::with_capacity(USUAL_BYTES);
        self.write(&mut MessageWriter::new(answer.buffer()));
        answer
    }

    fn write(&self, message: &mut MessageWriter<'_>) {
        message.nested(1, |allowed| {
            allowed.fields(self.key.face.get_or_init(|| face(self.key)));
            allowed.text(6, self.target);
            allowed.text(9, self.operation);
            let put = |name: &str, value: &str| allowed.pair(10, name, value);
            render::each_rate_header(self.rate_headers, self.limits, self.now, put);
            if let Some((name, value)) = self.upstream {
                allowed.pair(60, name, value);
            }
        });
        for outcome in self.limits {
            message.nested(3, |state| limit_state(state, outcome));
        }
        message.span(4, self.data_age);
        message.number(5, u64::from(self.degraded));
    }

    /// The same by way of the message, also without an explanation.
    pub(super) fn message(&self) -> v1::AuthenticateResponse {
        let (owned, key) = (&self.key.owner, &self.key.key);
        let mut headers = Vec::with_capacity(5);
        render::rate_headers(self.rate_headers, self.limits, self.now, &mut headers);
        let allowed = v1::Allowed {
            key_id: key.id.to_string(),
            name: key.name.clone(),
            hint: key.hint().to_owned(),
            environment: key.environment.to_string(),
            account_id: owned.account.to_string(),
            target_account_id: self.target.to_owned(),
            scopes: key.scopes.iter().map(ToString::to_string).collect(),
            metadata: key.metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            operation: self.operation.to_owned(),
            headers,
            token: None,
            upstream_headers: self.upstream.map(|(name, value)| render::header(name, value)).into_iter().collect(),
        };
        v1::AuthenticateResponse {
            outcome: Some(Outcome::Allowed(allowed)),
            limits: render::limit_states(self.limits),
            data_age: Some(render::span(self.data_age)),
            degraded: self.degraded,
            explanation: Vec::new(),
        }
    }
}

/// What of `Allowed` depends on the key alone.
fn face(key: &KeySnapshot) -> Box<[u8]> {
    let mut face = Vec::new();
    let mut allowed = MessageWriter::new(&mut face);
    allowed.text(1, &key.key.id.to_string());
    allowed.text(2, &key.key.name);
    allowed.text(3, key.key.hint());
    allowed.text(4, key.key.environment.as_str());
    allowed.text(5, key.owner.account.as_str());
    for scope in &key.key.scopes {
        allowed.text(7, scope.as_str());
    }
    for (name, value) in &key.key.metadata {
        allowed.pair(8, name, value);
    }
    face.into_boxed_slice()
}

fn limit_state(state: &mut MessageWriter<'_>, outcome: &LimitOutcome<'_>) {
    state.text(1, &outcome.rule.name);
    state.number(2, u64::from(outcome.rule.limit));
    state.span(3, outcome.rule.window);
    state.number(4, u64::from(outcome.remaining));
    state.span(5, outcome.reset_after);
    state.number(6, u64::from(outcome.exceeded));
    state.number(7, u64::from(outcome.rule.shadow));
    if let Some(wait) = outcome.retry_after {
        state.span(8, wait);
    }
    state.number(9, u64::from(outcome.degraded));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        account::Account,
        id::{AccountId, AccountRef, Environment, KeyId, RealmName, Scope},
        key::{Digest, DigestScheme, KeyRecord, KeySecret, PendingUse},
        limit::{LimitRule, OnStoreFailure, Shape},
        realm::{OperationSet, ResetForm},
        time::{LatestTicks, Ticks},
    };
    use proptest::{
        collection::{btree_map, vec},
        option,
        prelude::*,
    };
    use prost::Message;
    use std::sync::{Arc, OnceLock};

    fn key() -> impl Strategy<Value = KeySnapshot> {
        let scopes = vec("[a-z:*]{1,64}", 0..4);
        let metadata = btree_map(".{1,20}", ".{0,200}", 0..4);
        (any::<[u8; 16]>(), ".{0,128}", option::of(".{0,20}"), "[A-Za-z0-9@~]{1,128}", scopes, metadata).prop_map(
            |(id, name, hint, account, scopes, metadata)| {
                let at = Timestamp::from_micros(1);
                let secret = |hint| KeySecret {
                    number: 1,
                    digest: Digest::from_bytes([7; 32]),
                    scheme: DigestScheme::Native,
                    secret_version: 1,
                    hint,
                    created_at: at,
                    retires_at: None,
                };
                let owner =
                    AccountRef { realm: RealmName::new("bench").unwrap(), account: AccountId::new(&account).unwrap() };
                let key = KeyRecord {
                    id: KeyId::from_bytes(id),
                    environment: Environment::new("live").unwrap(),
                    name,
                    scopes: scopes.iter().map(|scope| Scope::new(scope).unwrap()).collect(),
                    metadata,
                    suspended: false,
                    created_at: at,
                    updated_at: at,
                    expires_at: None,
                    not_before: None,
                    networks: smallvec::smallvec![],
                    resumed_at: None,
                    version: 1,
                    secrets: hint.map(secret).into_iter().collect(),
                    created_by: String::new(),
                    revoked: None,
                    member: None,
                };
                KeySnapshot {
                    owner,
                    organizations: Box::default(),
                    account: Account::unborn(at),
                    key,
                    confirmed: LatestTicks::default(),
                    read_at: Ticks::default(),
                    pending_use: PendingUse::default(),
                    face: OnceLock::new(),
                    stamp: 0,
                }
            },
        )
    }

    /// Small ones, whose fields protobuf leaves out, and large ones alike.
    fn span() -> impl Strategy<Value = Duration> {
        prop_oneof![
            Just(Duration::ZERO),
            (0..400_u64).prop_map(Duration::from_secs),
            (0..40_000_000_000_000_u64).prop_map(Duration::from_micros),
        ]
    }

    fn rule() -> impl Strategy<Value = LimitRule> {
        ("[a-z0-9-]{1,40}", 1..=1_000_000_000_u32, 1..=366 * 86_400_u64, any::<bool>()).prop_map(
            |(name, limit, window, shadow)| LimitRule {
                name: Arc::from(name),
                limit,
                window: Duration::from_secs(window),
                shape: Shape::new(Duration::from_secs(window), 60).unwrap(),
                per: Vec::new(),
                operations: OperationSet::All,
                descriptor: None,
                on_store_failure: OnStoreFailure::Allow,
                shadow,
            },
        )
    }

    type Stand = (u32, Duration, bool, Option<Duration>, bool);

    fn outcome<'r>(rule: &'r LimitRule, stand: &Stand) -> LimitOutcome<'r> {
        let (remaining, reset_after, exceeded, retry_after, degraded) = *stand;
        LimitOutcome { rule, remaining, reset_after, exceeded, retry_after, degraded }
    }

    fn rate_headers() -> impl Strategy<Value = RateHeaders> {
        let name = || option::of("[a-z-]{1,30}");
        let form = prop_oneof![Just(ResetForm::EpochSeconds), Just(ResetForm::DeltaSeconds)];
        (name(), name(), option::of(("[a-z-]{1,30}", form)), any::<bool>())
            .prop_map(|(limit, remaining, reset, ietf)| RateHeaders { limit, remaining, reset, ietf })
    }

    proptest! {
        #[test]
        fn the_bytes_are_read_back_as_the_message_of_the_usual_conversion(
            key in key(),
            (target, operation) in ("[a-z]{1,128}", ".{0,40}"),
            rate_headers in rate_headers(),
            limits in vec((rule(), (any::<u32>(), span(), any::<bool>(), option::of(span()), any::<bool>())), 0..4),
            upstream in option::of(("[a-z-]{1,30}", ".{0,200}")),
            (data_age, degraded, now) in (span(), any::<bool>(), 0..=253_402_300_799_999_999_u64),
        ) {
            let limits: Vec<_> = limits.iter().map(|(rule, stand)| outcome(rule, stand)).collect();
            let answer = AllowedAnswer {
                rate_headers: &rate_headers,
                key: &key,
                target: &target,
                operation: &operation,
                limits: &limits,
                data_age,
                degraded,
                now: Timestamp::from_micros(now),
                upstream: upstream.as_ref().map(|(name, value)| (name.as_str(), value.as_str())),
            };
            // The first answer makes what the second finds.
            for _ in 0..2 {
                prop_assert_eq!(v1::AuthenticateResponse::decode(answer.answer().message()), Ok(answer.message()));
            }
        }
    }
}
