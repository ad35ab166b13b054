//! `keygate audit export`: the log as a file that shows tampering.

use super::{client::Reader, record};
use crate::{
    cli::{
        client::Management,
        exit::{Exit, help},
        failure::Failure,
        output,
        output::Output,
    },
    proto::v1::{AuditCheckpoint, ListEventsRequest, checkpoint_response::Statement},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The largest page that the API gives.
const LARGEST_PAGE: i32 = 1_000;
/// Bytes that are written together.
const CHUNK: usize = 64 * 1024;

/// Write the audit log to a file that can be verified offline
///
/// One JSON object a line: the events of one account after the other, each account closed by its signed checkpoint, and a
/// signed seal at the end. `keygate audit verify` judges it. The file must not exist yet; only its owner may read it. An
/// export that broke off has no seal, and is not taken for a whole one.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate audit export --realm recurr audit-2030-01.jsonl
  keygate audit export --realm recurr --account acme - | gzip > acme.jsonl.gz"
))]
pub struct Args {
    #[command(flatten)]
    management: Management,
    /// Only this account; without: all of the realm
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    account: String,
    /// The file to make; `-` is standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let mut reader = Reader::open(self.management).await?;
        // What is refused leaves no file behind.
        let mut statements = reader.checkpoints(self.account).await?;
        let mut sink = Sink::open(&self.file, output)?;
        let (mut accounts, mut events) = (0_u64, 0_u64);
        loop {
            let next = reader.next(&mut statements).await?;
            match next.map(|next| next.statement.ok_or_else(Failure::odd_answer)).transpose()? {
                Some(Statement::Checkpoint(checkpoint)) => {
                    export(&mut reader, &checkpoint, &mut sink).await?;
                    sink.line(&record::checkpoint_line(&checkpoint))?;
                    accounts = accounts.saturating_add(1);
                    events = events.saturating_add(checkpoint.length);
                }
                Some(Statement::Seal(seal)) => {
                    sink.line(&record::seal_line(&seal))?;
                    break;
                }
                None => return Err(Failure::odd_answer().after("the export has no seal")),
            }
            if sink.closed() {
                return Ok(Exit::Success);
            }
        }
        sink.finish()?;
        if self.file != Path::new("-") && !output.is_json() {
            output::note(&format!("{}, {}", output::count(accounts, "account"), output::count(events, "event")));
        }
        Ok(Exit::Success)
    }
}

/// Writes the events that a checkpoint states. Those that came since belong to the next export.
async fn export(reader: &mut Reader, checkpoint: &AuditCheckpoint, sink: &mut Sink<'_>) -> Result<(), Failure> {
    let mut list = ListEventsRequest {
        account_id: checkpoint.account_id.clone(),
        page_size: LARGEST_PAGE,
        ..ListEventsRequest::default()
    };
    let mut last = 0;
    while last < checkpoint.length {
        let page = reader.list(list.clone()).await?;
        for event in page.events.iter().filter(|event| event.sequence <= checkpoint.length) {
            sink.line(&record::event_line(event))?;
            last = event.sequence;
        }
        if page.next_page_token.is_empty() || page.next_page_token == list.page_token || sink.closed() {
            break;
        }
        list.page_token = page.next_page_token;
    }
    Ok(())
}

/// Where the lines go.
struct Sink<'o> {
    file: Option<File>,
    output: &'o mut Output,
    waiting: Vec<u8>,
    shown: String,
}

impl<'o> Sink<'o> {
    fn open(path: &Path, output: &'o mut Output) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let file = match path == Path::new("-") {
            true => None,
            false => {
                let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
                Some(made.map_err(|error| Failure::io(&format!("cannot make `{shown}`"), &error))?)
            }
        };
        Ok(Self { file, output, waiting: Vec::with_capacity(CHUNK), shown })
    }

    fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.waiting.extend_from_slice(line.as_bytes());
        self.waiting.push(b'\n');
        if self.waiting.len() < CHUNK { Ok(()) } else { self.pass_on() }
    }

    fn pass_on(&mut self) -> Result<(), Failure> {
        match &mut self.file {
            None => self.output.bytes(&self.waiting)?,
            Some(file) => file.write_all(&self.waiting).map_err(|error| failed(&self.shown, &error))?,
        }
        self.waiting.clear();
        Ok(())
    }

    fn closed(&self) -> bool {
        self.file.is_none() && self.output.closed()
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.pass_on()?;
        match &self.file {
            None => Ok(()),
            Some(file) => file.sync_all().map_err(|error| failed(&self.shown, &error)),
        }
    }
}

fn failed(shown: &str, error: &io::Error) -> Failure {
    Failure::io(&format!("cannot write `{shown}`"), error)
}
