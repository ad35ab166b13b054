//! What `keygate serve` prints once it listens.

use super::{failure::Failure, output::Output};
use crate::server::Ready;

/// Says where the server listens, where the operator key lies, and how to try it.
///
/// # Errors
/// When it cannot be written although somebody reads.
pub(super) fn announce(out: &mut Output, ready: &Ready) -> Result<(), Failure> {
    let key = ready.operator_key.display();
    let made = if ready.operator_key_made { " (just made: keep it safe)" } else { "" };
    out.line(&format!("listening on {}", ready.address))?;
    out.line(&format!("store        {}", ready.store))?;
    out.line(&format!("realms       {}", ready.realms.join(", ")))?;
    out.line(&format!("operator key {key}{made}"))?;
    out.line("")?;
    out.line("authenticate a key:")?;
    let program = std::env::args().next().unwrap_or_else(|| "keygate".to_owned());
    out.line(&format!(
        "  {program} authenticate --endpoint http://{} --realm keygate --key-stdin < {key}",
        ready.address
    ))
}
