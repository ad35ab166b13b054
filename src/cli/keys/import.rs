//! `keygate keys import`: reads rows as they come and sends them in batches.

use super::import_row::{self, MAX_LINE_BYTES};
use crate::{
    cli::{
        client::{Management, Manager},
        exit::{Exit, help},
        failure::Failure,
        json, names, output,
        output::Output,
    },
    proto::v1::{
        HashAlgorithm, HashEncoding, HashedPart, ImportKeys, ImportOutcome, ImportRow, ImportVerdict, ImportedHash,
        import_row::Secret, manage_keys_request::Operation, manage_keys_response,
    },
};
use serde_json::Value;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// What the API takes in one batch, and below its 512 KiB.
const MAX_ROWS: usize = 1_000;
const MAX_BYTES: usize = 480 * 1024;
/// Where nobody watches, progress is told each time as many batches were sent.
const BATCHES_A_LINE: u64 = 50;

/// Take over keys that were made elsewhere
///
/// Reads one JSON object a line, with the fields `raw_key` or `hash`, `account_id`, `environment`, `name`, `scopes`,
/// `metadata`, `expires_at`, `not_before`, `allowed_networks`, `hint` and `member_id`, and sends them in batches of at most 1,000. Rows succeed or fail one by one:
/// what was refused is listed with its line, and the exit code is then 1. Rows that are present already change nothing,
/// so an import that broke off can be repeated. With `--output json` the result is one object with the `verdicts` of
/// all rows and the sums.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate keys import --realm recurr --dry-run old-keys.jsonl
  export-keys | keygate keys import --realm recover --hash sha256 --encoding hex --part whole -

  A row: {\"hash\": \"9f86d0…\", \"account_id\": \"acme\", \"environment\": \"live\", \"name\": \"ci\", \"hint\": \"pk_live_…x4f2\"}"
))]
pub struct Args {
    #[command(flatten)]
    management: Management,
    /// File with one JSON object a line; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Judge every row and write nothing
    #[arg(long)]
    dry_run: bool,
    /// How the hashes were made. Needed when a row carries `hash`
    #[arg(long, value_name = "ALGORITHM", value_enum)]
    hash: Option<names::Hash>,
    /// How the hashes are written
    #[arg(long, value_name = "ENCODING", value_enum, default_value = "hex")]
    encoding: names::Encoding,
    /// Which part of the key was hashed
    #[arg(long, value_name = "PART", value_enum, default_value = "whole")]
    part: names::Part,
    /// Makes a repeat of the same file harmless; batch number N is sent under `TEXT:N`
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    idempotency_key: String,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let source = open(&self.file)?;
        let hash = self.hash.map(|hash| ImportedHash {
            algorithm: HashAlgorithm::from(hash).into(),
            encoding: HashEncoding::from(self.encoding).into(),
            part: HashedPart::from(self.part).into(),
        });
        let batch = ImportKeys { rows: Vec::new(), hash, dry_run: self.dry_run, idempotency_key: String::new() };
        let mut import = Import {
            manager: self.management.open().await?,
            template: batch,
            idempotency_key: self.idempotency_key,
            batches: 0,
            sums: Sums::default(),
        };
        let result = import.run(Lines::new(source, self.hash.is_some()), output).await;
        if output::is_watched() {
            output::note("");
        }
        result.map_err(|failure| failure.after(&import.sums.words(import.template.dry_run)))?;
        Ok(if import.sums.refused == 0 { Exit::Success } else { Exit::Failure })
    }
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).map_err(|error| Failure::io(&format!("cannot open `{}`", path.display()), &error))?;
    Ok(Box::new(BufReader::new(file)))
}

/// How many rows ended how.
#[derive(Debug, Default)]
struct Sums {
    imported: u64,
    already_present: u64,
    refused: u64,
}

impl Sums {
    fn count(&mut self, verdict: &ImportVerdict) {
        let sum = match ImportOutcome::try_from(verdict.outcome) {
            Ok(ImportOutcome::Imported) => &mut self.imported,
            Ok(ImportOutcome::AlreadyPresent) => &mut self.already_present,
            _ => &mut self.refused,
        };
        *sum = sum.saturating_add(1);
    }

    fn words(&self, dry_run: bool) -> String {
        let Self { imported, already_present, refused } = self;
        let done = if dry_run { "would be imported" } else { "imported" };
        format!("{imported} {done}, {already_present} already present, {refused} refused")
    }
}

struct Import {
    manager: Manager,
    /// A batch without its rows.
    template: ImportKeys,
    idempotency_key: String,
    batches: u64,
    sums: Sums,
}

/// The verdicts on a batch, each with the number of its line.
type Verdicts = Vec<(u64, ImportVerdict)>;

impl Import {
    async fn run(&mut self, mut lines: Lines<impl BufRead>, output: &mut Output) -> Result<(), Failure> {
        // A first batch that fails leaves standard output empty.
        let mut verdicts = self.next(&mut lines).await?;
        let dry_run = self.template.dry_run;
        if !output.is_json() {
            while let Some(batch) = verdicts {
                for (line, verdict) in batch.iter().filter(|(_, verdict)| is_refused(verdict)) {
                    output.line(&format!("line {line}: refused: {}", output::shown(&verdict.problem)))?;
                }
                verdicts = self.next(&mut lines).await?;
            }
            return output.line(&self.sums.words(dry_run));
        }
        let mut list = output.begin_list("verdicts")?;
        while let Some(batch) = verdicts {
            batch.iter().try_for_each(|(line, verdict)| list.item(&json::import_verdict(*line, verdict)))?;
            verdicts = self.next(&mut lines).await?;
        }
        let Sums { imported, already_present, refused } = self.sums;
        list.end(&[
            ("imported", Value::from(imported)),
            ("already_present", Value::from(already_present)),
            ("refused", Value::from(refused)),
            ("dry_run", Value::from(dry_run)),
        ])
    }

    /// Sends the next batch. Nothing when all lines were read.
    async fn next(&mut self, lines: &mut Lines<impl BufRead>) -> Result<Option<Verdicts>, Failure> {
        let (numbers, rows): (Vec<u64>, Vec<_>) = lines.batch()?.into_iter().unzip();
        if rows.is_empty() {
            return Ok(None);
        }
        let mut refusals = Vec::with_capacity(rows.len());
        let mut sent = Vec::with_capacity(rows.len());
        for row in rows {
            match row {
                Ok(row) => {
                    sent.push(row);
                    refusals.push(None);
                }
                Err(problem) => refusals.push(Some(refused(problem))),
            }
        }
        let mut answered = self.send(sent).await?.into_iter();
        let verdicts = refusals.into_iter().map(|refusal| refusal.or_else(|| answered.next()));
        let verdicts: Option<Verdicts> =
            numbers.into_iter().zip(verdicts).map(|(number, verdict)| Some((number, verdict?))).collect();
        let verdicts = verdicts.ok_or_else(Failure::odd_answer)?;
        for (_, verdict) in &verdicts {
            self.sums.count(verdict);
        }
        self.tell_progress();
        Ok(Some(verdicts))
    }

    async fn send(&mut self, rows: Vec<ImportRow>) -> Result<Vec<ImportVerdict>, Failure> {
        self.batches = self.batches.saturating_add(1);
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let idempotency_key = match self.idempotency_key.as_str() {
            "" => String::new(),
            key => format!("{key}:{}", self.batches),
        };
        let batch = ImportKeys { rows, idempotency_key, ..self.template.clone() };
        match self.manager.manage(Operation::Import(batch)).await? {
            manage_keys_response::Result::Imported(report) => Ok(report.verdicts),
            _ => Err(Failure::odd_answer()),
        }
    }

    fn tell_progress(&self) {
        let words = self.sums.words(self.template.dry_run);
        if output::is_watched() {
            output::progress(&words);
        } else if self.batches.is_multiple_of(BATCHES_A_LINE) {
            output::note(&words);
        }
    }
}

/// Whatever is not known to have worked counts as refused.
fn is_refused(verdict: &ImportVerdict) -> bool {
    let outcome = ImportOutcome::try_from(verdict.outcome);
    !matches!(outcome, Ok(ImportOutcome::Imported | ImportOutcome::AlreadyPresent))
}

fn refused(problem: String) -> ImportVerdict {
    ImportVerdict { outcome: ImportOutcome::Refused.into(), key_id: String::new(), problem }
}

/// The lines of a file, read as they are needed.
struct Lines<R> {
    source: R,
    number: u64,
    /// Whether the command says how hashes were made.
    knows_hash: bool,
    /// A row that did not fit into the batch before.
    left_over: Option<Line>,
}

/// The number of a line, counted from 1; and the row that it holds, or why it holds none.
type Line = (u64, Result<ImportRow, String>);

impl<R: BufRead> Lines<R> {
    fn new(source: R, knows_hash: bool) -> Self {
        Self { source, number: 0, knows_hash, left_over: None }
    }

    /// As many lines as the API takes at once. None: all were read.
    fn batch(&mut self) -> Result<Vec<Line>, Failure> {
        let mut batch = Vec::new();
        let mut bytes = 0_usize;
        while batch.len() < MAX_ROWS {
            let Some((number, row)) = self.next()? else { break };
            bytes = bytes.saturating_add(row.as_ref().map_or(0, import_row::wire_bytes));
            if bytes > MAX_BYTES && !batch.is_empty() {
                self.left_over = Some((number, row));
                break;
            }
            batch.push((number, row));
        }
        Ok(batch)
    }

    /// The next line that is not blank.
    fn next(&mut self) -> Result<Option<Line>, Failure> {
        if let Some(line) = self.left_over.take() {
            return Ok(Some(line));
        }
        let failed = |error| Failure::io("cannot read the rows", &error);
        // A row holds a key: what was read is wiped.
        let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE_BYTES.saturating_add(1)));
        loop {
            line.clear();
            let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
            if self.source.by_ref().take(limit).read_until(b'\n', &mut line).map_err(failed)? == 0 {
                return Ok(None);
            }
            self.number = self.number.saturating_add(1);
            if line.len() > MAX_LINE_BYTES && !line.ends_with(b"\n") {
                self.skip_line().map_err(failed)?;
                return Ok(Some((self.number, Err(format!("the line is longer than {MAX_LINE_BYTES} bytes")))));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some((self.number, self.row(&line))));
            }
        }
    }

    fn row(&self, line: &[u8]) -> Result<ImportRow, String> {
        let row = import_row::parse(line)?;
        match row.secret {
            Some(Secret::Hash(_)) if !self.knows_hash => {
                Err("the row carries a hash: `--hash`, `--encoding` and `--part` must say how it was made".to_owned())
            }
            _ => Ok(row),
        }
    }

    /// Reads on to the end of the line without keeping it.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffered = self.source.fill_buf()?;
            let end = buffered.iter().position(|byte| *byte == b'\n');
            let (read, done) =
                (end.map_or(buffered.len(), |at| at.saturating_add(1)), end.is_some() || buffered.is_empty());
            self.source.consume(read);
            if done {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(account: &str) -> String {
        format!("{{\"raw_key\":\"k\",\"account_id\":\"{account}\"}}\n")
    }

    fn batches(text: &str) -> Vec<Vec<Line>> {
        let mut lines = Lines::new(text.as_bytes(), false);
        std::iter::from_fn(|| Some(lines.batch().unwrap()).filter(|batch| !batch.is_empty())).collect()
    }

    #[test]
    fn batches_keep_to_what_the_api_takes_and_lose_no_line() {
        let counted = |text: &str| batches(text).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counted(&row("a").repeat(2_500)), [1_000, 1_000, 500]);
        let large = row(&"x".repeat(50_000)).repeat(25);
        assert_eq!(counted(&large), [9, 9, 7]);
        let numbers: Vec<u64> = batches(&large).concat().iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (1..=25).collect::<Vec<u64>>());
        assert_eq!(counted(""), [] as [usize; 0]);
    }

    #[test]
    fn a_bad_line_is_refused_by_its_number_and_the_next_is_read() {
        let text = format!("{}\n  \nnonsense\n{}\n{}{{\"hash\":\"ab\"}}", row("a"), "y".repeat(200_000), row("b"));
        let lines = batches(&text).concat();
        let seen: Vec<(u64, bool)> = lines.iter().map(|(number, row)| (*number, row.is_ok())).collect();
        assert_eq!(seen, [(1, true), (4, false), (5, false), (6, true), (7, false)]);
        assert!(lines[2].1.as_ref().unwrap_err().contains("65536 bytes"));
        assert!(lines[4].1.as_ref().unwrap_err().contains("--hash"));
    }

    #[test]
    fn a_verdict_from_the_future_counts_as_refused() {
        let mut sums = Sums::default();
        for outcome in [1, 2, 3, 0, 99] {
            sums.count(&ImportVerdict { outcome, ..ImportVerdict::default() });
        }
        assert_eq!(sums.words(false), "1 imported, 1 already present, 3 refused");
    }
}
