//! Domain records to stored messages and back. `None` on the way back: a value is not legal.

use super::Lookup;
use crate::{
    domain::{
        account::{Account, AccountStatus},
        audit::{Act, AuditEvent, Chain},
        id::{AccountId, AccountRef, Environment, KeyId, MemberId, RealmName, Scope},
        key::{Digest, DigestScheme, IdempotencyRecord, KeyRecord, KeySecret, LastUse, Revocation, SecretUse},
        network::Network,
        time::Timestamp,
    },
    proto::store_v1::{self as stored, actor::Who},
};
use std::net::IpAddr;

pub(super) fn account_to(account: &Account) -> stored::Account {
    stored::Account {
        above: account.above.iter().map(ToString::to_string).collect(),
        status: account.status.code(),
        version: account.version,
        created_at_us: account.created_at.as_micros(),
        audit_length: account.audit.length,
        audit_head: if account.audit.length == 0 { Vec::new() } else { account.audit.head.to_vec() },
        organizations: account.organizations.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn account_from(message: stored::Account) -> Option<Account> {
    let head = if message.audit_length == 0 { [0; 32] } else { message.audit_head.try_into().ok()? };
    Some(Account {
        above: account_ids(&message.above)?,
        organizations: account_ids(&message.organizations)?,
        status: AccountStatus::from_code(message.status)?,
        version: message.version,
        created_at: Timestamp::from_micros(message.created_at_us),
        audit: Chain { length: message.audit_length, head },
    })
}

pub(super) fn use_to(last: &LastUse) -> stored::Use {
    stored::Use { at_us: last.at.as_micros(), address: last.address.map(octets).unwrap_or_default(), count: 0 }
}

pub(super) fn use_from(message: stored::Use) -> Option<LastUse> {
    let address = if message.address.is_empty() { None } else { Some(address(message.address)?) };
    Some(LastUse { at: Timestamp::from_micros(message.at_us), address })
}

pub(super) fn secret_use_to(used: &SecretUse) -> stored::Use {
    stored::Use { count: used.count, ..use_to(&used.last) }
}

pub(super) fn secret_use_from(message: stored::Use) -> Option<SecretUse> {
    Some(SecretUse { count: message.count, last: use_from(message)? })
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn address(octets: Vec<u8>) -> Option<IpAddr> {
    match octets.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(octets).ok()?)),
        _ => Some(IpAddr::from(<[u8; 16]>::try_from(octets).ok()?)),
    }
}

fn network_to(network: &Network) -> stored::Network {
    stored::Network { first: octets(network.first()), bits: u32::from(network.bits()) }
}

fn network_from(message: stored::Network) -> Option<Network> {
    Network::new(address(message.first)?, u8::try_from(message.bits).ok()?)
}

pub(super) fn key_to(key: &KeyRecord) -> stored::Key {
    stored::Key {
        environment: key.environment.to_string(),
        name: key.name.clone(),
        scopes: key.scopes.iter().map(ToString::to_string).collect(),
        metadata: key.metadata.iter().map(|(name, value)| metadata_to(name, value)).collect(),
        suspended: key.suspended,
        created_at_us: key.created_at.as_micros(),
        updated_after_us: offset(key.created_at, key.updated_at),
        expires_at_us: key.expires_at.map(Timestamp::as_micros),
        version: key.version,
        secrets: key.secrets.iter().enumerate().map(|(at, secret)| secret_to(key, at, secret)).collect(),
        created_by: Some(actor_to(&key.created_by)),
        revoked: key.revoked.as_ref().map(|revoked| stored::Revocation {
            at_us: revoked.at.as_micros(),
            reason: revoked.reason.clone(),
            by: Some(actor_to(&revoked.by)),
        }),
        not_before_us: key.not_before.map(Timestamp::as_micros),
        networks: key.networks.iter().map(network_to).collect(),
        resumed_at_us: key.resumed_at.map(Timestamp::as_micros),
        member: key.member.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

pub(super) fn key_from(id: KeyId, message: stored::Key) -> Option<KeyRecord> {
    let created_at = Timestamp::from_micros(message.created_at_us);
    let count = message.secrets.len();
    let numbered = |(at, secret)| secret_from(created_at, usual_number(count, at), secret);
    let secrets = message.secrets.into_iter().enumerate().map(numbered).collect::<Option<_>>()?;
    let revoked = match message.revoked {
        Some(revoked) => Some(Revocation {
            at: Timestamp::from_micros(revoked.at_us),
            reason: revoked.reason,
            by: actor_from(revoked.by)?,
        }),
        None => None,
    };
    Some(KeyRecord {
        id,
        environment: Environment::new(&message.environment).ok()?,
        name: message.name,
        scopes: message.scopes.iter().map(|scope| Scope::new(scope).ok()).collect::<Option<_>>()?,
        metadata: message.metadata.into_iter().map(|entry| (entry.name, entry.value)).collect(),
        suspended: message.suspended,
        created_at,
        updated_at: at_offset(created_at, message.updated_after_us),
        expires_at: message.expires_at_us.map(Timestamp::from_micros),
        not_before: message.not_before_us.map(Timestamp::from_micros),
        networks: message.networks.into_iter().map(network_from).collect::<Option<_>>()?,
        resumed_at: message.resumed_at_us.map(Timestamp::from_micros),
        version: message.version,
        secrets,
        created_by: actor_from(message.created_by)?,
        revoked,
        member: unless_empty(&message.member, MemberId::new)?,
    })
}

pub(super) fn lookup_to(lookup: &Lookup) -> stored::Lookup {
    stored::Lookup {
        realm: lookup.owner.realm.to_string(),
        environment: lookup.environment.to_string(),
        account: lookup.owner.account.to_string(),
        key_id: lookup.key.as_bytes().to_vec(),
    }
}

pub(super) fn lookup_from(message: stored::Lookup) -> Option<Lookup> {
    Some(Lookup {
        owner: AccountRef {
            realm: RealmName::new(&message.realm).ok()?,
            account: AccountId::new(&message.account).ok()?,
        },
        environment: Environment::new(&message.environment).ok()?,
        key: key_id(&message.key_id)?,
    })
}

pub(super) fn pointer_to(account: &AccountId) -> stored::Pointer {
    stored::Pointer { account: account.to_string() }
}

pub(super) fn pointer_from(message: stored::Pointer) -> Option<AccountId> {
    AccountId::new(&message.account).ok()
}

pub(super) fn event_to(event: &AuditEvent) -> stored::AuditEvent {
    stored::AuditEvent {
        at_us: event.at.as_micros(),
        actor: Some(actor_to(&event.actor)),
        act: event.act.code(),
        environment: event.environment.as_ref().map(ToString::to_string).unwrap_or_default(),
        key_id: event.key.map(|key| key.as_bytes().to_vec()).unwrap_or_default(),
        other: event.other.as_ref().map(ToString::to_string).unwrap_or_default(),
        fields: event.fields.clone(),
        previous_hash: event.previous.to_vec(),
        member: event.member.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

pub(super) fn event_from(sequence: u64, message: stored::AuditEvent) -> Option<AuditEvent> {
    let mut event = AuditEvent {
        sequence,
        at: Timestamp::from_micros(message.at_us),
        actor: actor_from(message.actor)?,
        act: Act::from_code(message.act)?,
        environment: unless_empty(&message.environment, Environment::new)?,
        key: if message.key_id.is_empty() { None } else { Some(key_id(&message.key_id)?) },
        other: unless_empty(&message.other, AccountId::new)?,
        member: unless_empty(&message.member, MemberId::new)?,
        fields: message.fields,
        previous: message.previous_hash.try_into().ok()?,
        hash: [0; 32],
    };
    event.hash = event.expected_hash();
    Some(event)
}

pub(super) fn idempotency_to(record: &IdempotencyRecord) -> stored::Idempotency {
    stored::Idempotency {
        fingerprint: record.fingerprint.to_vec(),
        key_ids: record.keys.iter().flat_map(|key| *key.as_bytes()).collect(),
        expires_at_us: record.expires_at.as_micros(),
    }
}

pub(super) fn idempotency_from(slot: [u8; 32], message: stored::Idempotency) -> Option<IdempotencyRecord> {
    Some(IdempotencyRecord {
        slot,
        fingerprint: message.fingerprint.try_into().ok()?,
        keys: message.key_ids.chunks(16).map(key_id).collect::<Option<_>>()?,
        expires_at: Timestamp::from_micros(message.expires_at_us),
    })
}

#[allow(clippy::ptr_arg, reason = "what is sealed is what is opened")]
pub(super) fn memo_to(value: &Vec<u8>) -> stored::Memo {
    stored::Memo { value: value.clone() }
}

pub(super) fn memo_from(message: stored::Memo) -> Option<Vec<u8>> {
    Some(message.value)
}

fn metadata_to(name: &str, value: &str) -> stored::Metadata {
    stored::Metadata { name: name.to_owned(), value: value.to_owned() }
}

/// The number that the secret at a place has unless some were forgotten, or stored anew.
fn usual_number(count: usize, at: usize) -> u32 {
    u32::try_from(count.saturating_sub(at)).unwrap_or(u32::MAX)
}

fn secret_to(key: &KeyRecord, at: usize, secret: &KeySecret) -> stored::Secret {
    stored::Secret {
        digest: secret.digest.as_bytes().to_vec(),
        scheme: secret.scheme.code(),
        secret_version: secret.secret_version,
        hint: secret.hint.clone(),
        created_after_us: offset(key.created_at, secret.created_at),
        retires_at_us: secret.retires_at.map(Timestamp::as_micros),
        number: if secret.number == usual_number(key.secrets.len(), at) { 0 } else { secret.number },
    }
}

fn secret_from(key_created_at: Timestamp, usual_number: u32, message: stored::Secret) -> Option<KeySecret> {
    Some(KeySecret {
        number: if message.number == 0 { usual_number } else { message.number },
        digest: Digest::from_bytes(message.digest.try_into().ok()?),
        scheme: DigestScheme::from_code(message.scheme)?,
        secret_version: message.secret_version,
        hint: message.hint,
        created_at: at_offset(key_created_at, message.created_after_us),
        retires_at: message.retires_at_us.map(Timestamp::from_micros),
    })
}

/// A key id takes 16 bytes in place of its 30 characters.
pub(super) fn actor_to(text: &str) -> stored::Actor {
    let key = KeyId::parse(text).ok().filter(|key| key.to_string() == text);
    stored::Actor {
        who: Some(match key {
            Some(key) => Who::KeyId(key.as_bytes().to_vec()),
            None => Who::Text(text.to_owned()),
        }),
    }
}

pub(super) fn actor_from(message: Option<stored::Actor>) -> Option<String> {
    match message?.who? {
        Who::KeyId(bytes) => key_id(&bytes).map(|key| key.to_string()),
        Who::Text(text) => Some(text),
    }
}

fn account_ids(ids: &[String]) -> Option<Vec<AccountId>> {
    ids.iter().map(|id| AccountId::new(id).ok()).collect()
}

pub(super) fn key_id(bytes: &[u8]) -> Option<KeyId> {
    bytes.try_into().ok().map(KeyId::from_bytes)
}

/// The microseconds from one instant to another, modulo 2^64, so that every pair survives, the reversed one too.
fn offset(from: Timestamp, to: Timestamp) -> u64 {
    to.as_micros().wrapping_sub(from.as_micros())
}

fn at_offset(from: Timestamp, offset: u64) -> Timestamp {
    Timestamp::from_micros(from.as_micros().wrapping_add(offset))
}

/// Outer `None`: not legal. Inner `None`: empty.
fn unless_empty<T, E>(text: &str, parse: impl Fn(&str) -> Result<T, E>) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { parse(text).ok().map(Some) }
}
