//! Messages of the audit log, and what they say.

use crate::{
    app::{
        audit::{EventFilter, EventPage},
        error::AppError,
    },
    domain::{
        audit::{Act, Actor, AuditEvent, Checkpoint, Seal, Signed},
        id::{AccountId, Environment, KeyId, RealmName},
        realm::Realm,
    },
    grpc::{
        fields::{Fields, LARGEST_PAGE},
        render::instant,
    },
    proto::v1,
};

pub(super) fn read_list(realm: &Realm, message: &v1::ListEventsRequest) -> Result<EventFilter, AppError> {
    let mut fields = Fields::default();
    let account = fields.optional("account_id", &message.account_id, AccountId::new);
    let acts = read_acts(&mut fields, &message.acts);
    let key = fields.optional("key_id", &message.key_id, KeyId::parse);
    let actor = fields.optional("actor", &message.actor, read_actor);
    let since = message.since.as_ref().and_then(|since| fields.instant("since", since));
    let until = message.until.as_ref().and_then(|until| fields.instant("until", until));
    if since.zip(until).is_some_and(|(since, until)| until < since) {
        fields.wrong("until", "must not lie before `since`");
    }
    let environment = fields.environment("environment", &message.environment, realm).map(|(_, name)| name.clone());
    let page_size = fields.page_size(message.page_size, LARGEST_PAGE);
    let after = fields.optional("page_token", &message.page_token, read_page_token);
    if let (Some(account), Some((after, _))) = (&account, &after)
        && account != after
    {
        fields.wrong("page_token", "must come from a page with the same filters");
    }
    fields.finish(Some(EventFilter { account, acts, key, actor, since, until, environment, after, page_size }))
}

fn read_acts(fields: &mut Fields, numbers: &[i32]) -> Vec<Act> {
    if numbers.len() > Act::ALL.len() {
        fields.wrong("acts", format_args!("must be at most {} acts", Act::ALL.len()));
        return Vec::new();
    }
    let mut acts = Vec::new();
    for (at, number) in numbers.iter().enumerate() {
        match u32::try_from(*number).ok().and_then(Act::from_code) {
            Some(act) => acts.push(act),
            None => fields.wrong(&format!("acts[{at}]"), "must be an act that this version knows"),
        }
    }
    acts
}

fn read_actor(text: &str) -> Result<String, &'static str> {
    // Of a key's id there is more than one way to write it.
    let key = KeyId::parse(text).map(|key| key.to_string()).ok();
    key.or_else(|| Actor::is_text(text).then(|| text.to_owned())).ok_or(Actor::TEXT_ALLOWED)
}

/// A page token names the last event of the page before. It gives no access: whoever uses it is authenticated anew.
fn read_page_token(token: &str) -> Result<(AccountId, u64), &'static str> {
    let parts = token.split_once('.').and_then(|(sequence, account)| {
        let digits = !sequence.is_empty() && sequence.bytes().all(|byte| byte.is_ascii_digit());
        let sequence = sequence.parse::<u64>().ok().filter(|_| digits);
        AccountId::new(account).ok().zip(sequence)
    });
    parts.ok_or("`next_page_token` of the page before, unchanged")
}

pub(super) fn page(realm: &Realm, page: &EventPage) -> v1::ListEventsResponse {
    let token = |(account, sequence): &(AccountId, u64)| format!("{sequence}.{account}");
    v1::ListEventsResponse {
        events: page.events.iter().map(|(account, found)| event(&realm.name, account, found)).collect(),
        next_page_token: page.next.as_ref().map(token).unwrap_or_default(),
    }
}

pub(super) fn event(realm: &RealmName, account: &AccountId, event: &AuditEvent) -> v1::AuditEvent {
    v1::AuditEvent {
        realm: realm.to_string(),
        account_id: account.to_string(),
        sequence: event.sequence,
        at: Some(instant(event.at)),
        actor: event.actor.clone(),
        act: act(event.act).into(),
        environment: event.environment.as_ref().map(Environment::to_string).unwrap_or_default(),
        key_id: event.key.map(|key| key.to_string()).unwrap_or_default(),
        other_account_id: event.other.as_ref().map(ToString::to_string).unwrap_or_default(),
        fields: event.fields.clone(),
        previous_hash: event.previous.to_vec(),
        hash: event.hash.to_vec(),
        member_id: event.member.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

/// The numbers of the API are those of the domain.
fn act(act: Act) -> v1::AuditAct {
    match act {
        Act::AccountCreated => v1::AuditAct::AccountCreated,
        Act::KeyCreated => v1::AuditAct::KeyCreated,
        Act::KeyImported => v1::AuditAct::KeyImported,
        Act::KeyUpdated => v1::AuditAct::KeyUpdated,
        Act::KeySuspended => v1::AuditAct::KeySuspended,
        Act::KeyResumed => v1::AuditAct::KeyResumed,
        Act::KeyRotated => v1::AuditAct::KeyRotated,
        Act::KeyRevoked => v1::AuditAct::KeyRevoked,
        Act::KeyRekeyed => v1::AuditAct::KeyRekeyed,
        Act::AccountActivated => v1::AuditAct::AccountActivated,
        Act::AccountSuspended => v1::AuditAct::AccountSuspended,
        Act::AccountDeactivated => v1::AuditAct::AccountDeactivated,
        Act::AccountOffboarded => v1::AuditAct::AccountOffboarded,
        Act::OrganizationJoined => v1::AuditAct::OrganizationJoined,
        Act::OrganizationLeft => v1::AuditAct::OrganizationLeft,
        Act::CredentialStored => v1::AuditAct::CredentialStored,
        Act::CredentialRemoved => v1::AuditAct::CredentialRemoved,
        Act::CredentialRewrapped => v1::AuditAct::CredentialRewrapped,
        Act::MemberAdded => v1::AuditAct::MemberAdded,
        Act::MemberRolesChanged => v1::AuditAct::MemberRolesChanged,
        Act::MemberRemoved => v1::AuditAct::MemberRemoved,
    }
}

pub(super) fn checkpoint(signed: &Signed<Checkpoint>) -> v1::CheckpointResponse {
    let Checkpoint { owner, chain, at } = &signed.statement;
    let checkpoint = v1::AuditCheckpoint {
        realm: owner.realm.to_string(),
        account_id: owner.account.to_string(),
        length: chain.length,
        head: chain.head.to_vec(),
        at: Some(instant(*at)),
        public_key: signed.public_key.as_bytes().to_vec(),
        signature: signed.signature.to_vec(),
    };
    v1::CheckpointResponse { statement: Some(v1::checkpoint_response::Statement::Checkpoint(checkpoint)) }
}

pub(super) fn seal(signed: &Signed<Seal>) -> v1::CheckpointResponse {
    let Seal { realm, account, accounts, digest, at } = &signed.statement;
    let seal = v1::AuditSeal {
        realm: realm.to_string(),
        account_id: account.as_ref().map(AccountId::to_string).unwrap_or_default(),
        accounts: *accounts,
        digest: digest.to_vec(),
        at: Some(instant(*at)),
        public_key: signed.public_key.as_bytes().to_vec(),
        signature: signed.signature.to_vec(),
    };
    v1::CheckpointResponse { statement: Some(v1::checkpoint_response::Statement::Seal(seal)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_have_the_same_number_and_name_in_the_api_and_in_the_hash() {
        for one in Act::ALL {
            assert_eq!(i32::from(act(one)), i32::try_from(one.code()).unwrap());
            assert_eq!(act(one).as_str_name(), format!("AUDIT_ACT_{}", one.name().to_uppercase()));
        }
    }

    #[test]
    fn odd_page_tokens_are_refused() {
        assert_eq!(read_page_token("7.a.b"), Ok((AccountId::new("a.b").unwrap(), 7)));
        for token in ["", ".", "7.", ".a", "+7.a", "-1.a", "7.a/b", "7", "a.7", "99999999999999999999.a"] {
            assert!(read_page_token(token).is_err(), "{token}");
        }
    }
}
