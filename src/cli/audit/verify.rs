//! `keygate audit verify`: judges exports, offline.

use super::record;
use crate::{
    cli::{
        exit::{Exit, help},
        failure::Failure,
        output,
        output::Output,
        values,
    },
    domain::audit::{Broken, Fault, Known, Ledger, PublicKey, Summary},
    proto::google,
};
use data_encoding::HEXLOWER_PERMISSIVE;
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// Bytes of a line, at most: longer than any that keygate writes.
const LINE_BYTES: u64 = 65_536;

/// Judge exports of the audit log without a server
///
/// Follows every chain and checks every signature, and says which record is the first that is not what keygate wrote:
/// file, line, account, event, and what is wrong. Of several files the oldest goes first: each must agree with what those
/// before it state, so that a log that was cut or made anew in between shows. Exit code 0: all is what keygate wrote; 3: it is
/// not; 1: a file cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate audit verify --public-key 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c audit.jsonl
  gunzip < acme.jsonl.gz | keygate audit verify --public-key \"$AUDIT_KEY\" -"
))]
pub struct Args {
    /// Files that `audit export` made, the oldest first; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// A key that may have signed them, as `audit public-keys` shows it; may be repeated
    #[arg(long = "public-key", value_name = "HEX", required = true, value_parser = public_key)]
    public_keys: Vec<PublicKey>,
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    let key = bytes.map(PublicKey::from_bytes).filter(PublicKey::is_sound);
    key.ok_or_else(|| "allowed are the 64 hexadecimal digits that `keygate audit public-keys` shows".to_owned())
}

/// Why a file was not found whole.
enum Trouble {
    Broken(Broken),
    Failed(Failure),
}

impl Args {
    pub(super) fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let mut known = Known::default();
        let mut whole: Vec<(String, Value, Vec<String>)> = Vec::new();
        for path in &self.files {
            let shown = path.display().to_string();
            let source = open(path)?;
            match judge(source, Ledger::new(&self.public_keys, &known, self.files.len() > 1), &shown) {
                Ok(summary) => {
                    whole.push((shown.clone(), as_json(&shown, &summary), as_row(&shown, &summary)));
                    known.learn(summary);
                }
                Err(Trouble::Failed(failure)) => return Err(failure),
                Err(Trouble::Broken(broken)) => {
                    if broken.fault == Fault::Older {
                        return Err(Failure::usage(format!("`{shown}` is {}", broken.fault)));
                    }
                    told(output, whole, Some((&shown, &broken)))?;
                    return Ok(Exit::Denied);
                }
            }
        }
        told(output, whole, None)?;
        Ok(Exit::Success)
    }
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).map_err(|error| Failure::io(&format!("cannot open `{}`", path.display()), &error))?;
    Ok(Box::new(BufReader::new(file)))
}

/// Reads a file line by line, and holds no more of it than that.
fn judge(mut source: impl BufRead, mut ledger: Ledger<'_>, shown: &str) -> Result<Summary, Trouble> {
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        let read = source.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line);
        let read = read.map_err(|error| Trouble::Failed(Failure::io(&format!("cannot read `{shown}`"), &error)))?;
        if read == 0 {
            return ledger.finish(number).map_err(Trouble::Broken);
        }
        number = number.saturating_add(1);
        let text = std::str::from_utf8(line.strip_suffix(b"\n").unwrap_or(&line));
        let entry = text.map_err(|_| "it is no UTF-8".to_owned()).and_then(record::parse);
        let entry = entry.map_err(|what| Trouble::Broken(Broken::at(number, None, Fault::Malformed(what))))?;
        ledger.take(number, entry).map_err(Trouble::Broken)?;
    }
}

fn told(
    output: &mut Output,
    whole: Vec<(String, Value, Vec<String>)>,
    broken: Option<(&str, &Broken)>,
) -> Result<(), Failure> {
    if output.is_json() {
        let files: Value = whole.into_iter().map(|(_, json, _)| json).collect();
        let first = broken.map(|(file, broken)| {
            json!({
                "file": file,
                "line": broken.line,
                "realm": broken.owner.as_ref().map(|owner| owner.realm.as_str()),
                "account_id": broken.owner.as_ref().map(|owner| owner.account.as_str()),
                "sequence": broken.sequence,
                "fault": broken.fault.name(),
                "problem": broken.fault.to_string(),
            })
        });
        return output.json(&json!({ "verified": broken.is_none(), "files": files, "broken": first }));
    }
    if !whole.is_empty() {
        let header = ["VERIFIED", "REALM", "ACCOUNT", "ACCOUNTS", "EVENTS", "SEALED"];
        output.table(&header, whole.into_iter().map(|(_, _, row)| row))?;
    }
    if let Some((file, broken)) = broken {
        let account = broken.owner.as_ref().map(|owner| format!("account `{}`, ", owner.account)).unwrap_or_default();
        let event = broken.sequence.map(|number| format!("event {number}: ")).unwrap_or_default();
        let (file, line, fault) = (output::shown(file), broken.line, output::shown(&broken.fault.to_string()));
        output.line(&format!("broken: {file}:{line}: {account}{event}{fault}"))?;
    }
    Ok(())
}

fn as_json(file: &str, summary: &Summary) -> Value {
    let seal = &summary.seal;
    json!({
        "file": file,
        "realm": seal.realm.as_str(),
        "account_id": seal.account.as_ref().map_or("", |account| account.as_str()),
        "accounts": seal.accounts,
        "events": summary.events,
        "sealed_at": sealed_at(summary),
    })
}

fn as_row(file: &str, summary: &Summary) -> Vec<String> {
    let seal = &summary.seal;
    vec![
        file.to_owned(),
        seal.realm.to_string(),
        seal.account.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        seal.accounts.to_string(),
        summary.events.to_string(),
        sealed_at(summary),
    ]
}

fn sealed_at(summary: &Summary) -> String {
    let micros = summary.seal.at.as_micros();
    let seconds = i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(micros % 1_000_000).unwrap_or_default().saturating_mul(1_000);
    values::instant_micros(&google::Timestamp { seconds, nanos })
}
