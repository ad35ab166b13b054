//! What `keygate serve` prints once it listens.

use super::{failure::Failure, output::Output};
use crate::server::Ready;

/// Says where the server listens, where the operator key lies, and how to try it.
///
/// # Errors
/// When it cannot be written although somebody reads.
pub(super) fn announce(out: &mut Output, ready: &Ready) -> Result<(), Failure> {
    let key = ready.operator_key.display();
    let remark = match (ready.operator_key_made, ready.operator_key.exists()) {
        (true, _) => " (just made: keep it safe)",
        (false, true) => "",
        (false, false) => " (the file is missing: `keygate serve --reissue-operator-key` makes a new key)",
    };
    let remark_tls = if ready.secured { " by TLS" } else { "" };
    out.line(&format!("listening on {}{remark_tls}", ready.address))?;
    if let Some(socket) = &ready.socket {
        out.line(&format!("and on       unix:{}", socket.display()))?;
    }
    if let Some(management) = ready.management {
        let remark = if ready.management_secured { " by TLS" } else { "" };
        out.line(&format!("management   {management}{remark}"))?;
    }
    if let Some(operations) = ready.operations {
        out.line(&format!("operations   {}://{operations}/metrics", scheme(ready.operations_secured)))?;
    }
    out.line(&format!("store        {}", ready.store))?;
    out.line(&format!("realms       {}", ready.realms.join(", ")))?;
    out.line(&format!("operator key {key}{remark}"))?;
    out.line("")?;
    out.line("authenticate a key:")?;
    let file = quoted(&key.to_string());
    let program = quoted(&std::env::args().next().unwrap_or_else(|| "keygate".to_owned()));
    out.line(&format!(
        "  {program} authenticate --endpoint {}://{} --realm keygate --key-stdin < {file}",
        scheme(ready.secured),
        ready.address
    ))
}

fn scheme(secured: bool) -> &'static str {
    if secured { "https" } else { "http" }
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(quoted("/var/lib/keygate/operator.key"), "/var/lib/keygate/operator.key");
        assert_eq!(quoted("my da'ta/$HOME"), r"'my da'\''ta/$HOME'");
    }
}
