//! What keygate is built from: no version that is known as unsafe, every crate from the registry under its checksum, and fuzz
//! targets that run what ships. Licences and vulnerabilities are for `.ci/supply`, which needs tools of its own.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};
use toml::{Table, Value};

/// Oldest versions that are safe to face a network with; the reasons stand in `deny.toml`.
const OLDEST: [(&str, &str); 4] =
    [("h2", "0.4.16"), ("jsonwebtoken", "10.3"), ("rustls-webpki", "0.103.13"), ("tracing-subscriber", "0.3.20")];
const LOCKS: [&str; 2] = ["Cargo.lock", "fuzz/Cargo.lock"];
/// What the fuzz targets have of their own.
const ONLY_FUZZ: [&str; 3] = ["arbitrary", "keygate-fuzz", "libfuzzer-sys"];

fn table(path: &str) -> Table {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    text.parse().unwrap_or_else(|error| panic!("`{path}`: {error}"))
}

fn text<'a>(of: &'a Value, key: &str) -> Option<&'a str> {
    of.get(key).and_then(Value::as_str)
}

/// Every package of a lock file, as name, version and the whole entry.
fn packages(lock: &str) -> Vec<(String, String, Value)> {
    let entries = table(lock)["package"].as_array().expect("a list of packages").clone();
    let of = |entry: Value| {
        let [name, version] = ["name", "version"].map(|key| text(&entry, key).unwrap().to_owned());
        (name, version, entry)
    };
    entries.into_iter().map(of).collect()
}

/// The numbers of a version, what is left out counted as 0; one before its release (`1.0.0-rc.1`) comes just before it.
fn order(version: &str) -> (Vec<u64>, bool) {
    let (version, before) = version.split_once('-').map_or((version, false), |(version, _)| (version, true));
    let version = version.split('+').next().unwrap();
    let mut numbers: Vec<u64> = version.split('.').map(|number| number.parse().unwrap()).collect();
    numbers.resize(3, 0);
    (numbers, !before)
}

#[test]
fn versions_are_ordered_by_their_numbers() {
    for (older, newer) in [
        ("0.4.9", "0.4.16"),
        ("0.4.16", "0.5.0"),
        ("10.2.9", "10.3"),
        ("9.9.9", "10.3"),
        ("0.103.13-rc.1", "0.103.13"),
        ("0.103.12+more", "0.103.13-alpha.1"),
    ] {
        assert!(order(older) < order(newer), "{older} is older than {newer}");
    }
    assert_eq!(order("10.3"), order("10.3.0"));
}

#[test]
fn no_locked_version_is_older_than_is_safe() {
    for lock in LOCKS {
        let packages = packages(lock);
        for (name, oldest) in OLDEST {
            let locked: Vec<_> =
                packages.iter().filter(|(known, ..)| known == name).map(|(_, version, _)| version).collect();
            assert!(!locked.is_empty(), "`{lock}` has no {name}: then nothing here has to speak of it");
            for version in locked {
                assert!(
                    order(version) >= order(oldest),
                    "`{lock}` has {name} {version}, and {oldest} is the oldest that is safe"
                );
            }
        }
    }
}

#[test]
fn cargo_deny_refuses_the_same_versions_and_says_why() {
    let rules = table("deny.toml");
    let denied = rules["bans"]["deny"].as_array().unwrap();
    for (name, oldest) in OLDEST {
        let wanted = format!("{name}:<{oldest}");
        assert!(denied.iter().any(|one| text(one, "crate") == Some(&wanted)), "deny.toml does not deny `{wanted}`");
    }
    let ignored = rules["advisories"]["ignore"].as_array().unwrap();
    for exception in denied.iter().chain(ignored) {
        assert!(text(exception, "reason").is_some_and(|reason| reason.len() > 10), "no reason for {exception}");
    }
}

#[test]
fn every_crate_comes_from_the_registry_under_its_checksum() {
    for lock in LOCKS {
        for (name, version, entry) in packages(lock) {
            if name == "keygate" || name == "keygate-fuzz" {
                continue;
            }
            let source = text(&entry, "source").unwrap_or("a folder");
            let known = source == "registry+https://github.com/rust-lang/crates.io-index";
            assert!(known, "`{lock}` takes {name} {version} from {source}");
            let checksum = text(&entry, "checksum").unwrap_or_default();
            assert_eq!(checksum.len(), 64, "`{lock}` has no checksum of {name} {version}");
        }
    }
}

const RENEW: &str = "Renew it: cp Cargo.lock fuzz/Cargo.lock && cargo metadata --manifest-path fuzz/Cargo.toml --format-version 1 >/dev/null";

#[test]
fn the_fuzz_targets_are_locked_to_what_ships() {
    let mut ships: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, version, _) in packages("Cargo.lock") {
        ships.entry(name).or_default().push(version);
    }
    for (name, version, _) in packages("fuzz/Cargo.lock") {
        let same = ships.get(&name).is_some_and(|versions| versions.contains(&version));
        assert!(
            same || ONLY_FUZZ.contains(&&*name),
            "fuzz/Cargo.lock has {name} {version}, Cargo.lock has not. {RENEW}"
        );
    }
    // Cargo itself says whether the file is complete; it downloads nothing but what is not there yet.
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--locked", "--format-version", "1", "--manifest-path"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml"));
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}{RENEW}", String::from_utf8_lossy(&output.stderr));
}
