//! The file of a backup: a line that names the format, then parts, each `length (4 bytes) | MAC (16 bytes) | protobuf message`.
//!
//! The MAC of a part is keyed from the server secret and covers its number and the MAC of the part before, so that a part that was
//! changed, moved, left out or added shows, and so does the end that was cut off. Must never know where files lie.

use super::{convert, entry};
use crate::{
    app::ports::{
        Shelf,
        backup::{Archive, Header, HeldKey, HeldMemo, Part, Scribe, Totals},
    },
    domain::{
        account::Account,
        entry::{EntryId, EntryKind},
        id::{AccountId, AccountRef, EntryName, RealmName},
        key::{KeyRecord, KeyUses, RecordMac, SecretMark, SecretRing},
        time::Timestamp,
    },
    proto::store_v1::{self as stored, backup_part::Of},
};
use prost::Message;
use std::{
    io::{self, Read},
    sync::Arc,
};

/// How the first line begins and, behind the number of the format, ends.
const LINE: (&[u8], &[u8]) = (b"keygate backup ", b"\n");
/// The only format so far.
const FORMAT: u32 = 1;
/// Bytes of the first line at most.
const LINE_BYTES: usize = 32;
/// Bytes of a part at most: far more than the largest record takes.
const PART_BYTES: usize = 16 << 20;

type PartMac = [u8; RecordMac::LENGTH];

/// Writes files that are sealed with one ring, and reads them.
pub struct BackupFormat {
    mac: Arc<RecordMac>,
    marks: Vec<SecretMark>,
}

impl BackupFormat {
    /// The format as that ring seals it.
    #[must_use]
    pub fn new(ring: &SecretRing) -> Self {
        Self { mac: Arc::new(ring.backup_mac()), marks: ring.marks() }
    }
}

impl Archive for BackupFormat {
    fn begin(&self) -> Box<dyn Scribe> {
        Box::new(Writer { mac: Arc::clone(&self.mac), marks: self.marks.clone(), chain: Chain::default() })
    }
}

/// Where the chain of parts has come to.
#[derive(Default)]
struct Chain {
    number: u64,
    last: PartMac,
}

impl Chain {
    fn with_place<R>(&self, then: impl FnOnce(&[&[u8]]) -> R) -> R {
        then(&[b"backup", &FORMAT.to_be_bytes(), &self.number.to_be_bytes(), &self.last])
    }

    fn go_on(&mut self, mac: PartMac) {
        *self = Self { number: self.number.saturating_add(1), last: mac };
    }
}

struct Writer {
    mac: Arc<RecordMac>,
    marks: Vec<SecretMark>,
    chain: Chain,
}

impl Scribe for Writer {
    fn write(&mut self, part: &Part) -> Vec<u8> {
        let body = stored::BackupPart { of: Some(to(part, &self.marks)) }.encode_to_vec();
        let mac = self.chain.with_place(|place| self.mac.seal(place, &body));
        let mut bytes = Vec::with_capacity(body.len().saturating_add(64));
        if self.chain.number == 0 {
            bytes.extend_from_slice(LINE.0);
            bytes.extend_from_slice(FORMAT.to_string().as_bytes());
            bytes.extend_from_slice(LINE.1);
        }
        self.chain.go_on(mac);
        let length = u32::try_from(mac.len().saturating_add(body.len())).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&mac);
        bytes.extend_from_slice(&body);
        bytes
    }
}

/// Why a file is not taken for a backup. Parts are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum BackupFlaw {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It is something else.
    #[error("it is not a backup of keygate")]
    Other,
    /// A newer keygate wrote it.
    #[error(
        "it has format {found}, and this keygate knows formats up to {FORMAT}: use the keygate that wrote it, or a newer one"
    )]
    Newer {
        /// Its format.
        found: u32,
    },
    /// Its digests are made with secrets that are not there.
    #[error(
        "it hangs on {} of the server secret, which this configuration does not have: its keys would not work. Put the server \
         secrets of the server that it was taken of in place", versions(.0)
    )]
    OtherSecret(Vec<u32>),
    /// It ends before its end.
    #[error("it was cut off: part {0} is not whole, or missing")]
    Cut(u64),
    /// A part is not as it was written.
    #[error("part {0} is not what keygate wrote there: it was changed, moved, left out or added")]
    Changed(u64),
    /// A part that keygate wrote is not one that this keygate understands.
    #[error(
        "part {0} holds something that this keygate does not understand: use the keygate that wrote it, or a newer one"
    )]
    Strange(u64),
    /// It does not count what it holds.
    #[error("part {0}, its end, tells of other numbers of accounts and keys than stand before it")]
    Miscounted(u64),
    /// Something stands behind the end.
    #[error("it goes on behind its end, part {0}")]
    Behind(u64),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

fn versions(versions: &[u32]) -> String {
    let list: Vec<String> = versions.iter().map(ToString::to_string).collect();
    format!("{} {}", if list.len() == 1 { "version" } else { "versions" }, list.join(", "))
}

/// Reads a file, part by part.
pub struct BackupReader<R> {
    source: R,
    mac: RecordMac,
    chain: Chain,
    totals: Totals,
    /// The account that was named last.
    account: Option<AccountRef>,
    ended: bool,
}

impl<R: Read> BackupReader<R> {
    /// Looks at the head of a file.
    ///
    /// # Errors
    /// When it is none that can be restored with this ring.
    pub fn open(mut source: R, ring: &SecretRing) -> Result<(Self, Header), BackupFlaw> {
        read_line(&mut source)?;
        let chain = Chain::default();
        let mut reader =
            Self { source, mac: ring.backup_mac(), chain, totals: Totals::default(), account: None, ended: false };
        let (mac, body) = reader.frame()?.ok_or(BackupFlaw::Cut(1))?;
        let header = match stored::BackupPart::decode(&body[..]).ok().and_then(|part| part.of) {
            Some(Of::Header(header)) => header,
            _ => return Err(BackupFlaw::Changed(1)),
        };
        let mark = |secret: &stored::BackupSecret| {
            let fingerprint = secret.fingerprint.as_slice().try_into().ok()?;
            Some(SecretMark { version: secret.version, fingerprint })
        };
        let marks = header.secrets.iter().map(mark).collect::<Option<Vec<_>>>().ok_or(BackupFlaw::Changed(1))?;
        let lacking = ring.lacks_of(&marks);
        if !lacking.is_empty() {
            return Err(BackupFlaw::OtherSecret(lacking));
        }
        reader.check(mac, &body)?;
        let realms = header.realms.iter().map(|realm| RealmName::new(realm).ok()).collect::<Option<_>>();
        let header = Header { at: Timestamp::from_micros(header.at_us), realms: realms.ok_or(BackupFlaw::Strange(1))? };
        Ok((reader, header))
    }

    /// The next part; nothing behind the last.
    ///
    /// # Errors
    /// Names the first part that is not as it was written.
    pub fn next_part(&mut self) -> Result<Option<Part>, BackupFlaw> {
        let number = self.chain.number.saturating_add(1);
        let Some((mac, body)) = self.frame()? else {
            return if self.ended { Ok(None) } else { Err(BackupFlaw::Cut(number)) };
        };
        if self.ended {
            return Err(BackupFlaw::Behind(number.saturating_sub(1)));
        }
        self.check(mac, &body)?;
        let message = stored::BackupPart::decode(&body[..]).ok().and_then(|message| message.of);
        let part = message.and_then(from).ok_or(BackupFlaw::Strange(number))?;
        match &part {
            Part::Header(_) => return Err(BackupFlaw::Strange(number)),
            Part::Account(named) => {
                if self.account.as_ref() != Some(&named.0) {
                    self.totals.accounts = self.totals.accounts.saturating_add(1);
                    self.account = Some(named.0.clone());
                }
            }
            Part::Key(_) => self.totals.keys = self.totals.keys.saturating_add(1),
            Part::Event(_) | Part::Entry(_) => {}
            Part::Memo(_) => self.account = None,
            Part::End(totals) if *totals != self.totals => return Err(BackupFlaw::Miscounted(number)),
            Part::End(_) => self.ended = true,
        }
        Ok(Some(part))
    }

    /// How much was read so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    fn check(&mut self, mac: PartMac, body: &[u8]) -> Result<(), BackupFlaw> {
        if !self.chain.with_place(|place| self.mac.opens(place, body, &mac)) {
            return Err(BackupFlaw::Changed(self.chain.number.saturating_add(1)));
        }
        self.chain.go_on(mac);
        Ok(())
    }

    /// The bytes of the next part; nothing at the end of the file.
    fn frame(&mut self) -> Result<Option<(PartMac, Vec<u8>)>, BackupFlaw> {
        let number = self.chain.number.saturating_add(1);
        let (mut length, mut mac) = ([0; 4], [0; RecordMac::LENGTH]);
        match fill(&mut self.source, &mut length)? {
            0 => return Ok(None),
            4 => {}
            _ if self.ended => return Err(BackupFlaw::Behind(number.saturating_sub(1))),
            _ => return Err(BackupFlaw::Cut(number)),
        }
        if self.ended {
            return Err(BackupFlaw::Behind(number.saturating_sub(1)));
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let length = length.checked_sub(mac.len()).filter(|length| *length <= PART_BYTES);
        let mut body = vec![0; length.ok_or(BackupFlaw::Changed(number))?];
        if fill(&mut self.source, &mut mac)? < mac.len() || fill(&mut self.source, &mut body)? < body.len() {
            return Err(BackupFlaw::Cut(number));
        }
        Ok(Some((mac, body)))
    }
}

/// Reads until the buffer is full or the source ends, and tells how much there was.
fn fill(source: &mut impl Read, mut buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0_usize;
    while !buffer.is_empty() {
        match source.read(buffer) {
            Ok(0) => break,
            Ok(count) => {
                filled = filled.saturating_add(count);
                buffer = buffer.get_mut(count..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn read_line(source: &mut impl Read) -> Result<(), BackupFlaw> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < LINE_BYTES && !line.ends_with(LINE.1) {
        if fill(source, &mut byte)? == 0 {
            break;
        }
        line.extend_from_slice(&byte);
    }
    if line.is_empty() {
        return Err(BackupFlaw::Empty);
    }
    let number = line.strip_prefix(LINE.0).and_then(|rest| rest.strip_suffix(LINE.1));
    let format = number.and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
    match format {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(BackupFlaw::Newer { found }),
        _ => Err(BackupFlaw::Other),
    }
}

fn to(part: &Part, marks: &[SecretMark]) -> Of {
    match part {
        Part::Header(Header { at, realms }) => Of::Header(stored::BackupHeader {
            at_us: at.as_micros(),
            realms: realms.iter().map(ToString::to_string).collect(),
            secrets: marks
                .iter()
                .map(|mark| stored::BackupSecret { version: mark.version, fingerprint: mark.fingerprint.to_vec() })
                .collect(),
        }),
        Part::Account(named) => {
            let (AccountRef { realm, account }, record) = &**named;
            Of::Account(stored::BackupAccount {
                realm: realm.to_string(),
                account: account.to_string(),
                record: Some(convert::account_to(record)),
            })
        }
        Part::Event(event) => {
            Of::Event(stored::BackupEvent { sequence: event.sequence, record: Some(convert::event_to(event)) })
        }
        Part::Key(held) => Of::Key(key_to(held)),
        Part::Entry(held) => {
            let (EntryId { kind, name }, record) = &**held;
            let (kind, name) = (u32::from(kind.code()), name.as_str().to_owned());
            Of::Entry(stored::BackupEntry { kind, name, record: Some(entry::to(record)) })
        }
        Part::Memo(HeldMemo { realm, shelf, name, value }) => Of::Memo(stored::BackupMemo {
            realm: realm.to_string(),
            shelf: u32::from(shelf.code()),
            name: name.clone(),
            value: value.clone(),
        }),
        Part::End(Totals { accounts, keys }) => Of::End(stored::BackupEnd { accounts: *accounts, keys: *keys }),
    }
}

fn key_to(HeldKey { key, uses }: &HeldKey) -> stored::BackupKey {
    let each = key.secrets.iter().zip(&uses.secrets);
    let used = each.filter_map(|(secret, used)| {
        let record = Some(convert::secret_use_to(used.as_ref()?));
        Some(stored::BackupUse { secret: secret.number, record })
    });
    stored::BackupKey {
        id: key.id.as_bytes().to_vec(),
        record: Some(convert::key_to(key)),
        last: uses.last.as_ref().map(convert::use_to),
        uses: used.collect(),
    }
}

/// `None`: a value is not legal.
fn from(of: Of) -> Option<Part> {
    Some(match of {
        // It is read by whoever opens the file.
        Of::Header(_) => return None,
        Of::Account(named) => {
            let owner =
                AccountRef { realm: RealmName::new(&named.realm).ok()?, account: AccountId::new(&named.account).ok()? };
            let account: Account = convert::account_from(named.record?)?;
            Part::Account(Box::new((owner, account)))
        }
        Of::Event(event) => Part::Event(Box::new(convert::event_from(event.sequence, event.record?)?)),
        Of::Key(held) => Part::Key(Box::new(key_from(held)?)),
        Of::Entry(held) => {
            let kind = EntryKind::from_code(u8::try_from(held.kind).ok()?)?;
            let id = EntryId { kind, name: EntryName::new(&held.name).ok()? };
            Part::Entry(Box::new((id, entry::from(kind, held.record?)?)))
        }
        Of::Memo(memo) => Part::Memo(HeldMemo {
            realm: RealmName::new(&memo.realm).ok()?,
            shelf: Shelf::from_code(u8::try_from(memo.shelf).ok()?)?,
            name: memo.name,
            value: memo.value,
        }),
        Of::End(end) => Part::End(Totals { accounts: end.accounts, keys: end.keys }),
    })
}

fn key_from(held: stored::BackupKey) -> Option<HeldKey> {
    let key: KeyRecord = convert::key_from(convert::key_id(&held.id)?, held.record?)?;
    let mut used = std::collections::HashMap::new();
    for one in held.uses {
        used.insert(one.secret, convert::secret_use_from(one.record?)?);
    }
    let last = match held.last {
        Some(last) => Some(convert::use_from(last)?),
        None => None,
    };
    let secrets = key.secrets.iter().map(|secret| used.get(&secret.number).copied()).collect();
    Some(HeldKey { uses: KeyUses { last, secrets }, key })
}
