//! What operators' tools cost a call: the same server with metrics, with TLS, and with traces of no call, of a hundredth and of
//! every one, in turn with one that has none of them. It stands there twice, so that it can be seen how much two servers
//! that are the same differ here.
//!
//! Rounds are short and many, and each server's is compared with the first one's right before it: what others take of the
//! machine comes and goes.
//!
//! The environment may set KEYGATE_BENCH_KEYS, KEYGATE_BENCH_ROUNDS and KEYGATE_BENCH_BINARY (another build to measure).

#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a bench that cannot measure fails loudly")]
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a bench that cannot measure fails loudly"
)]
#![allow(dead_code, reason = "every bench uses its part of the shared modules")]

mod support;

use rustls::{ClientConfig, RootCertStore};
use std::{path::Path, rc::Rc, sync::Arc, time::Duration};
use support::{
    certificates::{Authority, Files},
    contest::{Contestant, Plan, rounds, summed_up},
    keygate::{Keygate, free_address},
    keys,
    loader::{Crowd, Method, Requests, Round, Until, drive},
    machine::Cores,
    median::median,
    report, setting,
    sink::Sink,
};

/// The aim: metrics at no more than this of the processor time without.
const METRICS_MOST: f64 = 1.03;
const METRICS: &str = "metrics";
const ROUND: Duration = Duration::from_millis(250);

fn main() {
    let plan = Plan { rounds: setting("KEYGATE_BENCH_ROUNDS", 40), span: ROUND, ..Plan::read(Cores::share()) };
    let keys = keys::make(plan.count);
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let authority = Authority::new(folder.path(), "authority");
    let certificate = authority.sign(folder.path(), "server", &["localhost"]);
    let sink = Sink::start();

    let traces = |sample: &str| format!("[traces]\nendpoint = \"{}\"\nsample = {sample}\n", sink.url());
    let operations = "[operations]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    let told = |settings: String| Keygate::with(plan.cores, None, &settings);
    let servers: Vec<(&str, Keygate)> = vec![
        ("nothing more", told(String::new())),
        ("nothing more, once more", told(String::new())),
        (METRICS, told(operations)),
        ("TLS", by_tls(&plan, &authority, &certificate)),
        ("traces of 0 %", told(traces("0"))),
        ("traces of 1 %", told(traces("0.01"))),
        ("traces of 100 %", told(traces("1.0"))),
    ];
    let requests = Requests::new(keys.iter().enumerate().map(|(number, key)| keys::request(key, number)));
    let (servers, contestants): (Vec<Keygate>, Vec<Contestant>) = servers
        .into_iter()
        .map(|(name, mut server)| {
            plan.fill(&mut server, &keys);
            let target = server.target(Method::AUTHENTICATE);
            // Every key once, so that the rounds find all of them remembered.
            drive(target, Crowd::MANY, &requests, Until::Sent(keys.len()));
            (server, Contestant { name, target, requests: Rc::clone(&requests) })
        })
        .unzip();
    let what = "Authenticate, embedded store";
    let many = rounds(&plan, &contestants, Crowd::MANY);
    summed_up(&plan, &contestants, Crowd::MANY, what, &many);
    println!("  the receiver of traces took {}\n", report::mib(sink.bytes() as f64));
    for (contestant, own) in contestants.iter().zip(&many).skip(1) {
        let name = contestant.name;
        let throughput = paired(own, &many[0], Round::per_second);
        // What others take of the core falls on both, but not evenly: processor time scatters less.
        let processor = paired(own, &many[0], Round::us_each);
        println!("{name}: {throughput:.3} of the throughput without, {processor:.3} of its processor time");
        if name == METRICS {
            let met = if processor <= METRICS_MOST { "met" } else { "not met" };
            println!("  the aim of {METRICS_MOST:.2} of its processor time at most is {met}");
        }
    }
    drop(servers);
}

/// The median of what a server's rounds are to another's beside them.
fn paired(own: &[Round], others: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    median(own.iter().zip(others).map(|(own, other)| figure(own) / figure(other)))
}

/// A server whose calls come by TLS. It is managed on a listener of its own, without.
fn by_tls(plan: &Plan, authority: &Authority, files: &Files) -> Keygate {
    let management = free_address();
    let path = |path: &Path| path.display().to_string();
    let (certificate, key) = (path(&files.certificate), path(&files.key));
    let settings = format!(
        "[management]\nlisten = \"{management}\"\n[tls]\ncertificate_file = \"{certificate}\"\nkey_file = \"{key}\"\n"
    );
    Keygate::apart(plan.cores, &settings, management, trusting(authority))
}

fn trusting(authority: &Authority) -> &'static Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate()).expect("it is one");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.expect("the provider knows them").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Box::leak(Box::new(Arc::new(config)))
}
