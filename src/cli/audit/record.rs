//! One line of an export, both ways: what keygate writes, and what it reads again. There is one form of every record, so that
//! a line either is what keygate wrote, byte for byte, or is refused.

use crate::{
    cli::{names, values},
    domain::{
        audit::{Act, AuditEvent as Event, Chain, Checkpoint, Entry, PublicKey, Seal, Signed},
        id::{AccountId, AccountRef, Environment, KeyId, MemberId, RealmName},
        time::Timestamp,
    },
    proto::{
        google,
        v1::{AuditCheckpoint, AuditEvent, AuditSeal},
    },
};
use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};

/// An event as lists show it.
pub fn event(event: &AuditEvent) -> Value {
    let mut object = json!({
        "realm": event.realm,
        "account_id": event.account_id,
        "sequence": event.sequence,
        "at": instant(event.at.as_ref()),
        "actor": event.actor,
        "act": names::audit_act(event.act),
        "environment": event.environment,
        "key_id": event.key_id,
        "other_account_id": event.other_account_id,
        "fields": event.fields,
        "previous_hash": HEXLOWER.encode(&event.previous_hash),
        "hash": HEXLOWER.encode(&event.hash),
    });
    // Only where there is one, so that older exports have the one form of every record too.
    if let (false, Some(fields)) = (event.member_id.is_empty(), object.as_object_mut()) {
        fields.insert("member_id".to_owned(), Value::from(event.member_id.clone()));
    }
    object
}

/// An event for people, without its account: number, instant, act, environment, key, other account, member, actor, fields. No cell is empty.
pub fn cells(event: &AuditEvent) -> Vec<String> {
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    vec![
        event.sequence.to_string(),
        event.at.as_ref().map_or_else(|| "-".to_owned(), values::instant_micros),
        names::audit_act(event.act),
        dash(&event.environment),
        dash(&event.key_id),
        dash(&event.other_account_id),
        dash(&event.member_id),
        dash(&event.actor),
        dash(&event.fields.join(",")),
    ]
}

/// The line of an event.
pub fn event_line(one: &AuditEvent) -> String {
    line("event", event(one))
}

/// The line of a checkpoint.
pub fn checkpoint_line(checkpoint: &AuditCheckpoint) -> String {
    let fields = json!({
        "realm": checkpoint.realm,
        "account_id": checkpoint.account_id,
        "length": checkpoint.length,
        "head": HEXLOWER.encode(&checkpoint.head),
        "at": instant(checkpoint.at.as_ref()),
        "public_key": HEXLOWER.encode(&checkpoint.public_key),
        "signature": HEXLOWER.encode(&checkpoint.signature),
    });
    line("checkpoint", fields)
}

/// The line of a seal.
pub fn seal_line(seal: &AuditSeal) -> String {
    let fields = json!({
        "realm": seal.realm,
        "account_id": seal.account_id,
        "accounts": seal.accounts,
        "digest": HEXLOWER.encode(&seal.digest),
        "at": instant(seal.at.as_ref()),
        "public_key": HEXLOWER.encode(&seal.public_key),
        "signature": HEXLOWER.encode(&seal.signature),
    });
    line("seal", fields)
}

/// The kind goes first, then the fields.
fn line(kind: &str, fields: Value) -> String {
    let mut object = Map::new();
    object.insert("type".to_owned(), Value::from(kind));
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    Value::Object(object).to_string()
}

fn instant(at: Option<&google::Timestamp>) -> Value {
    at.map(values::instant_micros).into()
}

/// Reads a line.
///
/// # Errors
/// Says what is wrong, without repeating what stands there.
pub fn parse(text: &str) -> Result<Entry, String> {
    let value: Value = serde_json::from_str(text).map_err(|_| "it is no JSON object".to_owned())?;
    let fields = Fields(value.as_object().ok_or("it is no JSON object")?);
    let (entry, written) = match fields.text("type")?.as_str() {
        "event" => {
            let message = fields.event()?;
            (as_event(&message)?, event_line(&message))
        }
        "checkpoint" => {
            let message = fields.checkpoint()?;
            (as_checkpoint(&message)?, checkpoint_line(&message))
        }
        "seal" => {
            let message = fields.seal()?;
            (as_seal(&message)?, seal_line(&message))
        }
        _ => return Err("`type` is none of `event`, `checkpoint` and `seal`".to_owned()),
    };
    if written == text { Ok(entry) } else { Err("it has another form than keygate writes".to_owned()) }
}

/// The fields of a record.
struct Fields<'r>(&'r Map<String, Value>);

impl Fields<'_> {
    fn text(&self, name: &str) -> Result<String, String> {
        self.0.get(name).and_then(Value::as_str).map(ToOwned::to_owned).ok_or_else(|| wrong(name))
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        self.0.get(name).and_then(Value::as_u64).ok_or_else(|| wrong(name))
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        HEXLOWER.decode(self.text(name)?.as_bytes()).map_err(|_| wrong(name))
    }

    fn instant(&self, name: &str) -> Result<Option<google::Timestamp>, String> {
        values::parse_instant(&self.text(name)?).map(Some).map_err(|_| wrong(name))
    }

    fn event(&self) -> Result<AuditEvent, String> {
        let act = Act::from_name(&self.text("act")?).ok_or("`act` is none that this version of keygate knows")?;
        let list = self.0.get("fields").and_then(Value::as_array).ok_or_else(|| wrong("fields"))?;
        let names = list.iter().map(|field| field.as_str().map(ToOwned::to_owned)).collect::<Option<_>>();
        Ok(AuditEvent {
            realm: self.text("realm")?,
            account_id: self.text("account_id")?,
            sequence: self.number("sequence")?,
            at: self.instant("at")?,
            actor: self.text("actor")?,
            act: i32::try_from(act.code()).map_err(|_| wrong("act"))?,
            environment: self.text("environment")?,
            key_id: self.text("key_id")?,
            other_account_id: self.text("other_account_id")?,
            fields: names.ok_or_else(|| wrong("fields"))?,
            previous_hash: self.bytes("previous_hash")?,
            hash: self.bytes("hash")?,
            member_id: if self.0.contains_key("member_id") { self.text("member_id")? } else { String::new() },
        })
    }

    fn checkpoint(&self) -> Result<AuditCheckpoint, String> {
        Ok(AuditCheckpoint {
            realm: self.text("realm")?,
            account_id: self.text("account_id")?,
            length: self.number("length")?,
            head: self.bytes("head")?,
            at: self.instant("at")?,
            public_key: self.bytes("public_key")?,
            signature: self.bytes("signature")?,
        })
    }

    fn seal(&self) -> Result<AuditSeal, String> {
        Ok(AuditSeal {
            realm: self.text("realm")?,
            account_id: self.text("account_id")?,
            accounts: self.number("accounts")?,
            digest: self.bytes("digest")?,
            at: self.instant("at")?,
            public_key: self.bytes("public_key")?,
            signature: self.bytes("signature")?,
        })
    }
}

fn wrong(field: &str) -> String {
    format!("`{field}` is missing or wrong")
}

fn as_event(message: &AuditEvent) -> Result<Entry, String> {
    let event = Event {
        sequence: message.sequence,
        at: micros(message.at.as_ref())?,
        actor: message.actor.clone(),
        act: u32::try_from(message.act).ok().and_then(Act::from_code).ok_or_else(|| wrong("act"))?,
        environment: unless_empty("environment", &message.environment, |text| Environment::new(text).ok())?,
        key: unless_empty("key_id", &message.key_id, canonical_key)?,
        other: unless_empty("other_account_id", &message.other_account_id, |text| AccountId::new(text).ok())?,
        member: unless_empty("member_id", &message.member_id, |text| MemberId::new(text).ok())?,
        fields: message.fields.clone(),
        previous: array("previous_hash", &message.previous_hash)?,
        hash: array("hash", &message.hash)?,
    };
    Ok(Entry::Event(owner(&message.realm, &message.account_id)?, event))
}

fn as_checkpoint(message: &AuditCheckpoint) -> Result<Entry, String> {
    let statement = Checkpoint {
        owner: owner(&message.realm, &message.account_id)?,
        chain: Chain { length: message.length, head: array("head", &message.head)? },
        at: micros(message.at.as_ref())?,
    };
    signed(statement, &message.public_key, &message.signature).map(Entry::Checkpoint)
}

fn as_seal(message: &AuditSeal) -> Result<Entry, String> {
    let statement = Seal {
        realm: RealmName::new(&message.realm).map_err(|_| wrong("realm"))?,
        account: unless_empty("account_id", &message.account_id, |text| AccountId::new(text).ok())?,
        accounts: message.accounts,
        digest: array("digest", &message.digest)?,
        at: micros(message.at.as_ref())?,
    };
    signed(statement, &message.public_key, &message.signature).map(Entry::Seal)
}

fn signed<T>(statement: T, public_key: &[u8], signature: &[u8]) -> Result<Signed<T>, String> {
    let public_key = PublicKey::from_bytes(array("public_key", public_key)?);
    Ok(Signed { statement, public_key, signature: array("signature", signature)? })
}

fn owner(realm: &str, account: &str) -> Result<AccountRef, String> {
    Ok(AccountRef {
        realm: RealmName::new(realm).map_err(|_| wrong("realm"))?,
        account: AccountId::new(account).map_err(|_| wrong("account_id"))?,
    })
}

fn array<const N: usize>(field: &str, bytes: &[u8]) -> Result<[u8; N], String> {
    bytes.try_into().map_err(|_| wrong(field))
}

fn unless_empty<T>(field: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some).ok_or_else(|| wrong(field)) }
}

/// An id is read in several forms, and hashed in one: only that one is the record's.
fn canonical_key(text: &str) -> Option<KeyId> {
    KeyId::parse(text).ok().filter(|key| key.to_string() == text)
}

fn micros(at: Option<&google::Timestamp>) -> Result<Timestamp, String> {
    let parts = at.and_then(|at| Some((u64::try_from(at.seconds).ok()?, u64::try_from(at.nanos).ok()?)));
    let micros = parts.and_then(|(seconds, nanos)| seconds.checked_mul(1_000_000)?.checked_add(nanos / 1_000));
    micros.map(Timestamp::from_micros).ok_or_else(|| wrong("at"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_event() -> AuditEvent {
        AuditEvent {
            realm: "recurr".to_owned(),
            account_id: "acme".to_owned(),
            sequence: 3,
            at: Some(google::Timestamp { seconds: 1_893_456_000, nanos: 250_000_000 }),
            actor: "keygate".to_owned(),
            act: 4,
            environment: "live".to_owned(),
            key_id: "key_01JD3V6Q0C8W4R5T9Y2KXPZ7NM".to_owned(),
            other_account_id: String::new(),
            fields: vec!["name".to_owned(), "scopes".to_owned()],
            previous_hash: vec![7; 32],
            hash: vec![8; 32],
            member_id: "ann".to_owned(),
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written_and_in_no_other_form() {
        let line = event_line(&some_event());
        let Ok(Entry::Event(owner, event)) = parse(&line) else { panic!("{line}") };
        assert_eq!((owner.account.as_str(), event.sequence, event.act), ("acme", 3, Act::KeyUpdated));
        assert_eq!(event.at.as_micros(), 1_893_456_000_250_000);
        for (from, to) in [
            ("\":3,", "\": 3,"),
            ("\"sequence\":3", "\"sequence\":3,\"note\":1"),
            ("\"sequence\":3", "\"sequence\":9,\"sequence\":3"),
            ("\"sequence\":3", "\"sequence\":\"3\""),
            ("\"sequence\":3", "\"sequence\":-3"),
            (".250000Z", ".25Z"),
            (".250000Z", ".2500001Z"),
            ("key_01JD", "key_01jd"),
            ("0707", "070"),
            ("0808", "0A0a"),
            ("key_updated", "key_painted"),
            ("\"acme\"", "\"a/b\""),
            ("\"event\"", "\"story\""),
            ("{", "["),
            ("}", "} "),
            ("\"actor\":\"keygate\",", ""),
            ("\"ann\"", "\"\""),
            ("\"ann\"", "\"a n\""),
            ("\"ann\"", "7"),
        ] {
            let changed = line.replacen(from, to, 1);
            assert_ne!(changed, line, "`{from}` is not there");
            let problem = parse(&changed).expect_err(&changed);
            assert!(!problem.contains("acme") && !problem.contains("keygate\""), "{problem}");
        }
    }
}
