//! What is told of mistakes in the issuers of tokens, and in who manages keys.

use crate::{
    config::parse_realm,
    domain::{
        credential::Accepts,
        token::{KeySource, TokenAlgorithm},
    },
};
use std::path::PathBuf;

const SOUND: &str = r#"
realm = "acme"
[[environments]]
name = "live"
prefix = "ac_live_"
[[credentials]]
header = "X-Key"
accepts = ["token"]
"#;
const ISSUER: &str = r#"
[[tokens]]
issuer = "https://issuer.example"
audiences = ["app"]
algorithms = ["ES256"]
"#;

/// What is told of a realm with these lines, without the places.
fn told(text: &str) -> Vec<String> {
    let mistakes = parse_realm("f", text).err();
    let lines = mistakes.iter().flat_map(|mistakes| mistakes.iter().map(ToString::to_string));
    lines.map(|line| line.splitn(4, ':').last().unwrap_or_default().trim().to_owned()).collect()
}

#[test]
fn an_issuer_is_read_and_its_file_lies_beside_the_realms() {
    let text = format!("{SOUND}{ISSUER}jwks_file = \"keys/jwks.json\"\nleeway = \"5s\"\n");
    let realm = parse_realm("/etc/keygate/realms/acme.toml", &text).unwrap();
    let [rules] = &realm.tokens[..] else { panic!("one issuer") };
    assert_eq!(rules.keys, KeySource::File(PathBuf::from("/etc/keygate/realms/keys/jwks.json")));
    assert_eq!((rules.algorithms.as_slice(), rules.account_claim.as_str()), (&[TokenAlgorithm::Es256][..], "sub"));
    assert_eq!((rules.leeway.as_secs(), rules.environment.as_str()), (5, "live"));
    assert_eq!(realm.credentials[0].accepts, Accepts::TOKEN);
    assert!(!realm.management.by_owners);
}

#[test]
fn every_mistake_is_named_at_once() {
    let text = format!(
        r#"{SOUND}
[[environments]]
name = "test"
prefix = "ac_test_"
[[credentials]]
header = "X-Other"
accepts = ["keys"]
[[credentials]]
header = "X-None"
accepts = []
[[tokens]]
issuer = ""
audiences = []
algorithms = ["HS256", "none", "RS256", "RS256"]
jwks_url = "http://issuer.example/keys"
jwks_file = "keys.json"
leeway = "1h"
environment = "live"
[[tokens]]
issuer = "two"
audiences = ["a"]
algorithms = ["ES256"]
jwks_url = "http://issuer.example/keys"
[management]
by = "operators"
import = true
"#
    );
    let found = told(&text);
    for expected in [
        "credentials[1].accepts[0]: `keys` is not known; did you mean `key`? allowed are `key` and `token`",
        "credentials[2].accepts: is empty; must hold \"key\", \"token\", or both",
        "tokens[0].issuer: `` is not legal; must be 1 to 1,024 bytes without control characters",
        "tokens[0].audiences: is empty; must be a list of texts, one of which is in `aud` of every token",
        "tokens[0].algorithms[0]: `HS256` is not taken; did you mean `RS256`? allowed are `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384` and `EdDSA`",
        "tokens[0].algorithms[1]: `none` is not taken; allowed are `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384` and `EdDSA`",
        "tokens[0].algorithms[3]: `RS256` is used twice; each must be there once",
        "tokens[0].jwks_url: stands beside `jwks_file`; must be left out, or the other one",
        "tokens[0].leeway: `1h` is out of range; must be 0s to 5m",
        "tokens[1].jwks_url: is not the address of a service that can be trusted; must be `https://…`, or `http://…` of this machine (`localhost`, 127.0.0.1, [::1]), without user and fragment",
        "tokens[1].environment: is missing; must be the name of one of the realm's environments, since there are several",
        "management.import: stands beside `by = \"operators\"`; must be left out: it is for keys that owners manage",
    ] {
        assert!(found.iter().any(|line| line == expected), "`{expected}` is not among {found:#?}");
    }
    assert_eq!(found.len(), 12, "{found:#?}");
}

#[test]
fn tokens_are_accepted_where_there_are_issuers_and_nowhere_else() {
    let told_of = |text: &str, what: &str| told(text).iter().any(|line| line.contains(what));
    assert!(told_of(SOUND, "tokens: is missing; must be at least one `[[tokens]]`"));
    let keys_alone = SOUND.replace("accepts = [\"token\"]", "");
    let issuer = format!("{ISSUER}jwks_url = \"https://issuer.example/keys\"\n");
    assert!(told_of(&format!("{keys_alone}{issuer}"), "tokens: are accepted nowhere"));
    let management = "[management]\nby = \"owners\"\n[[management.credentials]]\nheader = \"authorization\"\naccepts = [\"token\"]\n";
    assert_eq!(told(&format!("{keys_alone}{issuer}{management}")), Vec::<String>::new());
}

#[test]
fn keys_are_fetched_from_where_nobody_can_answer_in_the_issuers_place() {
    let with = |url: &str| told(&format!("{SOUND}{ISSUER}jwks_url = \"{url}\"\n")).is_empty();
    for url in [
        "https://issuer.example",
        "https://issuer.example:8443/keys?v=1",
        "https://203.0.113.7/k",
        "http://localhost:8080/k",
        "http://127.0.0.1/k",
        "http://[::1]:1/k",
    ] {
        assert!(with(url), "{url}");
    }
    for url in [
        "",
        "issuer.example/keys",
        "/keys",
        "ftp://issuer.example/keys",
        "file:///etc/passwd",
        "http://issuer.example/keys",
        "http://127.0.0.1.example/k",
        "http://169.254.169.254/k",
        "https://user:secret@issuer.example/k",
        "https://issuer.example/k#f",
    ] {
        assert!(!with(url), "{url}");
    }
}

#[test]
fn an_operation_that_nothing_can_be_presented_for_is_told() {
    let operation = |accepts: &str| {
        let operation = format!("[[operations]]\nname = \"o\"\nroutes = [\"GET /o\"]\naccepts = [{accepts}]\n");
        told(&format!("{SOUND}{operation}{ISSUER}jwks_file = \"j\"\n"))
    };
    let mistake = "operations[0].accepts: names what no place for credentials accepts, so no request can bring it; must share a kind \
                   with `accepts` of one of `[[credentials]]`";
    assert_eq!(operation("\"key\""), [mistake]);
    assert_eq!(operation("\"token\""), [""; 0]);
    assert_eq!(operation("\"key\", \"token\""), [""; 0]);
}
