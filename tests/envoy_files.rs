//! The files of `deploy/envoy` as a user copies them: Envoy takes each, and what both say they say alike.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::config::{self, Settings};
use std::{fs, path::Path, process::Command};
use support::proxy::{KEYGATE, PART_TWO, SERVICE, SOCKET, binary, file};

const FILES: [&str; 2] = ["central.yaml", "sidecar.yaml"];

#[test]
fn envoy_takes_every_file_as_it_stands() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/envoy");
    let listed = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let ours = |name: &String| name.ends_with(".yaml") && name != "kustomization.yaml";
    let mut listed: Vec<String> = listed.filter(ours).collect();
    listed.sort();
    assert_eq!(listed, FILES, "a file is not tested");
    let scratch = tempfile::tempdir().unwrap();
    for (name, changes) in FILES.iter().flat_map(|name| [(name, &[][..]), (name, &[(PART_TWO, "")])]) {
        let path = scratch.path().join(name);
        fs::write(&path, file(name, changes)).unwrap();
        let output = Command::new(binary()).args(["--mode", "validate", "-c"]).arg(path).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name}: {told}");
        // What is deprecated today is gone tomorrow.
        assert!(!told.contains("deprecated"), "{name}: {told}");
    }
}

#[test]
fn envoy_refuses_a_file_with_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.yaml");
    fs::write(&path, file("central.yaml", &[("encode_raw_headers: true", "encode_raw_heads: true")])).unwrap();
    let output = Command::new(binary()).args(["--mode", "validate", "-c"]).arg(path).output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn one_address_is_to_be_changed_and_the_rest_is_the_same_in_both() {
    let [central, sidecar] = FILES.map(|name| file(name, &[]));
    // What stands before the first setting is the opening comment; what stands from here to here is the way to keygate.
    let common = |text: &str| {
        let body = &text[text.find("# For operators").unwrap()..];
        let (before, rest) = body.split_once("    # keygate. ").unwrap();
        let (_, after) = rest.split_once("      # \"readiness\"").unwrap();
        (before.to_owned(), after.to_owned())
    };
    assert_eq!(common(&central), common(&sidecar));
    for text in [&central, &sidecar] {
        let (_, after) = text.split_once("# YOUR SERVICE: ").expect("the mark");
        let place = after.lines().take(9).any(|line| line.contains(SERVICE));
        assert!(place, "the address to change does not stand below its mark");
    }
    assert!(central.contains(KEYGATE) && sidecar.contains(SOCKET));
}

#[test]
fn every_shipped_realm_has_its_route() {
    let realms = config::load(&Settings::default()).unwrap();
    let central = file("central.yaml", &[]);
    for realm in realms.iter().filter(|realm| realm.name.as_str() != "keygate") {
        let (host, extension) = (format!("domains: [\"{}.*\"]", realm.name), format!("{{ realm: {} }}", realm.name));
        assert_eq!((central.matches(&host).count(), central.matches(&extension).count()), (1, 1), "{}", realm.name);
    }
}
