//! The API's messages as JSON: the fields' names are those of the proto, enums are short lower-case names, instants are
//! RFC 3339 in UTC, spans are seconds as protobuf writes them (`"86400s"`). Every field is always there; what is absent
//! is `null`. Of a `oneof` only the member that is set is there.

use super::{names, values};
use crate::proto::{
    google,
    v1::{
        Account, Allowed, AuthenticateResponse, CheckRateLimitResponse, Denied, Header, ImportVerdict, Key, KeySecret,
        KeyWithSecret, KeysRevoked, LimitState, Member, ProviderCredential, RemoveMemberResponse,
        SetAccountStatusResponse, SignupStarted, TokenIdentity, authenticate_response::Outcome,
    },
};
use serde_json::{Map, Value, json};

/// A key.
#[must_use]
pub fn key(key: &Key) -> Value {
    json!({
        "id": key.id,
        "realm": key.realm,
        "environment": key.environment,
        "account_id": key.account_id,
        "name": key.name,
        "hint": key.hint,
        "scopes": key.scopes,
        "metadata": key.metadata,
        "state": names::key_state(key.state),
        "created_at": instant(key.created_at.as_ref()),
        "updated_at": instant(key.updated_at.as_ref()),
        "expires_at": instant(key.expires_at.as_ref()),
        "version": key.version,
        "secrets": key.secrets.iter().map(key_secret).collect::<Vec<_>>(),
        "created_by": key.created_by,
        "revoked_at": instant(key.revoked_at.as_ref()),
        "revoke_reason": key.revoke_reason,
        "last_used_at": instant(key.last_used_at.as_ref()),
        "last_used_address": key.last_used_address,
        "not_before": instant(key.not_before.as_ref()),
        "allowed_networks": key.allowed_networks,
        "suspends_at": instant(key.suspends_at.as_ref()),
        "member_id": key.member_id,
    })
}

/// An account.
#[must_use]
pub fn account(account: &Account) -> Value {
    json!({
        "id": account.id,
        "realm": account.realm,
        "status": names::account_status(account.status),
        "above_account_ids": account.above_account_ids,
        "organization_ids": account.organization_ids,
        "created_at": instant(account.created_at.as_ref()),
        "version": account.version,
    })
}

/// An account that was moved to another status, and the keys that ended with it.
#[must_use]
pub fn account_status_set(set: &SetAccountStatusResponse) -> Value {
    json!({
        "account": set.account.as_ref().map(account),
        "ended_key_ids": set.ended_key_ids,
        "removed_credentials": set.removed_credentials,
        "more": set.more,
        "remembered_for": set.remembered_for.as_ref().map(values::span),
    })
}

/// What may be told of a provider's credential.
#[must_use]
pub fn credential(found: &ProviderCredential) -> Value {
    json!({
        "realm": found.realm,
        "account_id": found.account_id,
        "environment": found.environment,
        "provider": found.provider,
        "created_at": instant(found.created_at.as_ref()),
        "updated_at": instant(found.updated_at.as_ref()),
        "updated_by": found.updated_by,
        "key_encryption_key": found.key_encryption_key,
        "can_open": found.can_open,
    })
}

fn key_secret(secret: &KeySecret) -> Value {
    json!({
        "hint": secret.hint,
        "created_at": instant(secret.created_at.as_ref()),
        "retires_at": instant(secret.retires_at.as_ref()),
        "imported": secret.imported,
        "number": secret.number,
        "last_used_at": instant(secret.last_used_at.as_ref()),
        "last_used_address": secret.last_used_address,
        "uses": secret.uses,
    })
}

/// A member of an account.
#[must_use]
pub fn member(member: &Member) -> Value {
    json!({
        "id": member.id,
        "realm": member.realm,
        "account_id": member.account_id,
        "roles": member.roles,
        "added_at": instant(member.added_at.as_ref()),
        "key_ids": member.key_ids,
        "account_version": member.account_version,
    })
}

/// A member who was removed, and the keys that ended with it.
#[must_use]
pub fn member_removed(removed: &RemoveMemberResponse) -> Value {
    json!({
        "member": removed.member.as_ref().map(member),
        "ended_key_ids": removed.ended_key_ids,
        "account_version": removed.account_version,
        "remembered_for": span(removed.remembered_for.as_ref()),
    })
}

/// A key that was just made or rotated, with its secret.
#[must_use]
pub fn key_with_secret(made: &KeyWithSecret) -> Value {
    json!({
        "key": made.key.as_ref().map(key),
        "secret": made.secret,
        "repeated": made.repeated,
        "replaced_key_ids": made.replaced_key_ids,
    })
}

/// The keys that an act ended.
#[must_use]
pub fn keys_revoked(revoked: &KeysRevoked) -> Value {
    json!({ "keys": revoked.keys.iter().map(key).collect::<Vec<_>>(), "more": revoked.more })
}

/// What became of one row of an import. `line` counts from 1.
#[must_use]
pub fn import_verdict(line: u64, verdict: &ImportVerdict) -> Value {
    json!({
        "line": line,
        "outcome": names::import_outcome(verdict.outcome),
        "key_id": verdict.key_id,
        "problem": verdict.problem,
    })
}

/// The answer of `Authenticate`, and what the request was called.
#[must_use]
pub fn authenticated(answer: &AuthenticateResponse, id: Option<&str>) -> Value {
    let mut object = Map::new();
    match &answer.outcome {
        Some(Outcome::Allowed(it)) => object.insert("allowed".to_owned(), allowed(it)),
        Some(Outcome::Denied(it)) => object.insert("denied".to_owned(), denied(it)),
        None => None,
    };
    let steps = answer.explanation.iter().map(|step| json!({ "stage": step.stage, "finding": step.finding }));
    object.insert("limits".to_owned(), limits(&answer.limits));
    object.insert("data_age".to_owned(), span(answer.data_age.as_ref()));
    object.insert("degraded".to_owned(), Value::from(answer.degraded));
    object.insert("explanation".to_owned(), steps.collect());
    object.insert("request_id".to_owned(), Value::from(id));
    Value::Object(object)
}

/// The answer of `CheckRateLimit`.
#[must_use]
pub fn rate_limit_checked(answer: &CheckRateLimitResponse) -> Value {
    json!({
        "allowed": answer.allowed,
        "denied": answer.denied.as_ref().map(denied),
        "limits": limits(&answer.limits),
        "headers": headers(&answer.headers),
        "degraded": answer.degraded,
    })
}

fn token(token: &TokenIdentity) -> Value {
    json!({
        "issuer": token.issuer,
        "subject": token.subject,
        "expires_at": instant(token.expires_at.as_ref()),
        "roles": token.roles,
    })
}

fn allowed(allowed: &Allowed) -> Value {
    json!({
        "key_id": allowed.key_id,
        "name": allowed.name,
        "hint": allowed.hint,
        "environment": allowed.environment,
        "account_id": allowed.account_id,
        "target_account_id": allowed.target_account_id,
        "scopes": allowed.scopes,
        "metadata": allowed.metadata,
        "operation": allowed.operation,
        "headers": headers(&allowed.headers),
        "token": allowed.token.as_ref().map(token),
        // None is asked for, and none would be shown: others read what a terminal shows.
        "upstream_headers": [],
    })
}

/// A denial that is all there is to tell.
#[must_use]
pub fn refused(denial: &Denied) -> Value {
    json!({ "denied": denied(denial) })
}

/// A signup that waits for its code.
#[must_use]
pub fn signup_started(started: &SignupStarted) -> Value {
    json!({ "signup_id": started.signup_id, "expires_at": instant(started.expires_at.as_ref()) })
}

fn denied(denied: &Denied) -> Value {
    json!({
        "reason": names::deny_reason(denied.reason),
        "http_status": denied.http_status,
        "headers": headers(&denied.headers),
        "body": denied.body,
        "retry_after": span(denied.retry_after.as_ref()),
        "limit": denied.limit,
        "key_id": denied.key_id,
        "account_id": denied.account_id,
        "token": denied.token.as_ref().map(token),
    })
}

fn limits(limits: &[LimitState]) -> Value {
    let states = limits.iter().map(|limit| {
        json!({
            "name": limit.name,
            "limit": limit.limit,
            "window": span(limit.window.as_ref()),
            "remaining": limit.remaining,
            "reset_after": span(limit.reset_after.as_ref()),
            "exceeded": limit.exceeded,
            "shadow": limit.shadow,
            "retry_after": span(limit.retry_after.as_ref()),
            "degraded": limit.degraded,
        })
    });
    states.collect()
}

fn headers(headers: &[Header]) -> Value {
    headers.iter().map(|header| json!({ "name": header.name, "value": header.value })).collect()
}

fn instant(timestamp: Option<&google::Timestamp>) -> Value {
    timestamp.map(values::instant).into()
}

fn span(duration: Option<&google::Duration>) -> Value {
    duration.map(values::span).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{ExplainStep, authenticate_response};
    use std::collections::BTreeMap;

    fn some_key() -> Key {
        Key {
            id: "key_01".to_owned(),
            realm: "recurr".to_owned(),
            environment: "live".to_owned(),
            account_id: "acme".to_owned(),
            name: "ci".to_owned(),
            hint: "rk_live_…x4f2".to_owned(),
            scopes: vec!["read-only".to_owned()],
            metadata: BTreeMap::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]),
            state: 1,
            created_at: Some(google::Timestamp { seconds: 0, nanos: 500_000_000 }),
            version: u64::MAX,
            secrets: vec![KeySecret { hint: "rk_live_…x4f2".to_owned(), ..KeySecret::default() }],
            ..Key::default()
        }
    }

    #[test]
    fn a_made_key_is_an_object_with_key_and_secret() {
        let made = KeyWithSecret { key: Some(some_key()), secret: "s".to_owned(), ..KeyWithSecret::default() };
        let value = key_with_secret(&made);
        assert_eq!(value["secret"], "s");
        assert_eq!(value["key"]["id"], "key_01");
        assert_eq!(value["key"]["state"], "active");
        assert_eq!(value["key"]["created_at"], "1970-01-01T00:00:00.5Z");
        assert_eq!(value["key"]["expires_at"], Value::Null);
        assert_eq!(value["key"]["version"], u64::MAX);
        assert_eq!(value["key"]["metadata"].to_string(), r#"{"a":"1","b":"2"}"#);
    }

    #[test]
    fn the_fields_are_those_of_the_proto() {
        let pool = message_fields();
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let same = |message: &str, value: &Value| assert_eq!(names(value), pool[message], "{message}");
        let made = KeyWithSecret { key: Some(some_key()), ..KeyWithSecret::default() };
        let made = key_with_secret(&made);
        same("KeyWithSecret", &made);
        same("Key", &made["key"]);
        same("KeySecret", &made["key"]["secrets"][0]);
        same("KeysRevoked", &keys_revoked(&KeysRevoked::default()));
        let checked = CheckRateLimitResponse {
            denied: Some(Denied { headers: vec![Header::default()], ..Denied::default() }),
            limits: vec![LimitState::default()],
            ..CheckRateLimitResponse::default()
        };
        let checked = rate_limit_checked(&checked);
        same("CheckRateLimitResponse", &checked);
        same("Denied", &checked["denied"]);
        same("LimitState", &checked["limits"][0]);
        same("Header", &checked["denied"]["headers"][0]);
        let outcome = Some(authenticate_response::Outcome::Allowed(Allowed::default()));
        let explanation = vec![ExplainStep::default()];
        let answer = authenticated(
            &AuthenticateResponse { outcome, explanation, ..AuthenticateResponse::default() },
            Some("r-1"),
        );
        same("Allowed", &answer["allowed"]);
        same("ExplainStep", &answer["explanation"][0]);
        let whole = pool["AuthenticateResponse"].iter().filter(|name| *name != "denied").cloned();
        let whole: Vec<_> = whole.chain(["request_id".to_owned()]).collect();
        assert_eq!(names(&answer), whole);
    }

    /// The names of every message's fields, in order, read off the proto files.
    fn message_fields() -> BTreeMap<String, Vec<String>> {
        let protos = [
            include_str!("../../proto/keygate/v1/authorization.proto"),
            include_str!("../../proto/keygate/v1/keys.proto"),
        ];
        let mut messages = BTreeMap::<String, Vec<String>>::new();
        let mut message = String::new();
        for line in protos.iter().flat_map(|proto| proto.lines()) {
            let block = line.strip_prefix("message ").or_else(|| line.strip_prefix("enum "));
            if let Some(name) = block {
                message = name.trim_end_matches(" {").to_owned();
            }
            let declaration = line.trim().split_once(" = ").filter(|_| line.starts_with("  ") && !line.contains("//"));
            if let Some(name) = declaration.and_then(|(before, _)| before.split(' ').next_back()) {
                messages.entry(message.clone()).or_default().push(name.to_owned());
            }
        }
        messages
    }
}
