//! The scripts in deploy/release: notes are cut from the changelog, a build is the same wherever it is made, and the bill of
//! materials lists what the lock file does.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use toml::{Table, Value};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Puts a script of deploy/release into another package.
fn lend(script: &str, package: &Path) -> PathBuf {
    let path = package.join("deploy/release").join(script);
    write(&path, &fs::read_to_string(root().join("deploy/release").join(script)).unwrap());
    path
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn succeed(command: &mut Command) -> Output {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

const CHANGELOG: &str = "# Changelog

## [Unreleased]

### Added

- Something to come.

## [1.10.0] - 2026-03-04

### Added

- A thing, with [a link](docs/a.md).

### Fixed

- Another,
  on two lines.

## [1.1.0] - 2026-02-03

- The first, with `## [1.10.0]` in it.

## [1.0.0] - Unreleased

- Not yet.

## [0.9.0] - 2026-01-02

[1.1.0]: https://example.com/1.1.0
";

fn notes(version: &[&str]) -> Output {
    let package = tempfile::tempdir().unwrap();
    write(&package.path().join("CHANGELOG.md"), CHANGELOG);
    run(Command::new("sh").arg(lend("notes", package.path())).args(version))
}

#[test]
fn notes_are_the_section_of_their_version_and_no_more() {
    for (version, section) in [
        ("1.10.0", "### Added\n\n- A thing, with [a link](docs/a.md).\n\n### Fixed\n\n- Another,\n  on two lines.\n"),
        ("1.1.0", "- The first, with `## [1.10.0]` in it.\n"),
    ] {
        let output = notes(&[version]);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), section, "{version}");
        assert!(output.status.success() && output.stderr.is_empty(), "{version}");
    }
}

#[test]
fn notes_that_cannot_be_cut() {
    for (version, problem) in [
        (
            &["1.0.0"][..],
            "CHANGELOG.md says `## [1.0.0] - Unreleased`: a release needs its day, as `## [1.0.0] - YYYY-MM-DD`.\n",
        ),
        (
            &["Unreleased"],
            "CHANGELOG.md says `## [Unreleased]`: a release needs its day, as `## [Unreleased] - YYYY-MM-DD`.\n",
        ),
        (&["0.9.0"], "The section of 0.9.0 in CHANGELOG.md is empty.\n"),
        (&["1.1"], "CHANGELOG.md has no section for 1.1.\n"),
        (&["v1.1.0"], "CHANGELOG.md has no section for v1.1.0.\n"),
        (&["1.1.."], "CHANGELOG.md has no section for 1.1...\n"),
        (&[], "Say which version: sh deploy/release/notes VERSION\n"),
        (&["1.1.0", "1.10.0"], "Say which version: sh deploy/release/notes VERSION\n"),
    ] {
        let output = notes(version);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), problem, "{version:?}");
        assert!(!output.status.success() && output.stdout.is_empty(), "{version:?}");
    }
}

#[test]
fn the_changelog_has_a_section_of_this_version() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let heading = format!("## [{}] - ", env!("CARGO_PKG_VERSION"));
    assert_eq!(changelog.lines().filter(|line| line.starts_with(&heading)).count(), 1, "one `{heading}…`");
}

#[test]
fn whatever_names_the_version_names_this_one() {
    let version = env!("CARGO_PKG_VERSION");
    for (path, places) in [
        ("deploy/kubernetes/base/kustomization.yaml", vec![format!("newTag: {version}\n")]),
        (
            "docs/kubernetes.md",
            vec![
                format!("-t registry.example.com/keygate:{version} ."),
                format!("push registry.example.com/keygate:{version}\n"),
            ],
        ),
        ("Cargo.lock", vec![format!("name = \"keygate\"\nversion = \"{version}\"\n")]),
        ("fuzz/Cargo.lock", vec![format!("name = \"keygate\"\nversion = \"{version}\"\n")]),
    ] {
        let text = fs::read_to_string(root().join(path)).unwrap();
        for place in places {
            assert!(text.contains(&place), "`{path}` lacks `{}`", place.trim());
        }
    }
}

/// A program like keygate where it matters: the place of a panic is in it, in its own code and in code that its build makes.
fn small_program(package: &Path, dependency: &Path) {
    let release = "[profile.release]\ncodegen-units = 1\npanic = \"abort\"\nstrip = \"debuginfo\"\n";
    let head = |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n");
    let depends = format!("[dependencies]\ninner = {{ path = {:?} }}\n\n", dependency.to_str().unwrap());
    write(&package.join("Cargo.toml"), &format!("{}{depends}{release}\n[workspace]\n", head("keygate")));
    let made = "pub fn made(of: &[String], at: usize) -> usize { of[at].len() }";
    let build = format!(
        "fn main() {{ std::fs::write(std::env::var(\"OUT_DIR\").unwrap() + \"/made.rs\", {made:?}).unwrap() }}\n"
    );
    write(&package.join("build.rs"), &build);
    let main = "include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));
fn main() {
    let all: Vec<String> = std::env::args().collect();
    println!(\"{} {}\", made(&all, 1), inner::inner(&all, 2));
}\n";
    write(&package.join("src/main.rs"), main);
    let inner = package.join(dependency);
    write(&inner.join("Cargo.toml"), &head("inner"));
    write(&inner.join("src/lib.rs"), "pub fn inner(of: &[String], at: usize) -> usize { of[at].len() }\n");
    succeed(Command::new(env!("CARGO")).args(["generate-lockfile", "--offline"]).current_dir(package));
}

/// The program as the script makes it.
fn release(package: &Path, crates: &Path) -> Vec<u8> {
    let mut command = Command::new("sh");
    command.arg(lend("build", package)).env("CARGO_HOME", crates).env("CARGO_NET_OFFLINE", "true");
    // Nothing of what the caller has set gets in.
    command.env("RUSTFLAGS", "--cfg=callers_own").env("CARGO_TARGET_DIR", package.join("elsewhere"));
    succeed(&mut command);
    fs::read(package.join("target/reproducible/release/keygate")).unwrap()
}

fn has(program: &[u8], text: &str) -> bool {
    program.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_build_is_the_same_wherever_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two, and longer/by far"));
    let plain = |package: &Path| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--release", "--locked", "--offline"]).current_dir(package);
        succeed(command.env_remove("CARGO_TARGET_DIR"));
        fs::read(package.join("target/release/keygate")).unwrap()
    };
    for package in [&one, &two] {
        small_program(package, Path::new("inner"));
    }
    let home = folder.path().join("home");
    let [first, second] = [&one, &two].map(|package| release(package, &home));
    assert!(first == second, "the builds differ");
    assert!(has(&first, "/keygate/target/reproducible/release/build/keygate-"));
    // Else the program would show nothing.
    assert!(plain(&one) != plain(&two), "the builds do not differ without the script either");
}

#[test]
fn a_build_does_not_tell_where_downloaded_crates_lie() {
    let folder = tempfile::tempdir().unwrap();
    let (package, home) = (folder.path().join("package"), folder.path().join("home of crates"));
    small_program(&package, &home.join("registry/src/index-1/inner-0.1.0"));
    let program = release(&package, &home);
    assert!(has(&program, "/crates/inner-0.1.0/src/lib.rs"));
    assert!(!has(&program, folder.path().to_str().unwrap()));
}

#[test]
fn the_bill_of_materials_lists_what_the_lock_file_does() {
    if !Command::new("cargo").args(["cyclonedx", "--version"]).output().is_ok_and(|output| output.status.success()) {
        println!("skipped: cargo-cyclonedx is not installed (cargo install cargo-cyclonedx --locked)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one.json", "two.json"].map(|name| folder.path().join(name));
    for file in [&one, &two] {
        let mut command = Command::new("python3");
        command.arg("-B").arg(root().join("deploy/release/sbom.py")).arg(file).env("SOURCE_DATE_EPOCH", "1770000000");
        succeed(&mut command);
    }
    let bill = fs::read_to_string(&one).unwrap();
    assert_eq!(bill, fs::read_to_string(&two).unwrap());
    assert!(!bill.contains(root().to_str().unwrap()), "it tells where it was made");
    let bill: serde_json::Value = serde_json::from_str(&bill).unwrap();
    assert_eq!(bill["specVersion"], "1.5");
    assert_eq!(bill["metadata"]["component"]["version"], env!("CARGO_PKG_VERSION"));

    let lock: Table = fs::read_to_string(root().join("Cargo.lock")).unwrap().parse().unwrap();
    let text = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let entries = lock["package"].as_array().unwrap().iter();
    let locked: BTreeMap<String, String> =
        entries.map(|one| (format!("{}@{}", text(one, "name"), text(one, "version")), text(one, "checksum"))).collect();
    let mut scopes = BTreeMap::new();
    for component in bill["components"].as_array().unwrap() {
        let of = |key: &str| component[key].as_str().unwrap().to_owned();
        let crate_ = format!("{}@{}", of("name"), of("version"));
        assert_eq!(component["hashes"][0]["content"].as_str(), locked.get(&crate_).map(String::as_str), "{crate_}");
        assert!(component["licenses"][0]["expression"].is_string(), "{crate_} has no licence");
        scopes.insert(of("name"), of("scope"));
    }
    for (name, scope) in [("tonic", "required"), ("aws-lc-sys", "required"), ("protox", "excluded")] {
        assert_eq!(scopes.get(name).map(String::as_str), Some(scope), "{name}");
    }
    // Proptest is for tests alone, and nothing that is used switches ring on.
    for name in ["proptest", "hdrhistogram", "ring"] {
        assert!(!scopes.contains_key(name), "{name}");
    }
}
