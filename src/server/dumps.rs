//! Core dumps off: a dump of this process would hold the server secrets and every key that just came by.

use super::StartError;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Sees to it that a crash writes no memory to disk, neither to a file nor to a program that collects dumps.
pub(super) fn forbid() -> Result<(), StartError> {
    let refused = |cause: rustix::io::Errno| StartError::System { what: "without core dumps", cause: cause.into() };
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(refused)?;
    // A limit does not hold for dumps that are piped into a program.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).map_err(refused)?;
    Ok(())
}
