//! `keygate backup`: everything that a store holds, but never a plaintext, as one file.

use super::{
    client::{self, Connection},
    exit::{Exit, help},
    failure::Failure,
    output::{self, Output},
    secrets, values,
};
use crate::proto::v1::{TakeBackupRequest, TakeBackupResponse, backup_client::BackupClient};
use serde_json::json;
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use tonic::{Request, Streaming};

/// Write everything that a server's store holds to one file
///
/// Accounts, keys, members, sealed credentials, audit log and last uses of all realms, each account as of one instant, while the
/// server goes on serving. What it never holds is a key in plain text, nor the server secrets, without which it is of no use to
/// anybody: keep a copy of them in another place. Every part is sealed, so that `keygate restore` notices whatever was changed. The
/// file must not exist yet; only its owner may read it, and it is there only once it is whole. Needs the role `operator`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate backup keygate-2030-01-31.backup
  keygate backup - | zstd > keygate.backup.zst"
))]
pub struct Args {
    #[command(flatten)]
    connection: Connection,
    /// File with the management key; without it `KEYGATE_KEY` holds the key, or ./keygate-data/operator.key does
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    key_file: Option<PathBuf>,
    /// The file to make; `-` is standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let credential = client::credential(&secrets::management_key(self.key_file.as_deref())?, "Bearer ")?;
        let to_output = self.file == Path::new("-");
        if !to_output && self.file.exists() {
            let there = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(Failure::io(&format!("cannot make `{}`", self.file.display()), &there));
        }
        let channel = self.connection.channel().await?;
        let mut server = BackupClient::new(channel).max_decoding_message_size(client::MAX_ANSWER_BYTES);
        let mut request = Request::new(TakeBackupRequest {});
        request.metadata_mut().insert("authorization", credential);
        let taken = server.take(request);
        let mut stream = client::answered(&self.connection.endpoint, self.connection.timeout, taken).await?;
        let mut sink = Sink::open(&self.file, output)?;
        let done = self.receive(&mut stream, &mut sink).await;
        if output::is_watched() {
            output::progress("");
        }
        let last = match done {
            Ok(last) => last,
            Err(failure) => {
                sink.give_up();
                return Err(failure);
            }
        };
        sink.finish(&self.file)?;
        if to_output {
            return Ok(Exit::Success);
        }
        let TakeBackupResponse { accounts, keys, .. } = last;
        if output.is_json() {
            output.json(&json!({ "file": self.file.display().to_string(), "accounts": accounts, "keys": keys }))?;
        } else {
            output::note(&format!("{}, {}", output::count(accounts, "account"), output::count(keys, "key")));
        }
        Ok(Exit::Success)
    }

    /// Writes what comes, up to the last message.
    async fn receive(
        &self,
        stream: &mut Streaming<TakeBackupResponse>,
        sink: &mut Sink<'_>,
    ) -> Result<TakeBackupResponse, Failure> {
        let timeout = self.connection.timeout;
        loop {
            let next = match tokio::time::timeout(timeout, stream.message()).await {
                Ok(next) => next.map_err(|status| Failure::from_status(&status))?,
                Err(_) => {
                    let waited = values::span_for_people(&values::to_proto(timeout));
                    return Err(Failure::late(&self.connection.endpoint, &waited));
                }
            };
            let Some(next) = next else {
                return Err(Failure::odd_answer().after("the backup has no end"));
            };
            sink.write(&next.data)?;
            if next.complete {
                return Ok(next);
            }
            if output::is_watched() {
                let (accounts, keys) = (output::count(next.accounts, "account"), output::count(next.keys, "key"));
                output::progress(&format!("{accounts}, {keys}"));
            }
        }
    }
}

/// Where the bytes go: a draft beside the file, or standard output.
struct Sink<'o> {
    draft: Option<(File, PathBuf)>,
    output: &'o mut Output,
}

impl<'o> Sink<'o> {
    fn open(path: &Path, output: &'o mut Output) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self { draft: None, output });
        }
        let mut name = OsString::from(path.as_os_str());
        name.push(".draft");
        let draft = PathBuf::from(name);
        // What is there was left by one that was killed.
        let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft);
        let made = made.map_err(|error| Failure::io(&format!("cannot make `{}`", draft.display()), &error))?;
        Ok(Self { draft: Some((made, draft)), output })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.draft {
            None => self.output.bytes(bytes),
            Some((file, path)) => file.write_all(bytes).map_err(|error| failed(path, &error)),
        }
    }

    fn give_up(self) {
        if let Some((_, path)) = self.draft {
            // What is left of it is of no use; that it cannot be removed changes nothing.
            let _ = fs::remove_file(path);
        }
    }

    /// Gives the draft its name, unless somebody else took it meanwhile.
    fn finish(self, path: &Path) -> Result<(), Failure> {
        let Some((file, draft)) = self.draft else { return Ok(()) };
        let named = file.sync_all().and_then(|()| fs::hard_link(&draft, path));
        let removed = fs::remove_file(&draft);
        named.and(removed).map_err(|error| failed(path, &error))?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| failed(path, &error))
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::io(&format!("cannot write `{}`", path.display()), error)
}
