//! The file of the journal: what this server did to accounts, beside the store, so that a store that goes back in time is noticed.
//! A line for every act; on the disk before an act that takes something away is answered. One thread writes.

use super::{StartError, files};
use crate::{
    app::{
        ports::journal::{Journal, Mark, Noting},
        recovery::compacted,
    },
    domain::{key::SecretRing, time::Timestamp},
    store::record::JournalFormat,
};
use parking_lot::Mutex;
use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};
use tokio::sync::oneshot;

type Line = (Mark, Option<oneshot::Sender<()>>);

/// The journal of this server.
pub(super) struct FileJournal {
    path: PathBuf,
    format: Arc<JournalFormat>,
    queue: Mutex<Sender<Line>>,
    newest: Mutex<Option<Mark>>,
}

/// What was found in the file.
struct Found {
    marks: Vec<Mark>,
    /// Lines that keygate did not write there, or that are missing.
    wrong: u64,
}

impl FileJournal {
    /// Opens the journal, or makes one, and forgets what nobody needs any more: acts before `since`. Nothing, where none can be
    /// written: a server decides all the same.
    pub(super) fn open(path: &Path, ring: &SecretRing, since: Timestamp) -> Result<Option<Self>, StartError> {
        let format = Arc::new(JournalFormat::new(ring));
        let Found { marks, wrong } = read(path, &format).map_err(StartError::file(path, "read"))?;
        if wrong > 0 {
            let file = path.display();
            tracing::error!(%file, wrong, "lines of the journal are missing, or not what keygate wrote: what they told of is not heeded");
        }
        let marks = compacted(marks, since);
        let mut text = String::new();
        let mut number = 0_u64;
        for mark in &marks {
            number = number.saturating_add(1);
            text.push_str(&format.line(number, mark));
        }
        if let Err(error) = files::write(path, &text, true) {
            tracing::error!(
                %error,
                "the journal cannot be written: should the store go back in time, nobody knows what was ended; `[recovery] journal` \
                 names another file, or none"
            );
            return Ok(None);
        }
        let opened =
            OpenOptions::new().append(true).mode(0o600).open(path).map_err(StartError::file(path, "opened"))?;
        let (queue, lines) = channel();
        let (writer, shown) =
            (Writer { file: opened, format: Arc::clone(&format), number }, path.display().to_string());
        let started =
            thread::Builder::new().name("keygate-journal".to_owned()).spawn(move || writer.run(&lines, &shown));
        started.map_err(|cause| StartError::System { what: "the thread of the journal", cause })?;
        let newest = Mutex::new(marks.last().cloned());
        Ok(Some(Self { path: path.to_owned(), format, queue: Mutex::new(queue), newest }))
    }

    /// The marks of a journal that nobody has open.
    pub(super) fn look(path: &Path, ring: &SecretRing) -> Result<Vec<Mark>, StartError> {
        let found = read(path, &JournalFormat::new(ring)).map_err(StartError::file(path, "read"))?;
        Ok(found.marks)
    }
}

impl Journal for FileJournal {
    fn note(&self, mark: Mark) -> Noting<'_> {
        let (sender, written) = oneshot::channel();
        let waits = mark.takes();
        *self.newest.lock() = Some(mark.clone());
        let sent = self.queue.lock().send((mark, waits.then_some(sender)));
        Box::pin(async move {
            if waits && sent.is_ok() {
                // Whatever became of it, the log tells.
                let _ = written.await;
            }
        })
    }

    fn newest(&self) -> Option<Mark> {
        self.newest.lock().clone()
    }

    fn recall(&self) -> Result<Vec<Mark>, String> {
        read(&self.path, &self.format).map(|found| found.marks).map_err(|error| error.to_string())
    }
}

struct Writer {
    file: File,
    format: Arc<JournalFormat>,
    number: u64,
}

impl Writer {
    fn run(mut self, lines: &Receiver<Line>, shown: &str) {
        while let Ok(first) = lines.recv() {
            let group: Vec<Line> = std::iter::once(first).chain(lines.try_iter()).collect();
            let mut text = String::new();
            for (mark, _) in &group {
                self.number = self.number.saturating_add(1);
                text.push_str(&self.format.line(self.number, mark));
            }
            let waits = group.iter().any(|(_, waits)| waits.is_some());
            let written = self.file.write_all(text.as_bytes());
            let written = written.and_then(|()| if waits { self.file.sync_data() } else { Ok(()) });
            if let Err(error) = written {
                tracing::error!(file = shown, %error, "acts could not be written to the journal: should the store go back in time, \
                                                       nobody knows of them");
            }
            for (_, waits) in group {
                // Whoever asked may have gone.
                let _ = waits.map(|sender| sender.send(()));
            }
        }
    }
}

/// The last line may not have been written to its end: it is no line then.
fn read(path: &Path, format: &JournalFormat) -> io::Result<Found> {
    let mut found = Found { marks: Vec::new(), wrong: 0 };
    let mut source = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    let mut next = 1_u64;
    let mut line = String::new();
    while source.read_line(&mut line)? > 0 {
        let Some(text) = line.strip_suffix('\n') else { break };
        match format.read(text) {
            Some((number, mark)) => {
                found.wrong = found.wrong.saturating_add(u64::from(number != next));
                next = number.saturating_add(1);
                found.marks.push(mark);
            }
            None => {
                found.wrong = found.wrong.saturating_add(1);
                next = next.saturating_add(1);
            }
        }
        line.clear();
    }
    Ok(found)
}
