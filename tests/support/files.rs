//! Files that a server is started with.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::OnceLock,
};
use tempfile::TempDir;

/// Settings by which a server waits for Redis longer than usual: where many tests run at a time, an answer may take more than 50 ms.
pub const PATIENT: &str = "[store.redis]\ndeadline = \"1s\"\n";

/// A file with [`PATIENT`].
pub fn patient() -> &'static Path {
    static WRITTEN: OnceLock<PathBuf> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("patient-{}.toml", process::id()));
        fs::write(&file, PATIENT).expect("a file can be written");
        file
    })
}

/// A file in a folder of its own, gone when this is dropped.
pub struct ConfigFile {
    folder: TempDir,
    name: &'static str,
}

impl ConfigFile {
    pub fn new(name: &'static str, text: &str) -> Self {
        let file = Self { folder: TempDir::new().expect("a folder can be made"), name };
        file.rewrite(text);
        file
    }

    /// A settings file.
    pub fn settings(text: &str) -> Self {
        Self::new("keygate.toml", text)
    }

    pub fn rewrite(&self, text: &str) {
        fs::write(self.file(), text).expect("a file can be written");
    }

    /// For the command line.
    pub fn path(&self) -> String {
        self.file().to_str().expect("a path of text").to_owned()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(self.name)
    }
}
