//! Cores, processor time and memory, read from `/proc`.

use std::{
    fs,
    path::Path,
    process::{self, Command, Stdio},
    thread,
    time::Instant,
};

/// Who runs where. A share of one core means something only when nobody else runs on it.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    pinned: bool,
    /// For Redis; the loader's when there are only two.
    redis: usize,
}

impl Cores {
    const SERVER: usize = 0;
    const LOADER: usize = 1;

    /// Takes the loader's core for this process, and says who runs where.
    pub fn share() -> Self {
        let count = thread::available_parallelism().map_or(1, usize::from);
        let cores = Self { pinned: count > 1 && Self::move_here(), redis: if count > 2 { 2 } else { Self::LOADER } };
        match cores.pinned {
            true => println!(
                "{count} cores: the server runs on core {}, the loader on core {}, Redis on core {}",
                Self::SERVER,
                Self::LOADER,
                cores.redis
            ),
            false => println!("{count} cores, nobody pinned (`taskset` is missing or refused): figures will scatter"),
        }
        cores
    }

    fn move_here() -> bool {
        let mut command = Command::new("taskset");
        command.args(["-a", "-p", "-c", &Self::LOADER.to_string(), &process::id().to_string()]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// A command for the server's core.
    pub fn server(self, program: impl AsRef<Path>) -> Command {
        if !self.pinned {
            return Command::new(program.as_ref());
        }
        let mut command = Command::new("taskset");
        command.args(["-c", &Self::SERVER.to_string()]).arg(program.as_ref());
        command
    }

    /// Moves a running Redis to its core.
    pub fn place_redis(self, id: u32) {
        if self.pinned {
            let mut command = Command::new("taskset");
            command.args(["-a", "-p", "-c", &self.redis.to_string(), &id.to_string()]);
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

/// Processor time of a process and of the server's core, between two looks.
pub struct Usage {
    process: u32,
    since: Instant,
    used: f64,
    core: (u64, u64),
}

/// Shares of the time between two looks, 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Busy {
    /// What the process used of one core.
    pub process: f64,
    /// What anyone used of the server's core.
    pub core: f64,
}

impl Usage {
    pub fn begin(process: u32) -> Self {
        Self { process, since: Instant::now(), used: processor_seconds(process), core: core_ticks() }
    }

    pub fn end(&self) -> Busy {
        let wall = self.since.elapsed().as_secs_f64();
        let (idle, all) = core_ticks();
        let idle = (idle - self.core.0) as f64 / (all - self.core.1).max(1) as f64;
        Busy { process: (processor_seconds(self.process) - self.used) / wall, core: 1.0 - idle }
    }
}

/// Stops a process, so that what it does in the background is not paid for by whoever else is measured on its core.
pub fn pause(process: u32) {
    signal(process, "STOP");
}

/// Lets it go on.
pub fn resume(process: u32) {
    signal(process, "CONT");
}

/// Sends a signal.
pub fn signal(process: u32, name: &str) {
    // The shell's own `kill`: the program of that name is not installed everywhere.
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status();
    assert!(status.expect("`sh` can be started").success(), "SIG{name} could not be sent");
}

/// What the threads of a process used that live.
fn processor_seconds(process: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
    let nanos = threads.map(|thread| {
        // One may have ended since.
        let text = thread.and_then(|thread| fs::read_to_string(thread.path().join("schedstat"))).unwrap_or_default();
        text.split_whitespace().next().map_or(0.0, |nanos| nanos.parse::<f64>().expect("a number"))
    });
    nanos.sum::<f64>() / 1e9
}

/// Idle and all ticks of the server's core.
fn core_ticks() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").expect("the kernel tells");
    let name = format!("cpu{} ", Cores::SERVER);
    let line = text.lines().find_map(|line| line.strip_prefix(&name)).expect("the core is there");
    let ticks: Vec<u64> = line.split_whitespace().map(|field| field.parse().expect("a number")).collect();
    // user nice system idle iowait irq softirq steal; what follows is counted in the first two already.
    (ticks[3] + ticks[4], ticks.iter().take(8).sum())
}

/// Memory of a process that is in use, in bytes.
pub fn resident_bytes(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel's format");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
}

/// Bytes that the files of a directory take.
pub fn bytes_on_disk(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("the directory can be read");
    let sizes = entries.map(|entry| {
        let entry = entry.expect("the directory can be read");
        let kind = entry.metadata().expect("the file is there");
        if kind.is_dir() { bytes_on_disk(&entry.path()) } else { kind.len() }
    });
    sizes.sum()
}
