//! A server under attack, a client that behaves beside it, and what both are like before, during and after.

use crate::support::{
    calls::{Answered, by_key},
    keygate::{DataDir, Keygate},
};
use std::{
    fs,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Memory may grow by so much.
pub const MEMORY: u64 = 64 << 20;
/// After an attack everything is as before within that time.
pub const RECOVERY: Duration = Duration::from_secs(60);
/// Between two questions of the client that behaves.
const PACE: Duration = Duration::from_millis(5);
/// An answer within that time is one as before, on any machine that runs other things too.
const USUAL: Duration = Duration::from_millis(100);

/// A server with one worker, so that attackers and everybody else share it.
pub async fn server_with(settings: &str, arguments: &[&str]) -> Keygate {
    let data = DataDir::new();
    let file = data.path().join("keygate.toml");
    fs::write(&file, format!("threads = 1\nlisten_unix = \"keygate.sock\"\n{settings}\n")).unwrap();
    let started = Keygate::try_start(data, &[&["--config", file.to_str().unwrap()], arguments].concat()).await;
    started.unwrap_or_else(|ended| panic!("keygate ended: {ended:#?}"))
}

/// What was seen of one attack.
pub struct Seen<T> {
    pub before: Figures,
    pub during: Figures,
    pub after: Figures,
    pub recovered: Duration,
    pub outcome: T,
}

#[derive(Debug, Default)]
pub struct Figures {
    micros: Vec<u64>,
    memory: u64,
}

impl Figures {
    fn saw(&mut self, micros: u64, memory: u64) {
        self.micros.push(micros);
        self.memory = self.memory.max(memory);
    }

    /// Whether the last ten answers came as they usually do.
    fn are_usual(&self) -> bool {
        let last = self.micros.len().checked_sub(10).map(|first| &self.micros[first..]);
        last.is_some_and(|last| last.iter().all(|micros| u128::from(*micros) < USUAL.as_micros()))
    }

    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        Duration::from_micros(sorted.get(at).copied().unwrap_or_default())
    }
}

/// Attacks, and lets a client ask all the while that is always to be answered. Memory stays within bounds.
pub async fn attacked<T>(keygate: &Keygate, name: &str, attack: impl Future<Output = T>) -> Seen<T> {
    let seen = beside(keygate, name, attack).await;
    let grown = seen.during.memory.saturating_sub(seen.before.memory);
    assert!(grown <= MEMORY, "{name}: memory grew by {grown} bytes");
    seen
}

/// The same, however much memory it takes.
pub async fn beside<T>(keygate: &Keygate, name: &str, attack: impl Future<Output = T>) -> Seen<T> {
    let (_, key) = keygate.new_key("recurr", "acme", "live").await;
    let (client, process) = (keygate.client(), keygate.process_id());
    let (figures, over) = (Arc::new(Mutex::new(Figures::default())), Arc::new(AtomicBool::new(false)));
    let asking = tokio::spawn({
        let (figures, over) = (Arc::clone(&figures), Arc::clone(&over));
        async move {
            let mut client = client;
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                let answer = client.authenticate(by_key("recurr", &key)).await;
                answer
                    .unwrap_or_else(|refused| panic!("whoever behaves is refused: {refused:?}"))
                    .into_inner()
                    .allowed();
                let (micros, memory) = (u64::try_from(began.elapsed().as_micros()).unwrap(), resident(process));
                figures.lock().unwrap().saw(micros, memory);
                sleep(PACE).await;
            }
        }
    });
    let take = || std::mem::take(&mut *figures.lock().unwrap());
    sleep(Duration::from_millis(400)).await;
    let before = take();
    let outcome = attack.await;
    let (during, ended) = (take(), Instant::now());
    let recovered = loop {
        sleep(Duration::from_millis(100)).await;
        if figures.lock().unwrap().are_usual() {
            break ended.elapsed();
        }
        assert!(ended.elapsed() < RECOVERY, "{name}: not as before {RECOVERY:?} after the attack");
    };
    over.store(true, Ordering::Relaxed);
    asking.await.unwrap_or_else(|error| panic!("{name}: {error}"));
    let seen = Seen { before, during, after: take(), recovered, outcome };
    let (grown, ms) =
        (seen.during.memory.saturating_sub(seen.before.memory), |f: &Figures, q| f.quantile(q).as_micros());
    println!(
        "{name}: {} answers meanwhile, p50/p99 µs {}/{} before, {}/{} during, {}/{} after, memory {:.1} MiB and {:.1} more, \
         recovered after {:?}",
        seen.during.micros.len(),
        ms(&seen.before, 0.5),
        ms(&seen.before, 0.99),
        ms(&seen.during, 0.5),
        ms(&seen.during, 0.99),
        ms(&seen.after, 0.5),
        ms(&seen.after, 0.99),
        seen.before.memory as f64 / 1_048_576.0,
        grown as f64 / 1_048_576.0,
        seen.recovered,
    );
    assert!(!seen.during.micros.is_empty(), "{name}: whoever behaves is not answered");
    seen
}

/// Resident memory of a process, in bytes.
pub fn resident(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel's format");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
}
