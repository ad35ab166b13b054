//! Medians and lines for people.

use super::{loader::Round, median::median};

/// The medians of a server's rounds.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    pub per_second: f64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// What the server used of its core.
    pub busy: f64,
    /// What anyone used of the server's core.
    pub core: f64,
    /// Processor time of the server for one request.
    pub us_each: f64,
}

impl Summary {
    /// Below this share of its core a server was not the bottleneck, and its throughput is not its limit.
    pub const BUSY: f64 = 0.95;

    pub fn of(rounds: &[Round]) -> Self {
        let quantile_us =
            |quantile| median(rounds.iter().map(|r| r.latency_ns.value_at_quantile(quantile) as f64 / 1e3));
        Self {
            per_second: median(rounds.iter().map(Round::per_second)),
            mean_us: median(rounds.iter().map(|round| round.latency_ns.mean() / 1e3)),
            p50_us: quantile_us(0.5),
            p99_us: quantile_us(0.99),
            busy: median(rounds.iter().map(|round| round.busy.process)),
            core: median(rounds.iter().map(|round| round.busy.core)),
            us_each: median(rounds.iter().map(Round::us_each)),
        }
    }
}

pub fn heading(text: &str) {
    println!("\n{text}");
    println!(
        "  {:<44} {:>10} {:>7} {:>9} {:>9} {:>9} {:>6}",
        "", "requests/s", "ratio", "p50 µs", "p99 µs", "cpu µs", "busy"
    );
}

/// One server's line; `reference` is what its throughput is compared with.
pub fn line(name: &str, summary: &Summary, reference: f64) {
    println!(
        "  {name:<44} {:>10.0} {:>7.2} {:>9.0} {:>9.0} {:>9.2} {:>5.0}%",
        summary.per_second,
        summary.per_second / reference,
        summary.p50_us,
        summary.p99_us,
        summary.us_each,
        summary.busy * 100.0
    );
    if summary.core - summary.busy > 0.05 {
        println!("  {:<44} others took {:.0} % of the core meanwhile", "", (summary.core - summary.busy) * 100.0);
    }
}

pub fn latency_heading(text: &str) {
    println!("\n{text}");
    println!("  {:<44} {:>9} {:>7} {:>9} {:>9} {:>9}", "", "mean µs", "ratio", "p50 µs", "p99 µs", "cpu µs");
}

/// One server's line where time is what counts; `reference` is what its mean is compared with.
pub fn latency_line(name: &str, summary: &Summary, reference: f64) {
    let Summary { mean_us, p50_us, p99_us, us_each, .. } = summary;
    let ratio = mean_us / reference;
    println!("  {name:<44} {mean_us:>9.1} {ratio:>7.3} {p50_us:>9.0} {p99_us:>9.0} {us_each:>9.2}");
}

/// Whether a ratio reaches its target; the bench tells and never fails for it.
pub fn verdict(what: &str, ratio: f64, of: &str, target: f64) {
    let word = if ratio >= target { "PASS" } else { "MISS" };
    println!("{what}: {ratio:.2} of {of} (target ≥ {target:.2}) {word}");
}

/// Whether a ratio stays below its target.
pub fn verdict_below(what: &str, ratio: f64, of: &str, target: f64) {
    let word = if ratio <= target { "PASS" } else { "MISS" };
    println!("{what}: {ratio:.2} of {of} (target ≤ {target:.2}) {word}");
}

/// Bytes for people.
pub fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / (1024.0 * 1024.0))
}
