//! Mistakes of a realm file: every one is named in one run, with its place and what is allowed.

use crate::config::{Mistakes, parse_realm};

/// A realm file with nothing wrong.
pub(super) const SOUND: &str = r#"
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
