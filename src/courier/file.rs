//! The audit log as a file that somebody else reads: one JSON object a line. It is opened anew for every line, so that it may be
//! moved away at any time.

use crate::app::ports::Undelivered;
use serde_json::{Value, json};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{sync::Mutex, task::spawn_blocking};

/// The file. One line is written at a time.
pub(super) struct Log {
    path: Arc<PathBuf>,
    turn: Mutex<()>,
}

impl Log {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        open(path)?;
        Ok(Self { path: Arc::new(path.to_owned()), turn: Mutex::new(()) })
    }

    /// Writes a line and waits until it is on the disk.
    pub(super) async fn append(&self, id: &str, body: &str) -> Result<(), Undelivered> {
        let mut line = match serde_json::from_str(body) {
            Ok(Value::Object(mut fields)) => {
                fields.insert("id".to_owned(), id.into());
                Value::Object(fields)
            }
            _ => json!({ "id": id }),
        }
        .to_string();
        line.push('\n');
        let path = Arc::clone(&self.path);
        let _turn = self.turn.lock().await;
        let written = spawn_blocking(move || {
            let mut file = open(&path)?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        });
        let failed = |problem: String| Undelivered { problem, for_good: false };
        let written = written.await.map_err(|_| failed("the writing was not done to its end".to_owned()))?;
        written.map_err(|error| failed(format!("`{}` cannot be written: {error}", self.path.display())))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}
