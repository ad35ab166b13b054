//! The command line speaks TLS, and says what to do where it cannot.

use crate::{
    support::{
        certificates::{Authority, Files},
        keygate::{BINARY, Keygate},
    },
    world::World,
};
use std::{env, fs::File, process::Command};

/// Authenticates the operator's key: the exit code, and everything that was printed.
fn authenticate(keygate: &Keygate, endpoint: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(BINARY);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYGATE_")) {
        command.env_remove(name);
    }
    command.args(["authenticate", "--endpoint", endpoint, "--realm", "keygate", "--key-stdin"]);
    command.envs(variables.iter().copied());
    let key = File::open(keygate.data_dir().join("operator.key")).unwrap();
    let done = command.stdin(key).output().unwrap();
    let printed = [done.stdout, done.stderr].concat();
    (done.status.code(), String::from_utf8(printed).unwrap())
}

#[tokio::test]
async fn a_command_speaks_tls_and_shows_its_certificate() {
    let world = World::asking("client_ca_file = \"of-clients.pem\"");
    let keygate = world.start("", &[]).await;
    let (secure, plain) = (format!("https://{}", keygate.address()), keygate.endpoint());
    let by_name = secure.replace("127.0.0.1", "127.0.0.2");
    let another = Authority::new(world.at(), "another");
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (ca, other_ca) = (text(&world.authority.file), text(&another.file));
    let Files { certificate, key } = world.client_files();
    let (certificate, key) = (text(&certificate), text(&key));
    let shown = [("KEYGATE_CERT_FILE", certificate.as_str()), ("KEYGATE_CERT_KEY_FILE", key.as_str())];
    let with = |more: &[(&'static str, &str)]| -> Vec<(&str, String)> {
        shown.iter().chain(more).map(|&(name, value)| (name, value.to_owned())).collect()
    };
    let trusted = ("KEYGATE_CA_FILE", ca.as_str());
    for (endpoint, variables, code, told) in [
        (&secure, with(&[trusted]), 0, ""),
        (&secure, with(&[trusted, ("KEYGATE_SERVER_NAME", "localhost")]), 0, ""),
        (&secure, with(&[("KEYGATE_CA_FILE", &other_ca)]), 1, "`--ca-file` or KEYGATE_CA_FILE names a file"),
        (&secure, with(&[trusted, ("KEYGATE_SERVER_NAME", "example.com")]), 1, "its certificate is for another name"),
        (
            &secure,
            vec![trusted].into_iter().map(|(n, v)| (n, v.to_owned())).collect(),
            1,
            "`--cert-file`, `--cert-key-file`",
        ),
        (&secure, with(&[("KEYGATE_CA_FILE", "/no/such/file")]), 2, "`/no/such/file` cannot be read as certificates"),
        (&plain, vec![], 1, "does the server speak TLS there"),
        (&by_name, with(&[trusted]), 1, "cannot reach keygate"),
    ] {
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (ended, printed) = authenticate(&keygate, endpoint, &variables);
        assert!(ended == Some(code) && printed.contains(told), "{endpoint} {variables:?}: {ended:?}\n{printed}");
        keygate.assert_no_secret("what a command printed", &printed);
    }
}

#[tokio::test]
async fn a_command_is_told_where_no_tls_is_spoken() {
    let keygate = Keygate::start(&[]).await;
    let world = World::new();
    let ca = world.authority.file.to_str().unwrap();
    let endpoint = format!("https://{}", keygate.address());
    let (ended, printed) = authenticate(&keygate, &endpoint, &[("KEYGATE_CA_FILE", ca)]);
    assert!(ended == Some(1) && printed.contains("begin the endpoint with `http://`"), "{ended:?}\n{printed}");
}
