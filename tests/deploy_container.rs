//! The recipe of the image. No engine builds it here: it is linted, held to the repository, and the program is run as the
//! image would run it, on a root that holds what the base image does.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use support::{keygate::BINARY, python::environment, redis::RedisServer};

/// What the base image has of libraries that a program may be linked to.
const LIBRARIES: [&str; 5] = ["libc.so.6", "libgcc_s.so.1", "libm.so.6", "libstdc++.so.6", "ld-linux-x86-64.so.2"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The instructions, each on one line.
fn instructions() -> Vec<String> {
    let text = fs::read_to_string(root().join("deploy/container/Containerfile")).unwrap().replace("\\\n", "");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// What stands behind that instruction, in the last stage.
fn last_stage(instruction: &str) -> Vec<String> {
    let all = instructions();
    let begin = all.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    let found = all[begin..].iter().filter_map(|line| line.strip_prefix(&format!("{instruction} ")));
    found.map(ToOwned::to_owned).collect()
}

fn words(instruction: &str) -> Vec<String> {
    serde_json::from_str(&last_stage(instruction)[0]).expect("the form without a shell")
}

#[test]
fn the_recipe_has_no_lint() {
    let hadolint = environment("hadolint").join("bin/hadolint");
    let output = Command::new(hadolint).arg(root().join("deploy/container/Containerfile")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_image_is_small_without_a_shell_and_for_a_user_without_rights() {
    assert_eq!(last_stage("FROM"), ["gcr.io/distroless/cc-debian12:nonroot"]);
    assert_eq!(last_stage("USER"), ["65532:65532"]);
    assert!(last_stage("RUN").is_empty() && last_stage("ENV").is_empty());
    assert!(last_stage("COPY").iter().any(|copy| copy.starts_with("LICENSE /usr/share/doc/")));
    // The Debian that it is built on is that of the base, so that the C library is no older.
    let build = instructions()[0].clone();
    assert!(build.starts_with("FROM docker.io/library/rust:") && build.ends_with("-slim-bookworm AS build"), "{build}");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let oldest = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    // To the last number: what is released is built with the same compiler on every day.
    assert!(build.contains(&format!("rust:{oldest}.")), "{build}: Rust {oldest}");
}

#[test]
fn the_program_is_built_as_it_is_released() {
    assert!(instructions().iter().any(|line| line.starts_with("RUN sh deploy/release/build ")));
    let made = "--from=build /src/target/reproducible/release/keygate /usr/bin/keygate";
    assert!(last_stage("COPY").iter().any(|copy| copy == made));
    let build = fs::read_to_string(root().join("deploy/release/build")).unwrap();
    assert!(build.contains(" --release --locked ") && build.contains(" --target-dir target/reproducible\n"), "{build}");
}

#[test]
fn what_is_built_from_is_what_the_build_needs_and_no_secret() {
    let ignored = fs::read_to_string(root().join(".dockerignore")).unwrap();
    let lines: Vec<&str> = ignored.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines[0], "*", "everything is left out but what is named");
    let kept: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix('!')).collect();
    for path in &kept {
        assert!(root().join(path).exists(), "`{path}` is not there");
    }
    // Whatever a source file or the build script takes in from outside of `src`.
    for needed in [
        "Cargo.toml",
        "Cargo.lock",
        "build.rs",
        "src",
        "proto",
        "deploy/realms",
        "deploy/release/build",
        "benches",
        "LICENSE",
    ] {
        assert!(kept.contains(&needed), "`{needed}` is left out");
    }
    for secret in ["**/keygate-data", "**/operator.key", "**/secrets"] {
        assert!(lines.contains(&secret), "`{secret}` goes into the build");
    }
}

#[test]
fn the_program_needs_no_library_but_those_of_the_base() {
    let output = Command::new("ldd").arg(BINARY).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines().filter(|line| !line.contains("linux-vdso")) {
        let name = line.trim().split(' ').next().unwrap().rsplit('/').next().unwrap();
        assert!(LIBRARIES.contains(&name) || name.starts_with("ld-linux"), "{line}");
    }
}

/// A root with the program, its libraries and what a container engine adds, and nothing else.
fn image(folder: &Path) {
    let copy = |from: &Path, to: &str| {
        let to = folder.join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    };
    copy(Path::new(BINARY), "/usr/bin/keygate");
    let output = Command::new("ldd").arg(BINARY).output().unwrap();
    for word in String::from_utf8(output.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/')) {
        copy(&PathBuf::from(word), word);
    }
    let etc = folder.join("etc");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("nsswitch.conf"), "hosts: files dns\n").unwrap();
    fs::write(etc.join("hosts"), "127.0.0.1 redis.example.internal\n").unwrap();
    fs::write(etc.join("resolv.conf"), "").unwrap();
    fs::create_dir_all(folder.join("var/lib/keygate")).unwrap();
    chown(folder.join("var/lib/keygate"), Some(65_532), Some(65_532)).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).unwrap();
}

/// Runs the image's command line as its user, until it listens, and gives what it printed.
fn run(folder: &Path, arguments: &[String]) -> String {
    let entry = words("ENTRYPOINT");
    let mut command = Command::new("chroot");
    command.args(["--userspec=65532:65532"]).arg(folder).args(entry).args(arguments);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut printed = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(Ok(line)) = lines.next() {
        printed += &format!("{line}\n");
        if line.starts_with("store ") {
            break;
        }
    }
    let _ = child.kill();
    let rest = child.wait_with_output().unwrap();
    printed + &String::from_utf8_lossy(&rest.stderr)
}

#[test]
fn the_program_runs_as_the_image_runs_it_and_resolves_names() {
    let folder = tempfile::tempdir().unwrap();
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if !is_root {
        println!("skipped: only root may change the root directory");
        return;
    }
    image(folder.path());
    // On whatever port is free; all else as the image says.
    let arguments: Vec<String> =
        words("CMD").into_iter().map(|word| word.replace("0.0.0.0:50051", "127.0.0.1:0")).collect();
    let printed = run(folder.path(), &arguments);
    assert!(printed.contains("listening on 127.0.0.1:") && printed.contains("embedded"), "{printed}");

    let redis = RedisServer::start();
    let url = redis.url().replace("127.0.0.1", "redis.example.internal");
    let store = ["--store", "redis", "--redis-url", &url].map(ToOwned::to_owned);
    let printed = run(folder.path(), &[&arguments[..], &store].concat());
    assert!(printed.contains("redis at redis.example.internal:"), "{printed}");
}
