//! Backups that a server gives, and servers that begin with one.

use super::{Cores, Keygate, binary, free_address, operator_key};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

impl Keygate {
    /// Begins to write everything that the store holds to a file.
    pub fn back_up(&self) -> (PathBuf, Child) {
        let file = self.dir.path().join("all.backup");
        let mut command = Command::new(binary());
        command.arg("backup").arg(&file).arg("--endpoint").arg(format!("http://{}", self.management));
        command.env("KEYGATE_KEY", operator_key(&self.data()).trim());
        (file, quietly(&mut command).spawn().expect("keygate can be started"))
    }

    /// A server on that Redis, or on the embedded store, with what another one backed up; and how long restoring took.
    pub fn restored(cores: Cores, redis: Option<String>, other: &Self, file: &Path) -> (Self, Duration) {
        let address = free_address();
        let mut server = Self::prepared(cores, redis, "", (address, address, None));
        fs::create_dir(server.data()).expect("the directory can be written");
        for name in ["secrets", "operator.key"] {
            fs::copy(other.data().join(name), server.data().join(name)).expect("the other server has it");
        }
        let mut command = Command::new(binary());
        command.arg("restore").arg("--config").arg(server.dir.path().join("keygate.toml")).arg(file);
        let begun = Instant::now();
        let ended = quietly(&mut command).current_dir(server.dir.path()).status().expect("keygate can be started");
        assert!(ended.success(), "`keygate restore` ended with {ended}");
        let took = begun.elapsed();
        server.launch();
        (server, took)
    }
}

/// Mistakes are shown, and nothing else.
fn quietly(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null())
}
