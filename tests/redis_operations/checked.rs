//! `keygate serve --check-store`, and settings that do not go together.

use crate::support::{files::ConfigFile, keygate::BINARY, redis::RedisServer};
use std::{
    fs,
    process::{Command, Output},
};

fn serve(folder: &std::path::Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(["serve", "--data-dir"]).arg(folder).args(arguments);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_store_is_looked_at_without_serving() {
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let url = redis.url();
    let check = |more: &[&str]| {
        let flags = ["--check-store", "--store", "redis", "--redis-url", &url];
        serve(folder.path(), &[&flags[..], more].concat())
    };
    // A look from the wrong place makes nothing.
    let lost = check(&[]);
    assert_eq!(lost.status.code(), Some(1));
    assert!(text(&lost.stderr).contains("secrets` is missing") && redis.cli(&["DBSIZE"]).trim() == "0", "{lost:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    fs::write(folder.path().join("secrets"), format!("1 {}\n", "5e".repeat(32))).unwrap();
    let good = check(&[]);
    assert_eq!((good.status.code(), good.stderr.len()), (Some(0), 0), "{}", text(&good.stderr));
    assert!(text(&good.stdout).ends_with(": nothing is wrong with it\n"), "{}", text(&good.stdout));

    redis.config_set("maxmemory", "1");
    let full = check(&["--output", "json"]);
    let told: serde_json::Value = serde_json::from_slice(&full.stdout).unwrap();
    assert_eq!(full.status.code(), Some(1), "{told}");
    assert_eq!(
        (&told["problems"][0]["problem"], &told["problems"][0]["serves"]),
        (&"full".into(), &true.into()),
        "{told}"
    );
    let table = text(&check(&[]).stdout);
    assert!(table.contains("WHAT TO DO") && table.contains("raise `maxmemory`"), "{table}");
    redis.config_set("maxmemory", "0");

    redis.cli(&["ACL", "SETUSER", "keygate", "-zrem"]);
    let refused = check(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("`+zrem`") && !text(&refused.stderr).contains("password-of"), "{refused:?}");
}

/// Settings that do not go together, and what is said of them; flags and variables count.
#[test]
fn settings_that_do_not_go_together_are_told_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    for (text_of_file, flags, told) in [
        (
            "[store.redis]\npassword_file = 'p'\n",
            &["--redis-url", "redis://u:hunter2@h"][..],
            "`store.redis.password_file` is set, and a password stands in the address of Redis too: take it out of there",
        ),
        (
            "",
            &["--redis-url", "redis://u:hunter2@h", "--redis-password-file", "p"],
            "`store.redis.password_file` is set, and a password stands in the address of Redis too: take it out of there",
        ),
        (
            "[store.redis]\nurl = 'rediss://h'\n[store.redis.tls]\nca_file = 'c'\n",
            &["--redis-url", "redis://h"],
            "`store.redis.tls` is set, and the address of Redis is not one for TLS: begin the address with `rediss://` or \
             `rediss+sentinel://`",
        ),
        (
            "[store.redis]\nurl = 'rediss://h'\n[store.redis.tls]\nkey_file = 'k'\n",
            &[],
            "of `store.redis.tls.certificate_file` and `store.redis.tls.key_file` one is set without the other",
        ),
        (
            "[store.redis.sentinel]\nuser = 'u'\n",
            &["--redis-url", "redis+sentinel://h/main"],
            "`store.redis.sentinel.user` is set without `store.redis.sentinel.password_file`",
        ),
        (
            "[store.redis.sentinel]\npassword_file = 'p'\n",
            &[],
            "`store.redis.sentinel` is set, and the address of Redis names no sentinels: begin it with `redis+sentinel://`",
        ),
        (
            "",
            &["--redis-url", "redis+sentinel://:hunter2@h"],
            "`--redis-url` or KEYGATE_REDIS_URL is not an address of Redis: allowed is",
        ),
    ] {
        let settings = ConfigFile::settings(text_of_file);
        let ended = serve(folder.path(), &[&["--store", "redis", "--config", &settings.path()], flags].concat());
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(told) && !said.contains("hunter2"), "{said}");
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "something was made");
}
