//! Forged copies of the audit log: changed, and hashed and signed anew with nothing of keygate's.

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The line with another value in a field.
pub fn with(line: &str, field: &str, value: Value) -> String {
    let mut object: Value = serde_json::from_str(line).unwrap();
    assert!(object.get(field).is_some(), "`{field}` is not there: {line}");
    object[field] = value;
    object.to_string()
}

pub fn field(line: &str, name: &str) -> Value {
    serde_json::from_str::<Value>(line).unwrap()[name].clone()
}

/// Makes the hashes of these events follow from their fields and from each other again, with nothing of keygate's.
pub fn rehash(lines: &mut [String]) {
    let mut head = vec![0; 32];
    for line in lines {
        *line = with(line, "previous_hash", json!(HEXLOWER.encode(&head)));
        let event: Value = serde_json::from_str(line).unwrap();
        head = Sha256::digest(hashed(&event, &head)).to_vec();
        *line = with(line, "hash", json!(HEXLOWER.encode(&head)));
    }
}

fn joined(fields: &[Vec<u8>]) -> Vec<u8> {
    fields.iter().flat_map(|field| [(field.len() as u64).to_be_bytes().to_vec(), field.clone()].concat()).collect()
}

fn number(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn micros(at: &Value) -> Vec<u8> {
    let at: jiff::Timestamp = at.as_str().unwrap().parse().unwrap();
    number(u64::try_from(at.as_microsecond()).unwrap())
}

fn text(value: &Value) -> Vec<u8> {
    value.as_str().unwrap().as_bytes().to_vec()
}

fn hashed(event: &Value, previous: &[u8]) -> Vec<u8> {
    const CROCKFORD: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    const ACTS: [&str; 15] = [
        "account_created",
        "key_created",
        "key_imported",
        "key_updated",
        "key_suspended",
        "key_resumed",
        "key_rotated",
        "key_revoked",
        "key_rekeyed",
        "account_activated",
        "account_suspended",
        "account_deactivated",
        "account_offboarded",
        "organization_joined",
        "organization_left",
    ];
    const LATER: [(&str, u64); 3] =
        [("credential_stored", 60), ("credential_removed", 61), ("credential_rewrapped", 62)];
    let first = ACTS.iter().zip(1..).find(|(act, _)| event["act"] == **act).map(|(_, number)| number);
    let act = first.or(LATER.iter().find(|(act, _)| event["act"] == **act).map(|(_, number)| *number)).unwrap();
    let key = event["key_id"].as_str().unwrap().strip_prefix("key_").map(|digits| {
        let id = digits.chars().fold(0_u128, |id, digit| id << 5 | CROCKFORD.find(digit).unwrap() as u128);
        id.to_be_bytes().to_vec()
    });
    let names = event["fields"].as_array().unwrap();
    let mut parts = vec![
        number(event["sequence"].as_u64().unwrap()),
        micros(&event["at"]),
        text(&event["actor"]),
        number(act),
        text(&event["environment"]),
        key.unwrap_or_default(),
        text(&event["other_account_id"]),
        number(names.len() as u64),
    ];
    parts.extend(names.iter().map(text));
    parts.push(previous.to_vec());
    joined(&parts)
}

/// Signs every checkpoint and the seal of a copy anew, so that all fits, with a key that is not keygate's.
pub fn sign_anew(lines: &mut [String]) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let hex = |bytes: &[u8]| json!(HEXLOWER.encode(bytes));
    let unhex = |value: Value| HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap();
    let (mut digest, mut head) = (Sha256::new(), json!(""));
    for line in lines {
        let stated = match field(line, "type").as_str().unwrap() {
            "event" => {
                head = field(line, "hash");
                continue;
            }
            "checkpoint" => {
                *line = with(line, "head", head.clone());
                let length = number(field(line, "length").as_u64().unwrap());
                let kind = b"keygate audit checkpoint 1".to_vec();
                let names = [text(&field(line, "realm")), text(&field(line, "account_id"))];
                let stated =
                    [vec![kind], names.to_vec(), vec![length, unhex(head.clone()), micros(&field(line, "at"))]];
                let stated = joined(&stated.concat());
                digest.update(&stated);
                stated
            }
            _ => {
                *line = with(line, "digest", hex(&digest.clone().finalize()));
                let accounts = number(field(line, "accounts").as_u64().unwrap());
                let kind = b"keygate audit seal 1".to_vec();
                let names = [text(&field(line, "realm")), text(&field(line, "account_id"))];
                let digest = unhex(field(line, "digest"));
                joined(&[vec![kind], names.to_vec(), vec![accounts, digest, micros(&field(line, "at"))]].concat())
            }
        };
        *line = with(line, "public_key", hex(key.verifying_key().as_bytes()));
        *line = with(line, "signature", hex(&key.sign(&stated).to_bytes()));
    }
}
