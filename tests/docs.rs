//! Keeps the documentation true where a program can tell: links lead somewhere, the set-up is two commands and the checks
//! run the second, and numbers, reasons, the worked example and the Redis commands are those of the code.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use keygate::{
    app::ports::ProblemCode,
    config::Settings,
    domain::{
        deny::DenyReason,
        key::{IdempotencyRecord, KeyFormat, Limits},
        limit::{MAX_COST, Shape},
        secret::Secret,
        token::TOKEN_BYTES,
    },
    store::{
        embedded::{Embedded, QUEUE},
        redis::RedisOptions,
    },
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("`{path}` cannot be read: {error}"))
}

fn files(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, kind));
        } else if path.extension().is_some_and(|extension| extension == kind) {
            found.push(path);
        }
    }
    found
}

/// Lines outside fenced blocks, and every fenced block as what stands behind its fence and its lines.
fn split(text: &str) -> (Vec<&str>, Vec<(&str, Vec<&str>)>) {
    let (mut prose, mut blocks) = (Vec::new(), Vec::new());
    let mut open: Option<(&str, Vec<&str>)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(info), None) => open = Some((info, Vec::new())),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some((info, mut lines))) => {
                lines.push(line);
                open = Some((info, lines));
            }
            (None, None) => prose.push(line),
        }
    }
    assert!(open.is_none(), "a fenced block is not closed");
    (prose, blocks)
}

/// The targets of all links.
fn links(text: &str) -> Vec<String> {
    let (prose, _) = split(text);
    let prose = prose.join("\n");
    let rests = prose.split("](").skip(1);
    rests.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

/// The anchors of all headings, formed as GitHub does.
fn anchors(text: &str) -> Vec<String> {
    let (prose, _) = split(text);
    let titles = prose.into_iter().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    titles
        .map(|title| {
            let kept = title.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut pages = files(&root().join("docs"), "md");
    pages.extend(["README.md", "CHANGELOG.md"].map(|name| root().join(name)));
    let mut seen = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text).iter().filter(|link| !link.starts_with("https://")) {
            seen += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(target.exists(), "`{}` links to `{link}`, which is not there", page.display());
            if !anchor.is_empty() {
                let anchors = anchors(&fs::read_to_string(&target).unwrap());
                let known = anchors.iter().any(|known| known == anchor);
                assert!(known, "`{}` links to `{link}`, which has only {anchors:?}", page.display());
            }
        }
    }
    assert!(seen > 20, "only {seen} links were found");
}

#[test]
fn every_page_is_reached_from_the_readme() {
    let readme = links(&read("README.md"));
    for page in files(&root().join("docs"), "md") {
        let name = page.strip_prefix(root()).unwrap().display().to_string();
        let listed = name.starts_with("docs/adr/") || readme.contains(&name);
        assert!(listed, "README.md does not link to `{name}`");
    }
}

#[test]
fn set_up_is_two_commands_and_the_checks_run_the_second() {
    let readme = read("README.md");
    let (_, blocks) = split(&readme);
    let commands: Vec<&str> =
        blocks.iter().filter(|(info, _)| *info == "sh setup").flat_map(|(_, lines)| lines.iter().copied()).collect();
    assert_eq!(commands, ["cargo run --release --locked -- serve", "sh .ci/test"]);
    assert!(
        read(".ci/run").lines().any(|line| line == "sh .ci/test"),
        "`.ci/run` does not run the tests as README does"
    );
}

#[test]
fn every_reason_is_documented_with_its_answer_and_status() {
    let errors = read("docs/errors.md");
    for reason in DenyReason::ALL {
        let name = format!("| `DENY_REASON_{}` |", reason.name().to_uppercase());
        let row = errors.lines().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("no row `{name}`"));
        let (status, ..) = reason.answer().default_error();
        let answer = format!("{name} `{}` | {status} |", reason.answer().name());
        assert!(row.starts_with(&answer), "`{row}` should begin with `{answer}`");
    }
}

#[test]
fn errors_tell_nothing_that_was_true_once() {
    let errors = read("docs/errors.md");
    for stale in ["Nothing sets this", "Not given yet"] {
        assert!(!errors.contains(stale), "{stale}");
    }
    // Every service whose proto says that it asks who is calling stands in the row of those who did not say.
    let row = errors.lines().find(|line| line.starts_with("| `UNAUTHENTICATED` |")).unwrap();
    for (service, proto) in [
        ("AuditLog", "audit"),
        ("Backup", "backup"),
        ("Directory", "directory"),
        ("EmbedTokens", "embed_tokens"),
        ("Secrets", "secrets"),
        ("Vault", "vault"),
        ("Webhooks", "webhooks"),
    ] {
        let proto = read(&format!("proto/keygate/v1/{proto}.proto"));
        assert!(proto.contains(&format!("service {service} {{")) && proto.contains("management key"), "{service}");
        assert!(row.contains(&format!("`{service}`")), "{service}");
    }
}

#[test]
fn the_stand_in_of_the_guides_answers_head_without_a_body() {
    use std::io::{Read, Write};
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/realms/api.py");
    let mut api = std::process::Command::new("python3").args([script, &port.to_string()]).spawn().unwrap();
    let mut connection = loop {
        if let Ok(connection) = std::net::TcpStream::connect(("127.0.0.1", port)) {
            break connection;
        }
        assert!(api.try_wait().unwrap().is_none(), "it ended");
        std::thread::yield_now();
    };
    connection
        .write_all(b"HEAD /a HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut told = String::new();
    connection.read_to_string(&mut told).unwrap();
    api.kill().unwrap();
    api.wait().unwrap();
    assert!(!told.contains("HEAD /a by") && told.contains("GET /b by"), "{told}");
    let (head, _) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("content-length: "), "a HEAD tells the length: {told}");
}

/// `1000` as `1,000`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let groups = tail.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let all: Vec<String> = Some(head.to_owned()).into_iter().filter(|head| !head.is_empty()).chain(groups).collect();
    all.join(",")
}

#[test]
fn limits_are_those_of_the_code() {
    let defaults = Settings::default();
    let hours = usize::try_from(IdempotencyRecord::LIFETIME.as_secs() / 3_600).unwrap();
    let seconds = |span: std::time::Duration| usize::try_from(span.as_secs()).unwrap();
    let documented = [
        ("`Limits::NAME_CHARS`", Limits::NAME_CHARS),
        ("`Limits::SCOPES`", Limits::SCOPES),
        ("`Limits::NETWORKS`", Limits::NETWORKS),
        ("`Limits::METADATA`", Limits::METADATA),
        ("`Limits::METADATA_NAME`", Limits::METADATA_NAME),
        ("`Limits::METADATA_VALUE`", Limits::METADATA_VALUE),
        ("`Limits::REASON`", Limits::REASON),
        ("`Limits::WORKING_SECRETS`", Limits::WORKING_SECRETS),
        ("`Limits::SECRETS`", Limits::SECRETS),
        ("`Limits::IDEMPOTENCY_KEY`", Limits::IDEMPOTENCY_KEY),
        ("`Limits::KEYS_PER_ACT`", Limits::KEYS_PER_ACT),
        ("`IdempotencyRecord::LIFETIME`", hours),
        ("`Secret::MAX_BYTES`", Secret::MAX_BYTES),
        ("`TOKEN_BYTES`", TOKEN_BYTES),
        ("`MAX_COST`", MAX_COST as usize),
        ("`Shape::DEFAULT_PRECISION`", Shape::DEFAULT_PRECISION as usize),
        ("`embedded::QUEUE`", QUEUE),
        ("`Embedded::CACHE_BYTES`", Embedded::CACHE_BYTES >> 20),
        ("`RedisOptions::MANAGEMENT_DEADLINE`", seconds(RedisOptions::MANAGEMENT_DEADLINE)),
        ("`limits.streams_per_connection`", defaults.limits.streams_per_connection as usize),
        ("`limits.connections`", defaults.limits.connections),
        ("`limits.calls`", defaults.limits.calls),
        ("`limits.acts`", defaults.limits.acts),
        ("`limits.counters`", defaults.limits.counters),
        ("`limits.misses_per_source`", defaults.limits.misses_per_source as usize),
        ("`limits.decision_bytes`", defaults.limits.decision_bytes),
        ("`limits.management_bytes`", defaults.limits.management_bytes),
        ("`limits.arrival_timeout`", seconds(defaults.limits.arrival_timeout)),
        ("`limits.idle_timeout`", seconds(defaults.limits.idle_timeout) / 3_600),
        ("`limits.act_timeout`", seconds(defaults.limits.act_timeout)),
        ("`cache.keys`", defaults.cache.keys),
        ("`cache.unknown_keys`", defaults.cache.unknown_keys),
        ("`cache.accounts`", defaults.cache.accounts),
        ("`store.redis.deadline`", usize::try_from(defaults.store.redis.deadline.as_millis()).unwrap()),
        ("`store.redis.connect_timeout`", seconds(defaults.store.redis.connect_timeout)),
    ];
    let page = read("docs/limits.md");
    for (name, number) in documented {
        let row = page.lines().find(|line| line.ends_with(&format!("| {name} |")));
        let row = row.unwrap_or_else(|| panic!("docs/limits.md has no row for {name}"));
        // Where a row gives a range and a default, the number is the default.
        let stated = row.rsplit_once("default ").map_or(row, |(_, default)| default);
        let numbers: Vec<&str> = stated.split(|c: char| !c.is_ascii_digit() && c != ',').collect();
        let number = grouped(number);
        let stands = numbers.iter().any(|stated| stated.trim_end_matches(',') == number);
        assert!(stands, "`{row}` should state {number}");
    }
}

#[test]
fn the_example_key_is_one() {
    let format = KeyFormat::new("rk_live_", 32).unwrap();
    let page = read("docs/keys.md");
    let key = page.lines().find_map(|line| line.strip_prefix("    rk_live_")).expect("an example key");
    assert!(format.recognizes(&format!("rk_live_{key}")), "the checksum of the example key is wrong");
    let (covered, sum) = key.split_at(key.len() - 6);
    let number = crc32fast::hash(format!("rk_live_{covered}").as_bytes());
    for part in [format!("`rk_live_{covered}`"), format!("{number} (`0x{number:08X}`)"), format!("`{sum}` = ")] {
        assert!(page.contains(&part), "docs/keys.md lacks {part}");
    }
}

/// The service for systemd starts what README builds, with settings that are read, in directories that it makes.
#[test]
fn the_settings_for_systemd_are_settings() {
    let unit = read("deploy/systemd/keygate.service");
    let settings =
        Settings::load(&root().join("deploy/systemd/keygate.toml")).unwrap_or_else(|error| panic!("{error}"));
    let of = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("no `{key}`"));
    assert_eq!(of("ExecStart="), "/usr/local/bin/keygate serve --config /etc/keygate/keygate.toml");
    assert_eq!(settings.data_dir, Path::new("/var/lib").join(of("StateDirectory=")));
    let socket = settings.listen_unix.expect("a socket");
    assert_eq!(socket.parent().unwrap(), Path::new("/run").join(of("RuntimeDirectory=")));
    assert!(settings.listen_operations.is_some());
    let files: usize = of("LimitNOFILE=").parse().unwrap();
    assert!(files > settings.limits.connections + 1_000, "{files}");
}

/// `went_back` has a chapter of its own; all others stand in the table of what may be wrong with Redis, and nothing else does.
#[test]
fn every_problem_of_the_store_says_what_to_do() {
    let page = read("docs/redis.md");
    let table = page.split_once("## What may be wrong").unwrap().1;
    let cells = table
        .lines()
        .skip_while(|line| !line.starts_with("| ---"))
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').nth(1).unwrap());
    let told: BTreeSet<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).chain(["went_back"]).collect();
    assert_eq!(told, ProblemCode::ALL.iter().map(|code| code.name()).collect());
}

#[test]
fn the_redis_user_may_run_every_command_that_is_sent_and_no_other() {
    let mut sent: BTreeSet<String> = BTreeSet::from(["script|load".to_owned()]);
    let folder = root().join("src/store/redis");
    for path in files(&folder, "rs").into_iter().chain(files(&folder, "lua")) {
        let text = fs::read_to_string(path).unwrap();
        for (before, after) in [("cmd(\"", '"'), ("call('", '\'')] {
            let found = text.split(before).skip(1).filter_map(|rest| rest.split_once(after));
            sent.extend(found.map(|(name, _)| name.to_lowercase()));
        }
    }
    let users = read("deploy/redis/users.acl");
    let rule = users.lines().find(|line| line.starts_with("user keygate ")).expect("the user");
    let allowed: BTreeSet<String> =
        rule.split(' ').filter_map(|word| word.strip_prefix('+')).map(ToOwned::to_owned).collect();
    assert_eq!(allowed, sent);
}
