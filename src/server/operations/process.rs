//! What the operating system says of this process, on Linux.

use crate::metrics::Process;
use std::fs;

/// What `/proc` says; nothing where there is none.
pub(super) fn read(started: f64) -> Option<Process> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold anything; numbered from 3 behind it (proc_pid_stat(5)).
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
    let ticks = field(14)?.saturating_add(field(15)?);
    let pages = field(24)?;
    Some(Process {
        cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        resident_bytes: pages.saturating_mul(rustix::param::page_size() as u64),
        virtual_bytes: field(23)?,
        open_fds: fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64),
        max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(0),
        threads: field(20)?,
        started,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_files_and_threads() {
        let found = read(1.5).unwrap();
        assert!(found.resident_bytes > 1_000_000 && found.virtual_bytes > found.resident_bytes, "{found:?}");
        assert!(found.open_fds >= 3 && found.max_fds >= found.open_fds && found.threads >= 1, "{found:?}");
    }
}
