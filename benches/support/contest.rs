//! Rounds of several servers in turn, each asked what it is there for.

use super::{
    bare::{self, Bare, Runtime},
    keygate::Keygate,
    loader::{Crowd, Method, Requests, Round, Target, Until, drive},
    machine::{Cores, pause, resume},
    report::{self, Summary},
    setting,
};
use std::{rc::Rc, time::Duration};

/// How keys are spread.
pub const KEYS_PER_ACCOUNT: usize = 10;

/// What the environment wants.
pub struct Plan {
    pub cores: Cores,
    /// Keys, or other things to be told apart.
    pub count: usize,
    pub rounds: usize,
    pub span: Duration,
}

impl Plan {
    pub fn read(cores: Cores) -> Self {
        Self {
            cores,
            count: setting("KEYGATE_BENCH_KEYS", 100_000),
            rounds: setting("KEYGATE_BENCH_ROUNDS", 5),
            span: Duration::from_secs(setting("KEYGATE_BENCH_SECONDS", 2) as u64),
        }
    }

    /// Starts keygate, imports the keys and starts it again.
    pub fn keygate(&self, keys: &[String], redis: Option<String>) -> Keygate {
        let mut server = Keygate::start(self.cores, redis);
        self.fill(&mut server, keys);
        server
    }

    /// Imports the keys and starts the server again.
    pub fn fill(&self, server: &mut Keygate, keys: &[String]) {
        let count = keys.len();
        println!("\nimporting {count} keys for {} accounts …", count.div_ceil(KEYS_PER_ACCOUNT));
        server.manager().import(keys, 0, KEYS_PER_ACCOUNT);
        server.restart();
    }
}

/// A server and what to ask it.
pub struct Contestant {
    pub name: &'static str,
    pub target: Target,
    pub requests: Rc<Requests>,
}

/// The bare servers.
pub struct References {
    method: Method,
    current_thread: Bare,
    writes_together: Bare,
    multi_thread: Bare,
    requests: Rc<Requests>,
}

impl References {
    /// They answer with `answer` to requests as long as `request`.
    pub fn start(plan: &Plan, method: Method, request: &[u8], answer: &[u8]) -> Self {
        let (request, length) = (request.len(), answer.len());
        println!("  a request takes {request} bytes, an answer {length}; the bare servers' take as many");
        Self {
            method,
            current_thread: Bare::start(plan.cores, Runtime::CurrentThread, answer),
            writes_together: Bare::start(plan.cores, Runtime::WritesTogether, answer),
            multi_thread: Bare::start(plan.cores, Runtime::MultiThread, answer),
            requests: Requests::new((0..plan.count).map(|_| bare::request(request))),
        }
    }

    /// On the runtime that keygate uses.
    pub fn current_thread(&self) -> Contestant {
        self.contestant("bare tonic, current_thread runtime", &self.current_thread)
    }

    /// The same, and it writes answers together as keygate does.
    pub fn writes_together(&self) -> Contestant {
        self.contestant("bare tonic, the same, answers written together", &self.writes_together)
    }

    /// On tokio's default runtime.
    pub fn multi_thread(&self) -> Contestant {
        self.contestant("bare tonic, multi_thread runtime, 1 worker", &self.multi_thread)
    }

    fn contestant(&self, name: &'static str, server: &Bare) -> Contestant {
        let target = Target { address: server.address(), method: self.method, process: server.id(), tls: None };
        Contestant { name, target, requests: Rc::clone(&self.requests) }
    }
}

/// Rounds in turn, after one that does not count; prints and gives the medians.
pub fn compete(plan: &Plan, contestants: &[Contestant], crowd: Crowd, what: &str) -> Vec<Summary> {
    summed_up(plan, contestants, crowd, what, &rounds(plan, contestants, crowd))
}

/// The rounds of each contestant.
pub fn rounds(plan: &Plan, contestants: &[Contestant], crowd: Crowd) -> Vec<Vec<Round>> {
    let mut rounds: Vec<Vec<Round>> = contestants.iter().map(|_| Vec::new()).collect();
    contestants.iter().for_each(|contestant| pause(contestant.target.process));
    for round in 0..=plan.rounds {
        for (contestant, rounds) in contestants.iter().zip(&mut rounds) {
            let span = if round == 0 { plan.span / 4 } else { plan.span };
            resume(contestant.target.process);
            let measured = drive(contestant.target, crowd, &contestant.requests, Until::Elapsed(span));
            pause(contestant.target.process);
            if round > 0 {
                rounds.push(measured);
            }
        }
    }
    contestants.iter().for_each(|contestant| resume(contestant.target.process));
    rounds
}

/// Prints and gives the medians.
pub fn summed_up(
    plan: &Plan,
    contestants: &[Contestant],
    crowd: Crowd,
    what: &str,
    rounds: &[Vec<Round>],
) -> Vec<Summary> {
    let Crowd { connections, streams } = crowd;
    let (count, seconds) = (plan.rounds, plan.span.as_secs_f32());
    report::heading(&format!("{what}: {connections} × {streams} streams, medians of {count} rounds of {seconds} s"));
    let summaries: Vec<Summary> = rounds.iter().map(|rounds| Summary::of(rounds)).collect();
    for (contestant, summary) in contestants.iter().zip(&summaries) {
        report::line(contestant.name, summary, summaries[0].per_second);
    }
    summaries
}
