//! Room for file descriptors: every connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process holds open beside connections, at most: files, the store's connections, those to webhooks and issuers.
const OTHERS: u64 = 512;

/// Raises what the process was given to what it may have, if that takes `connections`; tells the log when it does not.
pub(super) fn raise(connections: usize) {
    let wanted = (connections as u64).saturating_add(OTHERS);
    let given = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    if enough(given.current) {
        return;
    }
    let most = given.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: given.maximum });
    if raised.is_err() || !enough(Some(most)) {
        let most = if raised.is_err() { given.current } else { Some(most) };
        tracing::warn!(
            most,
            wanted,
            "the system allows too few open files for `limits.connections`: connections beyond them wait (`ulimit -n`)"
        );
    }
}
