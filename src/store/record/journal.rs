//! The lines of a server's journal: `MAC | protobuf message`, as base 64. Each stands for itself, so that one that was spoilt costs
//! no other; each has a number, so that one that was left out shows.

use super::convert;
use crate::{
    app::ports::journal::Mark,
    domain::{
        account::AccountStatus,
        audit::Chain,
        id::{AccountId, AccountRef, RealmName},
        key::{RecordMac, SecretRing},
        time::Timestamp,
    },
    proto::store_v1 as stored,
};
use data_encoding::BASE64;
use prost::Message;

const PLACE: [&[u8]; 1] = [b"journal"];

/// Writes lines and reads them.
pub struct JournalFormat {
    mac: RecordMac,
}

impl JournalFormat {
    /// As that ring seals them.
    #[must_use]
    pub fn new(ring: &SecretRing) -> Self {
        Self { mac: ring.journal_mac() }
    }

    /// The line of a mark, its end included.
    #[must_use]
    pub fn line(&self, number: u64, mark: &Mark) -> String {
        let body = to(number, mark).encode_to_vec();
        let mac = self.mac.seal(&PLACE, &body);
        let mut line = BASE64.encode(&[&mac[..], &body].concat());
        line.push('\n');
        line
    }

    /// The number and the mark of a line, if keygate wrote it.
    #[must_use]
    pub fn read(&self, line: &str) -> Option<(u64, Mark)> {
        let bytes = BASE64.decode(line.as_bytes()).ok()?;
        let (mac, body) = bytes.split_at_checked(RecordMac::LENGTH)?;
        if !self.mac.opens(&PLACE, body, mac) {
            return None;
        }
        from(stored::JournalLine::decode(body).ok()?)
    }
}

fn to(number: u64, mark: &Mark) -> stored::JournalLine {
    let id = |key: &crate::domain::id::KeyId| key.as_bytes().to_vec();
    stored::JournalLine {
        number,
        at_us: mark.at.as_micros(),
        realm: mark.owner.realm.to_string(),
        account: mark.owner.account.to_string(),
        version: mark.version,
        audit_length: mark.audit.length,
        audit_head: mark.audit.head.to_vec(),
        settled: mark.settled,
        status: mark.status.map_or(0, AccountStatus::code),
        ended: mark.ended.iter().flat_map(|key| *key.as_bytes()).collect(),
        holds: mark
            .holds
            .iter()
            .map(|(key, suspended)| stored::JournalHold { key_id: id(key), suspended: *suspended })
            .collect(),
        retirements: mark
            .retirements
            .iter()
            .map(|(key, secret, at)| stored::JournalRetirement {
                key_id: id(key),
                secret: *secret,
                at_us: at.as_micros(),
            })
            .collect(),
    }
}

fn from(line: stored::JournalLine) -> Option<(u64, Mark)> {
    let owner = AccountRef { realm: RealmName::new(&line.realm).ok()?, account: AccountId::new(&line.account).ok()? };
    let hold = |hold: stored::JournalHold| Some((convert::key_id(&hold.key_id)?, hold.suspended));
    let retirement = |one: stored::JournalRetirement| {
        Some((convert::key_id(&one.key_id)?, one.secret, Timestamp::from_micros(one.at_us)))
    };
    let status = if line.status == 0 { None } else { Some(AccountStatus::from_code(line.status)?) };
    let mark = Mark {
        owner,
        at: Timestamp::from_micros(line.at_us),
        version: line.version,
        audit: Chain { length: line.audit_length, head: line.audit_head.try_into().ok()? },
        settled: line.settled,
        status,
        ended: line.ended.chunks(16).map(convert::key_id).collect::<Option<_>>()?,
        holds: line.holds.into_iter().map(hold).collect::<Option<_>>()?,
        retirements: line.retirements.into_iter().map(retirement).collect::<Option<_>>()?,
    };
    Some((line.number, mark))
}
