//! Mistakes of the settings: every one is named in one run, with its place and what is allowed.

use super::mistakes::lines;
use crate::config::{Settings, load};
use std::path::Path;

#[test]
fn settings_of_redis_name_every_mistake() {
    let text = "[store.redis]\nurl = 'redis+sentinel://:hunter2@a'\nwait_replicas = 11\nwait_timeout = '1ms'\npassword_file = 7\n\
                [store.redis.tls]\nca = 'x'\nserver_name = true\n[store.redis.sentinel]\ntls = 'yes'\npassword = 'hunter2'\n";
    let found = lines(Settings::parse("k", text, Path::new("")));
    let expected = [
        "k:2:7: store.redis.url: is not the address of a Redis server; must be `redis://[user[:password]@]host[:port][/database]`, `rediss://…` for TLS, `unix:///path/to/socket`, or `redis+sentinel://[user[:password]@]host[:port],…/primary[/database]` (`rediss+sentinel://…` for TLS)",
        "k:3:17: store.redis.wait_replicas: `11` is out of range; must be a whole number, 0 to 10",
        "k:4:16: store.redis.wait_timeout: `1ms` is out of range; must be 10ms to 10s",
        "k:5:17: store.redis.password_file: is a whole number; must be a text in quotes",
        "k:7:1: store.redis.tls.ca: is not a known key; allowed are `ca_file`, `certificate_file`, `key_file` and `server_name`",
        "k:8:15: store.redis.tls.server_name: is true or false; must be a text in quotes",
        "k:10:7: store.redis.sentinel.tls: is a text; must be `true` or `false`",
        "k:11:1: store.redis.sentinel.password: is not a known key; allowed are `user`, `password_file`, `tls`, `ca_file`, `certificate_file`, `key_file` and `server_name`",
    ];
    assert_eq!(found, expected);
}

#[test]
fn settings_name_every_mistake_and_never_the_password() {
    let text = "listen = 'localhost'\nrealms = []\nthreads = 0\nport = 1\n[store]\nkind = 'memory'\n\
                [store.redis]\nurl = 'http://:hunter2@host'\ndeadline = '5s'\nallow_eviction = 'yes'\n\
                [cache]\nkeys = 10\n[log]\nlevel = 'verbose'\n[limits]\nact_timeout = 10\ncounters = 999\nmisses_per_source = -1\n\
                [operations]\nlisten = ':9464'\n";
    let found = lines(Settings::parse("k", text, Path::new("")));
    let expected = [
        "k:1:10: listen: `localhost` is not legal; must be an address and a port, such as \"127.0.0.1:50051\" or \"[::]:50051\"",
        "k:2:10: realms: is empty; must name files or directories, or be \"shipped\"",
        "k:3:11: threads: `0` is out of range; must be a whole number, 1 to 256",
        "k:4:1: port: is not a known key; allowed are `listen`, `listen_unix`, `listen_unix_mode`, `listen_unix_owner`, `listen_unix_group`, `drain_delay`, `data_dir`, `realms`, `threads`, `store`, `secrets`, `operator`, `cache`, `log`, `limits`, `envoy`, `audit`, `vault`, `operations`, `reload`, `tls`, `management`, `traces` and `recovery`",
        "k:6:8: store.kind: `memory` is not known; allowed are `embedded` and `redis`",
        "k:8:7: store.redis.url: is not the address of a Redis server; must be `redis://[user[:password]@]host[:port][/database]`, `rediss://…` for TLS, `unix:///path/to/socket`, or `redis+sentinel://[user[:password]@]host[:port],…/primary[/database]` (`rediss+sentinel://…` for TLS)",
        "k:9:12: store.redis.deadline: `5s` is out of range; must be 1ms to 1s",
        "k:10:18: store.redis.allow_eviction: is a text; must be `true` or `false`",
        "k:12:8: cache.keys: `10` is out of range; must be a whole number, 1,000 to 10,000,000",
        "k:14:9: log.level: `verbose` is not known; allowed are `error`, `warn`, `info`, `debug` and `trace`",
        "k:16:15: limits.act_timeout: is a whole number; must be a whole number and a unit, `ms`, `s`, `m` (minutes), `h` or `d`, such as \"90s\"",
        "k:17:12: limits.counters: `999` is out of range; must be a whole number, 1,000 to 100,000,000",
        "k:18:21: limits.misses_per_source: `-1` is out of range; must be a whole number, 0 to 1,000,000",
        "k:20:10: operations.listen: `:9464` is not legal; must be an address and a port, such as \"127.0.0.1:50051\" or \"[::]:50051\"",
    ];
    assert_eq!(found, expected);
    let kept = Settings::parse("k", "[store.redis]\nurl = 'redis://:hunter2@host'\n", Path::new("")).unwrap();
    assert!(!format!("{kept:?}").contains("hunter2") && kept.store.redis.url.expose().contains("hunter2"));
}

#[test]
fn settings_of_what_is_told_are_checked() {
    let none = Settings::parse("k", "[operations]\nlisten = ''\n", Path::new("")).unwrap();
    assert_eq!(none.listen_operations, None);
    let some =
        Settings::parse("k", "[operations]\nlisten = '[::1]:9464'\n[log]\ndenials_per_second = 0\n", Path::new(""));
    let some = some.unwrap();
    assert_eq!((some.listen_operations, some.log.denials_per_second), (Some("[::1]:9464".parse().unwrap()), 0));
    for (text, expected) in [
        ("[operations]\nlisten = 9464", "k:2:10: operations.listen: is a whole number; must be a text in quotes"),
        (
            "[operations]\nlisten = 'localhost:9464'",
            "k:2:10: operations.listen: `localhost:9464` is not legal; must be an address and a port, such as \"127.0.0.1:50051\" or \"[::]:50051\"",
        ),
        ("[operations]\nport = 9464", "k:2:1: operations.port: is not a known key; allowed are `listen` and `tls`"),
        ("[tls]\ncertificate_file = 7", "k:2:20: tls.certificate_file: is a whole number; must be a text in quotes"),
        (
            "[tls]\ncert = 'c'",
            "k:2:1: tls.cert: is not a known key; allowed are `certificate_file`, `key_file`, `client_ca_file` and `client_certificates`",
        ),
        (
            "[operations.tls]\nclient_certificates = 'always'",
            "k:2:23: operations.tls.client_certificates: `always` is not known; allowed are `required` and `optional`",
        ),
        (
            "[management]\nserve_on = ['listener']",
            "k:2:13: management.serve_on[0]: `listener` is not known; did you mean `listen`? allowed are `listen`, `listen_unix` and `management`",
        ),
        (
            "[management]\nport = 1",
            "k:2:1: management.port: is not a known key; allowed are `listen`, `serve_on`, `tls`, `certificates` and `read_only`",
        ),
        ("operations = 'on'", "k:1:14: operations: is a text; must be a table"),
        (
            "[log]\ndenials_per_second = 1001",
            "k:2:22: log.denials_per_second: `1001` is out of range; must be a whole number, 0 to 1,000",
        ),
        (
            "[log]\ndenials_per_second = -1",
            "k:2:22: log.denials_per_second: `-1` is out of range; must be a whole number, 0 to 1,000",
        ),
        (
            "[log]\ndenials_per_second = '1'",
            "k:2:22: log.denials_per_second: is a text; must be a whole number, 0 to 1,000",
        ),
    ] {
        assert_eq!(lines(Settings::parse("k", text, Path::new(""))), [expected], "{text}");
    }
}

#[test]
fn settings_for_proxies_are_checked() {
    let text = "drain_delay = \"6m\"\nlisten_unix_mode = \"0444\"\n[envoy]\nclient_address_header = \"a b\"\n\
                [envoy.hosts]\n\"a:1\" = \"recurr\"\n\"*\" = \"recurr\"\n\"b\" = \"Recurr\"\n[envoy.domains]\n\"\" = \"recurr\"\n";
    let found = lines(Settings::parse("k", text, Path::new("")));
    let numbers: Vec<&str> = found.iter().filter_map(|line| line.split(':').nth(1)).collect();
    assert_eq!(numbers, ["1", "2", "4", "6", "7", "8", "10"], "{found:#?}");
    let unknown = Settings::parse("k", "[envoy.hosts]\n\"*.a.b\" = \"nobody\"\n", Path::new("")).unwrap();
    let found = lines(load(&unknown));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("*.a.b") && found[0].contains("`nobody`"), "{found:?}");
}
