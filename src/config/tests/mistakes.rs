//! Every mistake is named in one run, with its place and what is allowed.

use crate::config::{Mistakes, RealmFiles, Settings, check_files, load, parse_realm};
use std::{fs, path::Path};

const SOUND: &str = r#"
realm = "acme"
[[environments]]
name = "live"
prefix = "ac_live_"
[[credentials]]
header = "X-Key"
"#;

pub(super) fn lines(result: Result<impl Sized, Mistakes>) -> Vec<String> {
    result.err().map(|mistakes| mistakes.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

/// What the sound realm file with some lines more is told.
pub(super) fn with(more: &str) -> Vec<String> {
    lines(parse_realm("f", &format!("{SOUND}{more}")))
}

#[test]
fn a_sound_file_is_accepted() {
    assert_eq!(with(""), Vec::<String>::new());
}

#[test]
fn every_mistake_of_a_file_is_named_with_its_place_and_what_is_allowed() {
    let text = r#"realm = "Acme"
hint = "last4"
max_staleness = "2h"
[[environments]]
name = "live"
prefix = "ac_live"
body_length = 27
[[environments]]
name = "live"
prefix = "ac_test_"
[[credentials]]
header = "X Key"
[[scopes]]
name = "admin"
implies = ["raed"]
[[scopes]]
name = "read"
defualt = true
[[operations]]
name = "list"
routes = ["GET /v1/{a}/x", "GET /v1/{b}/x", "get /y"]
scopes = ["write"]
account = "id"
[[limits]]
name = "burst"
limit = 0
window = "1 minute"
per = ["account", "user"]
operations = ["lst"]
precision = 121
[[limits]]
name = "burst"
limit = "many"
on_store_failure = "pass"
[keys]
when_full = "replace"
default_grace = "60d"
[envelope]
content_type = "application/json"
body = '{"type":{type}}'
[[errors]]
code = "no"
status = 200
message = ""
headers = { "content-type" = "text/plain" }
for = ["missing_credentials"]
"#;
    let expected = [
        "f:1:9: realm: `Acme` is not legal; must be a lower-case letter, then up to 31 of `a-z 0-9 -`",
        "f:2:8: hint: `last4` is not known; allowed are `none`, `prefix-last4` and `prefix-2-last4`",
        "f:3:17: max_staleness: `2h` is out of range; must be 0s to 1h",
        "f:6:10: environments[0].prefix: `ac_live` is not legal; must be 2 to 32 of `a-z A-Z 0-9 _ -` and end in `_` or `-`",
        "f:7:15: environments[0].body_length: `27` is not legal; must be 28 to 128: at least 22 random characters (131 bits) and 6 of checksum",
        "f:9:8: environments[1].name: `live` is used twice; each must be there once",
        "f:12:10: credentials[0].header: `X Key` is not legal; must be a header name: 1 to 64 letters, digits and `-`",
        "f:15:12: scopes[0].implies[0]: `raed` is no scope of this realm; did you mean `read`? allowed are `admin` and `read`",
        "f:18:1: scopes[1].defualt: is not a known key; did you mean `default`? allowed are `name`, `implies` and `default`",
        "f:21:28: operations[0].routes[1]: `GET /v1/{b}/x` is not legal; clashes with the route `/v1/{a}/x`: one request must never match two routes alike",
        "f:21:45: operations[0].routes[2]: `get /y` is not legal; must be `METHOD /path` without a slash at the end, with `*` for any method, `{name}` for one segment and `{*name}` for the rest",
        "f:22:11: operations[0].scopes[0]: `write` is no scope of this realm; allowed are `admin` and `read`",
        "f:23:11: operations[0].account: `id` is not captured by every route of the operation; must be what stands in braces in each of its routes",
        "f:26:9: limits[0].limit: `0` is out of range; must be a whole number, 1 to 1,000,000,000",
        "f:27:10: limits[0].window: `1 minute` is not a duration; must be a whole number and a unit, `ms`, `s`, `m` (minutes), `h` or `d`, such as \"90s\"",
        "f:28:19: limits[0].per[1]: `user` is not known; allowed are `account`, `target_account`, `key`, `address` and `subject`",
        "f:29:15: limits[0].operations[0]: `lst` is no operation of this realm; did you mean `list`? allowed is `list`",
        "f:30:13: limits[0].precision: `121` is out of range; must be a whole number, 1 to 120",
        "f:31:1: limits[1].window: is missing; must be a whole number and a unit, `ms`, `s`, `m` (minutes), `h` or `d`, such as \"90s\"",
        "f:32:8: limits[1].name: `burst` is used twice; each must be there once",
        "f:33:9: limits[1].limit: is a text; must be a whole number, 1 to 1,000,000,000",
        "f:34:20: limits[1].on_store_failure: `pass` is not known; allowed are `deny` and `allow`",
        "f:36:13: keys.when_full: decides nothing without `max_active`; set `max_active`, or leave `when_full` out",
        "f:37:17: keys.default_grace: `60d` is above `max_grace`; must be at most 30d",
        "f:40:8: envelope.body: the body of error `unauthorized` is not JSON: expected value at line 1 column 9; must be JSON with `{code}`, `{type}` and `{message}` inside quotes and `{status}` outside",
        "f:43:10: errors[0].status: `200` is out of range; must be a whole number, 400 to 599",
        "f:44:11: errors[0].message: `` is not legal; must be 1 to 1,024 bytes without control characters",
        "f:45:30: errors[0].headers.content-type: `content-type` is a header that keygate writes itself; must be another header",
        "f:46:8: errors[0].for[0]: `missing_credentials` is not known; did you mean `missing_credential`? allowed are `missing_credential`, `ambiguous_credential`, `invalid_credential`, `expired_embed_token`, `forbidden_address`, `inactive_account`, `forbidden_account`, `unknown_account`, `insufficient_scope`, `unknown_operation`, `rate_limited`, `malformed_request` and `no_provider_credential`",
    ];
    assert_eq!(lines(parse_realm("f", text)), expected);
}

#[test]
fn an_empty_file_is_told_what_a_realm_needs() {
    let expected = [
        "f:1:1: credentials: is missing; must be at least one `[[credentials]]` with `header` and, if there is one, `scheme`",
        "f:1:1: environments: is missing; must be at least one `[[environments]]` with `name`, `prefix` and `body_length`",
        "f:1:1: realm: is missing; must be a lower-case letter, then up to 31 of `a-z 0-9 -`",
    ];
    assert_eq!(lines(parse_realm("f", "")), expected);
}

#[test]
fn syntax_errors_stand_beside_what_is_certainly_wrong() {
    let found = with("hint = = 3\n[keys]\nmax_active = 0\ndefault_grace 5\n");
    let at: Vec<_> = found.iter().filter_map(|line| line.split(": ").next()).collect();
    assert!(at.contains(&"f:10:14") && at.iter().any(|place| place.starts_with("f:11:")), "{found:#?}");
}

#[test]
fn things_that_are_there_twice_are_refused() {
    let found = with(
        "[[credentials]]\nheader = 'x_key'\n[[limits]]\nname = 'a'\nlimit = 1\nwindow = '1s'\nper = ['key', 'key']\n\
         [[operations]]\nname = 'x'\nfallback = true\n[[operations]]\nname = 'y'\nfallback = true\n\
         [[errors]]\ncode = 'a'\nstatus = 401\nmessage = 'm'\nfor = ['rate_limited']\n\
         [[errors]]\ncode = 'b'\nstatus = 401\nmessage = 'm'\nfor = ['rate_limited']\n",
    );
    let expected = [
        "f:9:10: credentials[1].header: `x-key` is used twice; each must be there once",
        "f:14:15: limits[0].per[1]: `key` is there twice; each must be there once",
        "f:20:12: operations[1].fallback: `x` is the fallback already; one operation may be the fallback",
        "f:30:8: errors[1].for[0]: `rate_limited` is answered by `errors[0]` already; each must be answered by one row",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_mistake_is_one_line_whatever_was_written() {
    let found = with("[[operations]]\nname = 'x'\naccount = \"\\u001b[2J\\n\"\nroutes = ['GET /{a}']\n");
    let expected = "f:10:11: operations[0].account: `\\u{1b}[2J\\n` is not captured by every route of the operation; \
                    must be what stands in braces in each of its routes";
    assert_eq!(found, [expected]);
}

#[test]
fn per_nothing_is_the_whole_realm_only_when_it_is_written() {
    let limit = "[[limits]]\nname = 'a'\nlimit = 1\nwindow = '1s'\n";
    let parts = |more: &str| parse_realm("f", &format!("{SOUND}{limit}{more}")).unwrap().limits[0].per.len();
    assert_eq!((parts(""), parts("per = []")), (1, 0));
}

#[test]
fn a_key_that_could_be_of_two_formats_is_refused() {
    let legacy = |more: &str| {
        with(&format!(
            "[[environments]]\nname = 'test'\nprefix = 'ac_test_'\n[[legacy_formats]]\nenvironment = 'test'\n{more}"
        ))
    };
    assert_eq!(legacy("prefix = 'ac_test_'\nlength = [20, 60]"), Vec::<String>::new());
    assert_eq!(legacy("prefix = 'ac_live_'\nlength = [20, 39]"), Vec::<String>::new());
    let expected = "f:13:10: legacy_formats[0].prefix: a key can have this format and that of `environments[0]` alike; \
                    must differ from it in prefix or length";
    assert_eq!(legacy("prefix = 'ac_'\nlength = [20, 40]"), [expected]);
}

#[test]
fn routes_that_nothing_can_match_are_refused() {
    for route in ["GET /a//b", "GET /a/../b", "GET /ä", "GET /a?b", "GET /{}", "GET /{*rest}/x", "POST", "GET  /x"] {
        let found = with(&format!("[[operations]]\nname = 'x'\nroutes = ['{route}']\n"));
        assert!(
            matches!(found.as_slice(), [line] if line.starts_with("f:10:11: operations[0].routes[0]: ")),
            "{found:?}"
        );
    }
    for method in ["pkg.Service", "/pkg.Service/Method", "pkg.Service/M*", "pkg..S/M"] {
        let found = with(&format!("[[operations]]\nname = 'x'\ngrpc = ['{method}']\n"));
        assert!(matches!(found.as_slice(), [line] if line.contains("must be `package.Service/Method`")), "{found:?}");
    }
    assert_eq!(with("[[operations]]\nname = 'x'\ngrpc = ['p.v1.S/M', 'p.v1.S/*']\n"), Vec::<String>::new());
}

#[test]
fn files_that_clash_with_each_other_are_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    put("a.toml", SOUND);
    put("b.toml", SOUND);
    put("c.toml", &SOUND.replace("acme", "keygate").replace("ac_live_", "kgop_x_"));
    put("d.toml", &SOUND.replace("acme", "dale").replace("ac_live_", "ac_"));
    put("e.toml", "realm = 5");
    put("ignored.txt", "nothing");
    let settings = Settings { realms: RealmFiles::Paths(vec![directory.path().to_owned()]), ..Settings::default() };
    let place = format!("{}/", directory.path().display());
    let found: Vec<_> = lines(load(&settings)).iter().map(|line| line.replace(&place, "")).collect();
    let expected = [
        "b.toml:2:9: realm: `acme` is the realm of a.toml:2:9 already; must be another name",
        "b.toml:5:10: environments[0].prefix: `ac_live_` and `ac_live_` of a.toml:5:10 begin alike; no prefix may begin with another one",
        "c.toml:2:9: realm: `keygate` is the built-in realm; must be another name",
        "c.toml:5:10: environments[0].prefix: `kgop_x_` and `kgop_` of built-in realm `keygate`:8:10 begin alike; no prefix may begin with another one",
        "d.toml:5:10: environments[0].prefix: `ac_` and `ac_live_` of a.toml:5:10 begin alike; no prefix may begin with another one",
        "e.toml:1:1: credentials: is missing; must be at least one `[[credentials]]` with `header` and, if there is one, `scheme`",
        "e.toml:1:1: environments: is missing; must be at least one `[[environments]]` with `name`, `prefix` and `body_length`",
        "e.toml:1:9: realm: is a whole number; must be a text in quotes",
    ];
    assert_eq!(found, expected);

    let summaries = check_files(&[directory.path().join("a.toml")]).unwrap().0;
    assert_eq!(summaries[0].name.as_str(), "acme");
    assert_eq!(summaries[0].environments, [("live".to_owned(), "ac_live_".to_owned())]);
}

#[test]
fn files_that_cannot_be_read_are_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let (empty, odd) = (directory.path().join("empty"), directory.path().join("odd.toml"));
    fs::create_dir(&empty).unwrap();
    fs::write(&odd, b"realm = \"\xff\"").unwrap();
    let found = lines(check_files(&[directory.path().join("absent.toml"), empty, odd]));
    let ends = [
        "absent.toml: cannot be read: No such file or directory (os error 2); must be a readable file",
        "empty: holds no realm; must be a file, or a directory with `*.toml` files",
        "odd.toml: is not UTF-8 from byte 9 on; must be UTF-8 text",
    ];
    assert_eq!(found.len(), ends.len(), "{found:?}");
    assert!(found.iter().zip(ends).all(|(line, end)| line.ends_with(end)), "{found:#?}");
}

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
fn what_stands_for_a_proxy_is_checked() {
    let operations = r#"
[[operations]]
name = "a"
account = { query = "a b" }
organization = { header = "X_Key" }
[[operations]]
name = "b"
account = { path = "x", query = "y" }
routes = ["GET /{y}"]
organization = "x"
[[operations]]
name = "c"
public = true
account = { query = "a" }
[[limits]]
name = "l"
limit = 1
window = "1m"
operations = ["c"]
[[limits]]
name = "m"
limit = 1
window = "1m"
descriptors = []
per = []
[upstream]
account = "x-key"
scopes = "x-auth-operation"
credential = "drop"
"#;
    let found = with(operations);
    let places: Vec<&str> = found.iter().filter_map(|line| line.split(": ").nth(1)).collect();
    let expected = [
        "operations[0].account.query",
        "operations[0].organization.header",
        "operations[1].account",
        "operations[1].organization",
        "operations[2].account",
        "limits[0].operations",
        "limits[1].descriptors",
        "limits[1].per",
        "upstream.account",
        "upstream.credential",
        "upstream.operation",
    ];
    for place in expected {
        assert!(places.contains(&place), "{place} is missing in {found:#?}");
    }
    assert_eq!(places.len(), expected.len(), "{found:#?}");
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

#[test]
fn roles_of_members_are_listed_once_and_issuers_are_some_of_them() {
    assert_eq!(
        with("[members]\nroles = [\"viewer\", \"admin\"]\nissuers = [\"admin\"]\nrequired = true\n"),
        Vec::<String>::new()
    );
    let found = with("[members]\nroles = [\"Admin\", \"viewer\", \"viewer\"]\nissuers = [\"owner\"]\nrequired = 1\n");
    let paths = ["members.roles[0]", "members.roles[2]", "members.issuers[0]", "members.required"];
    assert_eq!(found.len(), paths.len(), "{found:#?}");
    assert!(found.iter().zip(paths).all(|(mistake, path)| mistake.contains(path)), "{found:#?}");
    let found = with("[members]\nroles = []\n");
    assert!(found.len() == 2 && found.iter().any(|mistake| mistake.contains("must hold at least one")), "{found:#?}");
}

#[test]
fn onboarding_is_set_up_on_purpose_and_with_limits_that_know_what_they_count_per() {
    const LIMITS: &str = "[[limits]]\nname = \"s\"\nlimit = 5\nwindow = \"1h\"\nper = [\"address\", \"subject\"]\noperations = []\n\
                          [[limits]]\nname = \"a\"\nlimit = 5\nwindow = \"1h\"\nper = [\"account\"]\n";
    let told = |table: &str| with(&format!("{LIMITS}[onboarding]\n{table}"));
    let log = "delivery = \"log\"\nsignup_limits = [\"s\"]\nverify_limits = [";
    assert_eq!(told(&format!("{log}\"s\"]\n")).len(), 1, "what is verified has no address that was signed up with");
    let sound = "[[limits]]\nname = \"v\"\nlimit = 5\nwindow = \"1h\"\nper = [\"address\"]\n";
    assert_eq!(told(&format!("{log}\"v\"]\n{sound}")), Vec::<String>::new());
    for (table, paths) in [
        ("", &["onboarding.delivery", "onboarding.signup_limits", "onboarding.verify_limits"][..]),
        (
            "signup_limits = [\"a\"]\nverify_limits = [\"x\"]\ndelivery = \"mail\"\n",
            &["onboarding.delivery", "onboarding.signup_limits[0]", "onboarding.verify_limits[0]"],
        ),
        (
            "signup_limits = []\nverify_limits = []\ndelivery = \"webhook\"\nwebhook_url = \"https://u:p@h/\"\n",
            &[
                "onboarding.signup_limits",
                "onboarding.verify_limits",
                "onboarding.webhook_secret_file",
                "onboarding.webhook_url",
            ],
        ),
        (
            "signup_limits = [\"s\"]\nverify_limits = []\ndelivery = \"log\"\nwebhook_url = \"http://h/\"\ncode_length = 3\nlifetime = \"13h\"\nattempts = 11\nenvironment = \"moon\"\nscopes = [\"x\"]\naccount_prefix = \"a/\"\n",
            &[
                "onboarding.verify_limits",
                "onboarding.webhook_url",
                "onboarding.code_length",
                "onboarding.lifetime",
                "onboarding.attempts",
                "onboarding.environment",
                "onboarding.scopes[0]",
                "onboarding.account_prefix",
            ],
        ),
    ] {
        let found = told(table);
        let missing: Vec<_> =
            paths.iter().filter(|path| !found.iter().any(|mistake| mistake.contains(**path))).collect();
        assert!(missing.is_empty() && found.len() == paths.len(), "{missing:?} of {found:#?}");
    }
    let both = "[members]\nroles = [\"a\"]\nissuers = [\"a\"]\nrequired = true\n";
    assert_eq!(told(&format!("{log}\"v\"]\n{sound}{both}")).len(), 1, "keys are issued by members only");
}
