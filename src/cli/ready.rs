//! What `keygate serve` prints once it listens.

use super::{failure::Failure, output::Output};
use crate::server::Ready;
use std::{env, path};

/// Says where the server listens, where the operator key lies, and how to try it.
///
/// # Errors
/// When it cannot be written although somebody reads.
pub(super) fn announce(out: &mut Output, ready: &Ready) -> Result<(), Failure> {
    told(ready).iter().try_for_each(|line| out.line(line))
}

fn told(ready: &Ready) -> Vec<String> {
    let by_tls = |secured| if secured { " by TLS" } else { "" };
    let (key, is_there) = (ready.operator_key.display(), ready.operator_key.exists());
    let remark = match (ready.operator_key_made, is_there) {
        (true, _) => " (just made: keep it safe)",
        (false, true) => "",
        (false, false) => " (the file is missing: `keygate serve --reissue-operator-key` makes a new key)",
    };
    let mut lines = vec![format!("listening on {}{}", ready.address, by_tls(ready.secured))];
    if let Some(socket) = &ready.socket {
        // As `--endpoint` takes it.
        let socket = path::absolute(socket).unwrap_or_else(|_| socket.clone());
        lines.push(format!("and on       unix:{}", socket.display()));
    }
    if let Some(management) = ready.management {
        lines.push(format!("management   {management}{}", by_tls(ready.management_secured)));
    }
    if let Some(operations) = ready.operations {
        lines.push(format!("operations   {}://{operations}/metrics", scheme(ready.operations_secured)));
    }
    lines.push(format!("store        {}", ready.store));
    lines.push(format!("realms       {}", ready.realms.join(", ")));
    lines.push(format!("operator key {key}{remark}"));
    if is_there {
        let file = quoted(&key.to_string());
        let program = quoted(&env::args().next().unwrap_or_else(|| "keygate".to_owned()));
        let endpoint = format!("{}://{}", scheme(ready.secured), ready.address);
        lines.push("\nauthenticate a key:".to_owned());
        lines.push(format!("  {program} authenticate --endpoint {endpoint} --realm keygate --key-stdin < {file}"));
    }
    lines
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
    fn what_is_printed_can_be_used_as_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let operator_key = folder.path().join("operator.key");
        let ready = Ready {
            address: "127.0.0.1:50051".parse().unwrap(),
            secured: true,
            socket: Some("keygate.sock".into()),
            management: None,
            management_secured: false,
            operations: Some("127.0.0.1:9464".parse().unwrap()),
            operations_secured: false,
            operator_key: operator_key.clone(),
            operator_key_made: false,
            realms: vec!["recurr".to_owned(), "keygate".to_owned()],
            store: "embedded".to_owned(),
        };
        let here = env::current_dir().unwrap();
        let lines = told(&ready);
        assert_eq!(lines[0], "listening on 127.0.0.1:50051 by TLS");
        assert_eq!(lines[1], format!("and on       unix:{}/keygate.sock", here.display()));
        assert_eq!(lines[2], "operations   http://127.0.0.1:9464/metrics");
        // Without the key there is nothing to try.
        assert!(lines[5].contains("--reissue-operator-key") && lines.len() == 6, "{lines:#?}");
        std::fs::write(&operator_key, "key").unwrap();
        let lines = told(&ready);
        assert!(lines[7].contains("--endpoint https://127.0.0.1:50051 "), "{lines:#?}");
    }

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(quoted("/var/lib/keygate/operator.key"), "/var/lib/keygate/operator.key");
        assert_eq!(quoted("my da'ta/$HOME"), r"'my da'\''ta/$HOME'");
    }
}
