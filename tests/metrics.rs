//! What the operations port tells: every metric that the documentation names and no other, in both formats, after traffic of
//! every kind; numbers that are those of the traffic; and health.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{CheckRateLimitRequest, DenyReason, Subject, check_rate_limit_request::Selection};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};
use support::{
    calls::{Answered, by_key, charged},
    envoy,
    files::ConfigFile,
    keygate::Keygate,
    operations::{OPERATIONS, Page, promtool},
    realms,
    stack::Stack,
};
use tonic::Request;

const ACCOUNT: &str = "an-account-of-a-customer";
const ALERTS_TESTS: [&str; 2] = ["alerts-test.yaml", "alerts-test-days.yaml"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// A realm with a subscriber that nobody reaches.
struct Shop {
    realm: ConfigFile,
    _secret: ConfigFile,
}

impl Shop {
    fn new() -> Self {
        let secret = ConfigFile::new("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
        let path = secret.path();
        let realm = ConfigFile::new(
            "shop.toml",
            &format!(
                "realm = \"shop\"\ncredentials = [{{ header = \"x-api-key\" }}]\n[[environments]]\nname = \"live\"\n\
                 prefix = \"sh_live_\"\n[[operations]]\nname = \"read\"\nroutes = [\"GET /a/{{rest}}\"]\n[[limits]]\nname = \"tight\"\nlimit = 5\nwindow = \"1h\"\nper = [\"key\"]\n\
                 [[webhooks]]\nname = \"billing\"\nurl = \"http://127.0.0.1:1/hook\"\nsecret_file = \"{path}\"\n"
            ),
        );
        Self { realm, _secret: secret }
    }

    fn arguments(&self) -> Vec<String> {
        let shipped = realms::shipped().to_str().unwrap().to_owned();
        let more = ["--realm-file".to_owned(), shipped, "--realm-file".to_owned(), self.realm.path()];
        OPERATIONS.map(ToOwned::to_owned).into_iter().chain(more).collect()
    }
}

/// Something of everything. Returns the key that was used, and its id.
async fn traffic(keygate: &Keygate) -> (String, String) {
    let (id, key) = keygate.new_key("shop", ACCOUNT, "live").await;
    for _ in 0..5 {
        keygate.authenticate(charged(by_key("shop", &key), "GET", "/a/path", 1)).await.allowed();
    }
    let denied = keygate.authenticate(charged(by_key("shop", &key), "GET", "/a/path", 1)).await;
    denied.denied_for(DenyReason::RateLimited);
    keygate.authenticate(by_key("shop", "no key")).await.denied_for(DenyReason::MalformedKey);
    keygate.try_authenticate(by_key("nowhere", &key)).await.unwrap_err();

    let mut marked = Request::new(by_key("shop", &key));
    marked.metadata_mut().insert("x-request-id", "request-of-the-test".parse().unwrap());
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    marked.metadata_mut().insert("traceparent", trace.parse().unwrap());
    keygate.client().authenticate(marked).await.unwrap().into_inner().allowed();

    keygate.envoy_check(envoy::check("shop", "GET", "/a/path", &[("x-api-key", &key)])).await;
    keygate.envoy_check(envoy::check("", "GET", "/a/path", &[])).await;
    keygate.envoy_limit(envoy::limit("shop", &[envoy::descriptor(&[("path", "/a/path")])])).await;
    let names = keygate::proto::v1::LimitNames { names: vec!["tight".to_owned()] };
    let (key_id, account_id) = (id.clone(), ACCOUNT.to_owned());
    let subject = Subject { key_id, account_id, source_address: "192.0.2.55".to_owned(), ..Subject::default() };
    let question = CheckRateLimitRequest {
        realm: "shop".to_owned(),
        environment: "live".to_owned(),
        selection: Some(Selection::Limits(names)),
        subject: Some(subject),
        ..Default::default()
    };
    keygate.check(question).await;
    keygate.revoke("shop", &id).await;
    (key, id)
}

/// The rows of `docs/metrics.md`: type and labels by name.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let page = text("docs/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `keygate_") || line.starts_with("| `process_"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 8, "six cells in: {line}");
        assert!(!cells[5].is_empty(), "no meaning in: {line}");
        let labels = cells[3].split(',').map(|label| label.trim().trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels))
    };
    rows.map(row).collect()
}

/// Every family of the page is documented as it is, and every documented one stands there.
#[track_caller]
fn assert_documented(page: &Page) {
    let documented = documented();
    let found: BTreeMap<_, _> = page
        .families
        .iter()
        .map(|(name, family)| {
            assert!(!family.samples.is_empty(), "`{name}` has no sample");
            (name.clone(), (family.kind.clone(), family.labels()))
        })
        .collect();
    assert_eq!(found, documented);
}

mod every_metric_is_documented_and_every_documented_one_is_told {
    use super::*;

    async fn row(stack: Stack, store: &str) {
        let (key, id) = traffic(&stack).await;
        let page = stack.metrics().await;
        assert_documented(&page);
        assert_documented(&stack.open_metrics().await);
        promtool(&["check", "metrics"], &page.text);

        let decisions = |labels: &[(&str, &str)]| page.sum("keygate_decisions_total", labels);
        let of = |verb| [("realm", "shop"), ("verb", verb)];
        let authenticate = |reason| decisions(&[of("authenticate"), [("reason", reason); 2]].concat());
        assert_eq!(authenticate("allowed"), 6.0);
        assert_eq!((authenticate("rate_limited"), authenticate("malformed_key")), (1.0, 1.0));
        assert_eq!(authenticate("store_unavailable"), 0.0);
        assert_eq!(decisions(&of("check")), 1.0);
        assert_eq!((decisions(&of("check_rate_limit")), decisions(&of("should_rate_limit"))), (1.0, 1.0));
        assert_eq!(page.sum("keygate_decision_duration_seconds_count", &of("authenticate")), 8.0);
        let limit = [("realm", "shop"), ("limit", "tight")];
        assert_eq!(page.sum("keygate_limit_near_total", &limit), 2.0, "the fourth and the fifth of five");
        // Authenticate, Check and CheckRateLimit, each once.
        assert_eq!(page.sum("keygate_limit_over_total", &limit), 3.0);
        assert_eq!(page.sum("keygate_questions_astray_total", &[("reason", "unknown_realm")]), 1.0);
        assert_eq!(page.sum("keygate_questions_astray_total", &[("reason", "no_realm")]), 1.0);
        assert_eq!(page.sum("keygate_acts_total", &[("act", "create"), ("result", "done")]), 1.0);
        assert_eq!(page.sum("keygate_acts_total", &[("act", "revoke"), ("result", "done")]), 1.0);
        let lookups = |result| page.sum("keygate_key_lookups_total", &[("realm", "shop"), ("result", result)]);
        assert_eq!((lookups("hit"), lookups("miss")), (7.0, 1.0));
        assert_eq!(page.sum("keygate_keys_used_total", &[("realm", "shop"), ("stored", "newest")]), 6.0);
        assert_eq!(page.sum("keygate_store_up", &[("store", store)]), 1.0);
        // Those that came to a charge: seven keys, one question of limits, and one of descriptors that select none.
        assert!(page.sum("keygate_store_duration_seconds_count", &[("command", "charge")]) >= 9.0);
        assert_eq!(page.sum("keygate_redis_round_trips_total", &[]) > 0.0, store == "redis");
        assert_eq!(page.sum("keygate_configuration_generation", &[]), 1.0);
        assert!(page.sum("keygate_configuration_loaded_timestamp_seconds", &[]) > 1.7e9);
        assert!((page.sum("process_start_time_seconds", &[]) - support::calls::now() as f64).abs() < 600.0);
        assert!(page.sum("keygate_connections", &[]) >= 1.0);

        // Nothing that whoever sends requests can choose.
        let random = &key[key.len() / 2..];
        for chosen in [ACCOUNT, &id, random, "/a/path", "192.0.2", "nowhere", "127.0.0.1"] {
            assert!(!page.text.contains(chosen), "`{chosen}` stands in a label:\n{}", page.text);
        }
    }

    #[tokio::test]
    async fn embedded() {
        let shop = Shop::new();
        let arguments = shop.arguments();
        row(Stack::embedded(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await, "embedded").await;
    }

    #[tokio::test]
    async fn redis() {
        let shop = Shop::new();
        let arguments = shop.arguments();
        row(Stack::redis(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await, "redis").await;
    }
}

#[tokio::test]
async fn a_bucket_shows_a_request_by_the_ids_that_came_with_it() {
    let shop = Shop::new();
    let arguments = shop.arguments();
    let keygate = Keygate::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
    traffic(&keygate).await;
    let (key, page) = (keygate.new_key("shop", ACCOUNT, "live").await.1, keygate.open_metrics().await);
    let shown = |page: &Page| {
        let samples = &page.families["keygate_decision_duration_seconds"].samples;
        samples.iter().map(|sample| sample.exemplar.clone()).filter(|shown| !shown.is_empty()).collect::<Vec<_>>()
    };
    // A bucket that showed nothing a moment ago rests for a second; then the next that brings an id is shown.
    let mut found = shown(&page);
    for number in 0..50 {
        if found.iter().any(|shown| shown.contains_key("request_id") && shown.contains_key("trace_id")) {
            break;
        }
        let mut marked = Request::new(by_key("shop", &key));
        marked.metadata_mut().insert("x-request-id", format!("request-of-the-test-{number}").parse().unwrap());
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        marked.metadata_mut().insert("traceparent", trace.parse().unwrap());
        keygate.client().authenticate(marked).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        found = shown(&keygate.open_metrics().await);
    }
    let with_both = found.iter().find(|shown| shown.contains_key("request_id")).expect("an exemplar");
    assert!(with_both["request_id"].starts_with("request-of-the-test"), "{found:?}");
    assert_eq!(with_both["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert!(shown(&keygate.metrics().await).is_empty(), "the text format has none");
}

#[tokio::test]
async fn the_operations_port_answers_what_it_is_asked_and_nothing_else() {
    let realms = root().join("deploy/realms");
    let keygate = Keygate::start(&[&OPERATIONS[..], &["--realm-file", realms.to_str().unwrap()]].concat()).await;
    for (head, status) in [
        ("GET /metrics", 200),
        ("HEAD /metrics", 200),
        ("GET /livez", 200),
        ("GET /readyz", 200),
        ("GET /readyz?verbose", 200),
        ("GET /", 404),
        ("GET /metrics/", 404),
        ("GET /debug", 404),
        ("POST /metrics", 405),
        ("DELETE /readyz", 405),
    ] {
        let answer = keygate.operations(head, "").await;
        assert_eq!(answer.status, status, "{head}: {answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{head}");
        assert_eq!(answer.body.is_empty(), head.starts_with("HEAD"), "{head}");
    }
    let ready: Value = serde_json::from_str(&keygate.operations("GET /readyz", "").await.body).unwrap();
    assert_eq!((&ready["ready"], &ready["checks"][0]["name"]), (&Value::Bool(true), &Value::from("store")));
    // The shipped realms name issuers whose addresses are placeholders: told, and no reason not to be ready.
    let checks = ready["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["ok"] == false && check["needed"] == false), "{ready}");
}

/// Those who hold connections and send nothing, or take nothing, are cut off.
#[tokio::test]
async fn whoever_holds_every_place_of_the_operations_port_holds_it_for_seconds() {
    let keygate = Keygate::start(&OPERATIONS).await;
    let address = ("127.0.0.1", keygate.operations_port());
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    for _ in 0..100 {
        if support::http::try_send(address.1, "GET /livez", &[("host", "keygate")], "").await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("nobody gets through");
}

#[tokio::test]
async fn a_store_that_is_away_is_told_and_is_no_reason_to_die() {
    let mut stack = Stack::redis(&OPERATIONS).await;
    let (_, key) = stack.new_key("recover", "a", "live").await;
    stack.redis.as_mut().unwrap().kill();
    for _ in 0..200 {
        if stack.operations("GET /readyz", "").await.status == 503 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ready = stack.operations("GET /readyz", "").await;
    let told: Value = serde_json::from_str(&ready.body).unwrap();
    assert_eq!(
        (ready.status, &told["ready"], &told["checks"][0]["ok"]),
        (503, &Value::from(false), &Value::from(false))
    );
    assert!(told["checks"][0]["problem"].as_str().unwrap().contains("Redis at `127.0.0.1"), "{told}");
    assert_eq!(stack.operations("GET /livez", "").await.status, 200);

    stack.try_authenticate(by_key("recover", &key)).await.unwrap_err();
    let page = stack.metrics().await;
    assert_eq!((page.sum("keygate_store_up", &[]), page.sum("keygate_ready", &[])), (0.0, 0.0));
    assert!(page.sum("keygate_store_errors_total", &[]) >= 1.0);
    let recover = [("realm", "recover"), ("outcome", "failed")];
    assert_eq!(page.sum("keygate_decisions_total", &recover), 1.0, "a failure is no denial");
    assert_eq!(page.sum("keygate_decisions_total", &[("realm", "recover"), ("outcome", "denied")]), 0.0);
    assert!(page.sum("keygate_redis_connects_total", &[("result", "failed")]) >= 1.0);
    assert!(page.sum("keygate_redis_connections_lost_total", &[]) >= 1.0);
}

#[tokio::test]
async fn denials_are_counted_and_a_sample_of_them_is_told() {
    let keygate = Keygate::start(&OPERATIONS).await;
    const DENIALS: usize = 200;
    for _ in 0..DENIALS {
        keygate.authenticate(by_key("recover", "no key")).await.denied_for(DenyReason::MalformedKey);
    }
    let counted = keygate.metrics().await;
    let malformed = [("realm", "recover"), ("reason", "malformed_key")];
    assert_eq!(counted.sum("keygate_decisions_total", &malformed), DENIALS as f64);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    keygate.authenticate(by_key("recover", "no key")).await.denied();
    keygate.wait_for_output("left_out=").await;
    // One line a second: however many there were, those that were told and those that were left out are all.
    let mut told = 0;
    for _ in 0..100 {
        let output = keygate.output();
        let lines = output.lines().filter(|line| line.contains("reason=\"malformed_key\""));
        let left_out = |line: &str| {
            let number = line.split_once("left_out=").unwrap().1.split_whitespace().next().unwrap();
            number.parse::<usize>().unwrap()
        };
        told = lines.map(|line| 1 + left_out(line)).sum();
        if told == DENIALS + 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(told, DENIALS + 1, "{}", keygate.output());
    assert!(keygate.output().lines().filter(|line| line.contains("malformed_key")).count() < DENIALS);
}

#[tokio::test]
async fn no_denial_is_told_where_none_shall_be() {
    let settings = ConfigFile::settings("[log]\ndenials_per_second = 0\n");
    let keygate = Keygate::start(&["--config", &settings.path()]).await;
    keygate.authenticate(by_key("recover", "no key")).await.denied();
    keygate.manage("recover", keygate::proto::v1::manage_keys_request::Operation::List(Default::default())).await;
    keygate.wait_for_output("done").await;
    assert!(!keygate.output().contains("malformed_key"), "{}", keygate.output());
    assert!(!keygate.output().contains("operations "), "{}", keygate.output());
}

/// Names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("keygate_") || word.starts_with("process_")).map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn rules_and_dashboard_ask_for_what_there_is() {
    let keygate = Keygate::start(&OPERATIONS).await;
    let page = keygate.metrics().await;
    let samples = page.families.values().flat_map(|family| &family.samples);
    let there: BTreeSet<String> = samples.map(|sample| sample.name.clone()).collect();
    let of_documented: BTreeSet<String> = documented().into_keys().collect();
    for (file, least) in [("alerts.yaml", 20), ("dashboard.json", 30), (ALERTS_TESTS[0], 20), (ALERTS_TESTS[1], 3)] {
        let asked = names(&text(&format!("deploy/prometheus/{file}")));
        assert!(asked.len() >= least, "{file}: {asked:?}");
        // Without a webhook among its realms this server has no sample of that.
        let missing = |name: &&String| !there.contains(*name) && !of_documented.contains(*name);
        assert_eq!(asked.iter().find(missing), None, "{file}");
    }
    promtool(&["check", "rules", &ConfigFile::new("dashboard.yaml", &dashboard_rules()).path()], "");
}

/// The dashboard's expressions as recording rules: Prometheus reads no dashboard. A string of JSON is one of YAML, and Grafana puts
/// something in place of its variables.
fn dashboard_rules() -> String {
    let dashboard = text("deploy/prometheus/dashboard.json");
    let filled = dashboard.replace("$__rate_interval", "5m").replace("$job", "keygate").replace("$realm", "shop");
    let expressions = filled.lines().filter_map(|line| line.trim().strip_prefix("\"expr\": "));
    let rule = |(number, expression): (usize, &str)| {
        assert!(!expression.contains('$'), "a variable that the dashboard does not have: {expression}");
        format!("      - {{ record: \"dashboard:{number}\", expr: {} }}\n", expression.trim_end_matches(','))
    };
    let rules: Vec<String> = expressions.enumerate().map(rule).collect();
    assert!(rules.len() > 30, "{rules:?}");
    format!("groups:\n  - name: dashboard\n    rules:\n{}", rules.concat())
}

#[test]
fn rules_are_rules_and_fire_when_they_should() {
    let folder = root().join("deploy/prometheus");
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    promtool(&["check", "rules", &file("alerts.yaml")], "");
    promtool(&["test", "rules", &file(ALERTS_TESTS[0]), &file(ALERTS_TESTS[1])], "");
}

/// An alert that nothing sets off in a test may ask for a label that is never there, and nobody would hear of it.
#[test]
fn every_alert_fires_in_a_test() {
    let rules = text("deploy/prometheus/alerts.yaml");
    let alerts: BTreeSet<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let played = ALERTS_TESTS.map(|file| text(&format!("deploy/prometheus/{file}"))).concat();
    // What is expected of an alert stands between its name and the next one.
    let fires = played.split("- alertname: ").filter(|case| case.contains("- exp_labels:"));
    let fired: BTreeSet<&str> = fires.filter_map(|case| case.lines().next()).collect();
    assert_eq!(fired, alerts);
}

/// Each alert leads to its own section, which says what it means, where to look and what to do; no section is left of an alert that is
/// gone.
#[test]
fn every_alert_has_its_section_in_the_runbook() {
    let rules = text("deploy/prometheus/alerts.yaml");
    let after = |line: &str, key: &str| line.trim().strip_prefix(key).map(|rest| rest.trim().to_owned());
    let alerts: Vec<String> = rules.lines().filter_map(|line| after(line, "- alert:")).collect();
    let runbooks: Vec<String> = rules.lines().filter_map(|line| after(line, "runbook:")).collect();
    let expected: Vec<String> =
        alerts.iter().map(|alert| format!("docs/runbook.md#{}", alert.to_lowercase())).collect();
    assert!(alerts.len() > 15);
    assert_eq!(runbooks, expected);

    let page = text("docs/runbook.md");
    let sections: Vec<(&str, &str)> =
        page.split("\n### ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    for alert in &alerts {
        let (_, told) = sections.iter().find(|(title, _)| title == alert).unwrap_or_else(|| panic!("no `### {alert}`"));
        let paragraphs: Vec<&str> = told.trim().split("\n\n").collect();
        let begins = |begin: &str| paragraphs.iter().any(|paragraph| paragraph.starts_with(begin));
        assert!(begins("Look: ") && begins("Do: ") && !paragraphs[0].starts_with("Look: "), "{alert}: {told}");
    }
    let stale =
        sections.iter().find(|(title, _)| title.starts_with("Keygate") && !alerts.iter().any(|one| one == title));
    assert_eq!(stale, None);
}
