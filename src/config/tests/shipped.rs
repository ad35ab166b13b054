//! The files that ship with the program say what they are meant to say.

use crate::{
    config::{Settings, load},
    domain::{
        credential::extract,
        deny::DenyReason,
        id::Scope,
        key::{DigestScheme, HashAlgorithm, HashedPart, HintStyle},
        limit::{LimitRule, OnStoreFailure, Part},
        realm::{OperationSet, ParameterSource, Realm, Realms, ResetForm, WhenFull},
        request::CanonicalRequest,
    },
};
use std::{path::Path, sync::Arc, time::Duration};

fn shipped() -> Realms {
    load(&Settings::default()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn realm(name: &str) -> Arc<Realm> {
    Arc::clone(shipped().get(name).unwrap())
}

fn operation<'r>(realm: &'r Realm, method: &str, path: &str) -> (&'r str, Option<String>) {
    let request = CanonicalRequest::told(Some((method, path)), Vec::new()).unwrap();
    let matched = realm.operations.matched(request.line().unwrap()).unwrap();
    (&matched.operation.name, matched.account.map(str::to_owned))
}

fn answer(realm: &Realm, reason: DenyReason) -> (u16, &str) {
    let rendered = realm.envelope.answer(reason).unwrap();
    (rendered.status, &rendered.body)
}

fn environments(realm: &Realm) -> Vec<(&str, &str)> {
    realm.environments.iter().map(|rules| (rules.name.as_str(), rules.format.prefix())).collect()
}

#[test]
fn the_shipped_realms_load_together() {
    let realms = shipped();
    let names: Vec<_> = realms.iter().map(|realm| realm.name.as_str()).collect();
    assert_eq!(names, ["keygate", "recotap", "recoup", "recovea", "recover", "recurr"]);
}

#[test]
fn the_example_settings_are_the_defaults() {
    let text = include_str!("../../../deploy/keygate.toml");
    let read = Settings::parse("keygate.toml", text, Path::new("")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(read, Settings::default());
    let read = Settings::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/keygate.toml")).unwrap();
    assert_eq!(read.data_dir, Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/keygate-data"));
    assert_eq!(read.secrets_path(), read.data_dir.join("secrets"));
}

#[test]
fn the_example_settings_leave_none_out() {
    let text = include_str!("../../../deploy/keygate.toml");
    // Every table is asked which settings it knows, by one that it does not.
    let is_head = |line: &str| line.starts_with('[');
    let heads = text.lines().filter(|line| is_head(line));
    let mut asked = vec![("", format!("zzz = 0\n{text}"))];
    asked.extend(heads.map(|head| (head, text.replacen(head, &format!("{head}\nzzz = 0"), 1))));
    for (head, changed) in asked {
        let Err(mistakes) = Settings::parse("f", &changed, Path::new("")) else { continue };
        let all = mistakes.iter().map(ToString::to_string);
        let found: Vec<String> = all.filter(|mistake| mistake.contains("is not a known key")).collect();
        let Some((_, known)) = found.first().and_then(|one| one.split_once("is not a known key")) else { continue };
        let mut lines =
            text.lines().skip_while(|line| *line != head && !head.is_empty()).skip(usize::from(!head.is_empty()));
        let own: Vec<&str> = lines.by_ref().take_while(|line| !is_head(line)).collect();
        let table = head.trim_matches(['[', ']']);
        for name in known.split('`').skip(1).step_by(2) {
            let sub = if table.is_empty() { format!("[{name}]") } else { format!("[{table}.{name}]") };
            // What has no default stands behind a `#`.
            let stands = own.iter().any(|line| line.trim_start_matches("# ").starts_with(&format!("{name} = ")));
            assert!(
                stands || text.lines().any(|line| line == sub) || text.contains(&format!("[{sub}]")),
                "{table}: {name}"
            );
        }
    }
}

#[test]
fn recover_carries_the_numbers_of_its_contract() {
    let realm = realm("recover");
    assert_eq!(environments(&realm), [("live", "pk_live_")]);
    let taken =
        |header: (&'static str, &'static str)| extract(&realm.credentials, [header]).map(|taken| taken.text.expose());
    assert_eq!((taken(("X-Partner-Key", "k")), taken(("authorization", "Bearer k"))), (Ok("k"), Ok("k")));
    assert_eq!(realm.keys.default_grace, Duration::from_secs(86_400));

    let (hour, minute) = (Duration::from_secs(3_600), Duration::from_secs(60));
    let expected = [
        ("POST", "/v1/accounts", None, 100, hour, Part::Account),
        ("POST", "/v1/accounts/a1/leads", Some("a1"), 1_000, minute, Part::Account),
        ("POST", "/v1/accounts/a1/leads/bulk", Some("a1"), 50, minute, Part::Account),
        ("POST", "/v1/accounts/a1/embed-tokens", Some("a1"), 500, hour, Part::Account),
        ("GET", "/v1/accounts/a1/conversations", Some("a1"), 5_000, minute, Part::Account),
        ("GET", "/v1/accounts/a1/conversations/c1", Some("a1"), 5_000, minute, Part::Account),
        ("POST", "/v1/accounts/a1/messages", Some("a1"), 100, minute, Part::TargetAccount),
        ("DELETE", "/v1/accounts/a1/leads/l1", Some("a1"), 1_000, minute, Part::Account),
        ("GET", "/v1/accounts/a1", Some("a1"), 1_000, minute, Part::Account),
        ("GET", "/v1/accounts", None, 1_000, minute, Part::Account),
        ("GET", "/v2/anything", None, 1_000, minute, Part::Account),
    ];
    for (method, path, account, limit, window, per) in expected {
        let (name, captured) = operation(&realm, method, path);
        let (index, _) = realm.operations.named(name).unwrap();
        let applies: Vec<&LimitRule> =
            realm.limits.iter().filter(|rule| rule.operations.contains(Some(index))).collect();
        let [rule] = applies.as_slice() else { panic!("{method} {path}: {applies:?}") };
        assert_eq!(captured.as_deref(), account, "{method} {path}");
        assert_eq!(
            (rule.limit, rule.window, rule.per.as_slice()),
            (limit, window, [per].as_slice()),
            "{method} {path}"
        );
        assert_eq!((rule.on_store_failure, rule.shadow, rule.shape.buckets()), (OnStoreFailure::Deny, false, 60));
    }

    let table = [
        ("unauthorized", 401, "Invalid or missing Partner API key"),
        ("forbidden", 403, "Key does not have access to this resource"),
        ("not_found", 404, "Account, lead, or resource not found"),
        ("invalid_phone", 400, "Phone number format is invalid"),
        ("duplicate_lead", 409, "Lead with this external_id already exists"),
        ("account_deactivated", 403, "Account has been deactivated"),
        ("token_expired", 401, "Embed token has expired"),
        ("rate_limited", 429, "Too many requests"),
        ("validation_error", 422, "Request body failed validation"),
        ("internal_error", 500, "Internal server error"),
    ];
    assert_eq!(realm.envelope.codes().collect::<Vec<_>>(), table.map(|(code, _, _)| code));
    for (code, status, message) in table {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"{message}","status":{status}}}}}"#);
        assert_eq!(realm.envelope.render(code, "").unwrap().body, body);
    }
    for reason in [DenyReason::MissingCredential, DenyReason::AmbiguousCredential, DenyReason::RevokedKey] {
        assert_eq!(answer(&realm, reason).0, 401);
        assert!(answer(&realm, reason).1.contains("Invalid or missing Partner API key"));
    }
    assert!(answer(&realm, DenyReason::DeactivatedAccount).1.contains("account_deactivated"));
    let headers = &realm.rate_headers;
    assert_eq!(headers.limit.as_deref(), Some("X-RateLimit-Limit"));
    assert_eq!(headers.remaining.as_deref(), Some("X-RateLimit-Remaining"));
    assert_eq!(headers.reset, Some(("X-RateLimit-Reset".to_owned(), ResetForm::EpochSeconds)));
    assert!(!headers.ietf);
}

#[test]
fn recoup_refuses_neither_and_both_headers() {
    let realm = realm("recoup");
    let both = extract(&realm.credentials, [("x-api-key", "k"), ("authorization", "Bearer t")]);
    assert_eq!(both.map(|taken| taken.text.expose()), Err(DenyReason::AmbiguousCredential));
    for reason in [DenyReason::AmbiguousCredential, DenyReason::MissingCredential, DenyReason::MalformedKey] {
        assert_eq!(answer(&realm, reason).0, 401);
    }
    assert_eq!(answer(&realm, DenyReason::ForbiddenAccount).0, 403);
    for path in ["/api/agents/signup", "/api/agents/verify"] {
        let (name, _) = operation(&realm, "POST", path);
        assert!(realm.operations.named(name).unwrap().1.public, "{path}");
    }
    let (rest, _) = operation(&realm, "GET", "/api/agents/signup");
    let (_, rest) = realm.operations.named(rest).unwrap();
    assert_eq!(rest.account, Some(ParameterSource::Query("account_id".to_owned())));
    assert_eq!(rest.organization, Some(ParameterSource::Query("organization_id".to_owned())));
    assert!(!rest.public);
}

#[test]
fn recotap_keeps_one_key_for_each_user_and_shows_nothing_of_it() {
    let realm = realm("recotap");
    let keys = &realm.keys;
    assert_eq!((keys.max_active_keys, keys.when_full), (Some(1), WhenFull::Replace));
    assert_eq!((keys.default_grace, keys.max_grace), (Duration::ZERO, Duration::ZERO));
    assert_eq!((keys.default_lifetime, keys.max_lifetime, realm.hint), (None, None, HintStyle::None));
    let missing = answer(&realm, DenyReason::MissingCredential);
    assert_eq!(missing, (401, r#"{"status":401,"message":"X-Api-Key header is required"}"#));
    assert_eq!(answer(&realm, DenyReason::RevokedKey), (401, r#"{"status":401,"message":"Invalid API key"}"#));
}

#[test]
fn recurr_tells_reads_from_writes_and_knows_its_older_keys() {
    let realm = realm("recurr");
    assert_eq!(environments(&realm), [("live", "rk_live_"), ("test", "rk_test_")]);
    let (read_only, read_write) = (Scope::new("read-only").unwrap(), Scope::new("read-write").unwrap());
    for (method, path, scope) in [
        ("GET", "/", &read_only),
        ("GET", "/v1/subscribers", &read_only),
        ("HEAD", "/v1/subscribers/s1", &read_only),
        ("POST", "/v1/subscribers", &read_write),
        ("DELETE", "/", &read_write),
        ("QUERY", "/v1/subscribers", &read_write),
    ] {
        let (name, _) = operation(&realm, method, path);
        assert_eq!(realm.operations.named(name).unwrap().1.scopes, std::slice::from_ref(scope), "{method} {path}");
    }
    assert!(realm.scopes.grant(std::slice::from_ref(&read_write), &read_only));
    assert!(!realm.scopes.grant(std::slice::from_ref(&read_only), &read_write));
    assert_eq!(realm.scopes.defaults(), [read_only]);
    let invalid = r#"{"error":{"type":"unauthorized","message":"Invalid or missing API key."}}"#;
    for reason in
        [DenyReason::MissingCredential, DenyReason::MalformedKey, DenyReason::RevokedKey, DenyReason::WrongEnvironment]
    {
        assert_eq!(answer(&realm, reason), (401, invalid));
    }
    assert_eq!(answer(&realm, DenyReason::InsufficientScope).0, 403);
    let older = realm.recognize("rk_test_abcdefghijklmnopqrstuvwx").unwrap();
    let schemes = [HashedPart::Whole, HashedPart::Body].map(|part| DigestScheme::Imported(HashAlgorithm::Sha256, part));
    assert_eq!((older.environment, older.legacy), (1, Some(schemes.as_slice())));
    assert_eq!(realm.hint, HintStyle::PrefixLast4);
}

#[test]
fn recovea_answers_in_the_shape_of_openai() {
    let realm = realm("recovea");
    assert_eq!(environments(&realm), [("live", "rcv_live_"), ("test", "rcv_test_")]);
    assert_eq!(realm.hint, HintStyle::Prefix2Last4);
    for (reason, status, kind, code) in [
        (DenyReason::UnknownKey, 401, "invalid_request_error", "invalid_api_key"),
        (DenyReason::MissingCredential, 401, "invalid_request_error", "invalid_api_key"),
        (DenyReason::RateLimited, 429, "requests", "rate_limit_exceeded"),
    ] {
        let (told, body) = answer(&realm, reason);
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let error = &body["error"];
        assert_eq!((told, &error["type"], &error["code"]), (status, &kind.into(), &code.into()));
        assert!(error["param"].is_null() && error["message"].is_string());
    }
}

#[test]
fn realms_without_numbers_of_their_own_have_one_limit_for_everything() {
    for name in ["recoup", "recotap", "recurr", "recovea"] {
        let realm = realm(name);
        let everywhere: Vec<&LimitRule> =
            realm.limits.iter().filter(|limit| limit.operations == OperationSet::All).collect();
        let [limit] = everywhere.as_slice() else { panic!("{name}") };
        assert_eq!(
            (limit.limit, limit.window, &limit.operations),
            (1_000, Duration::from_secs(60), &OperationSet::All)
        );
        assert!(realm.rate_headers.ietf && realm.rate_headers.limit.as_deref() == Some("x-ratelimit-limit"));
    }
}

#[test]
fn roles_of_the_built_in_realm_reach_as_far_as_they_say() {
    let realm = realm("keygate");
    let scope = |name: &str| Scope::new(name).unwrap();
    let grants = |held: &str, needed: &str| realm.scopes.grant(&[scope(held)], &scope(needed));
    for needed in [
        "operator",
        "key-manager",
        "reader",
        "revoker",
        "key-manager@recurr",
        "reader@recover",
        "revoker@recoup",
        "minter@recover",
    ] {
        assert!(grants("operator", needed), "{needed}");
    }
    assert!(
        grants("key-manager", "reader")
            && grants("key-manager", "key-manager@recurr")
            && !grants("key-manager", "operator")
            && !grants("key-manager", "minter")
            && !grants("minter@recover", "reader@recover")
    );
    assert!(grants("key-manager@recurr", "reader@recurr") && grants("key-manager@recurr", "revoker@recurr"));
    assert!(!grants("key-manager@recurr", "reader@recover") && !grants("key-manager@recurr", "reader"));
    assert!(
        grants("revoker", "revoker@recurr")
            && !grants("revoker", "reader@recurr")
            && !grants("reader", "revoker@recurr")
    );
    assert!(!realm.scopes.knows(&scope("reader@keygate")) && realm.scopes.defaults().is_empty());
}

#[test]
fn the_reference_names_every_answer_and_the_caps() {
    use crate::{config::caps, config::text::grouped, domain::deny::Answer};
    let reference = include_str!("../../../docs/realms.md");
    for answer in Answer::ALL {
        assert!(reference.contains(&format!("| `{}` |", answer.name())), "{}", answer.name());
    }
    for (heading, cap) in [
        ("`[[environments]]`: 1 to", caps::ENVIRONMENTS),
        ("`[[credentials]]`: 1 to", caps::CREDENTIALS),
        ("`[[tokens]]`: up to", caps::ISSUERS),
        ("`[[scopes]]`: up to", caps::SCOPES),
        ("`[[operations]]`: up to", caps::OPERATIONS),
        ("`[[limits]]`: up to", caps::LIMITS),
        ("`[[errors]]`: up to", caps::ERRORS),
        ("`[[legacy_formats]]`: up to", caps::LEGACY_FORMATS),
        ("takes at most", caps::REALMS),
    ] {
        assert!(reference.contains(&format!("{heading} {cap}")), "{heading} {cap}");
    }
    for bytes in [caps::FILE_BYTES, caps::BODY_BYTES as u64, caps::MESSAGE_BYTES as u64] {
        assert!(reference.contains(&grouped(bytes)), "{bytes}");
    }
}

#[test]
fn recurr_lets_members_alone_issue_keys_and_recoup_onboards_agents() {
    let realms = shipped();
    let members = realms.get("recurr").unwrap().members.clone().unwrap();
    let names = |roles: &[crate::domain::id::MemberRole]| roles.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!((names(&members.issuers), members.required), (vec!["developer".to_owned(), "admin".to_owned()], true));
    assert_eq!(names(&members.roles), ["viewer", "developer", "admin"]);
    let recoup = realms.get("recoup").unwrap();
    let rules = recoup.onboarding.clone().unwrap();
    assert_eq!((rules.lifetime, rules.attempts), (Duration::from_secs(900), 5));
    for (limits, per) in
        [(&rules.signup_limits, vec![Part::Address, Part::Subject]), (&rules.verify_limits, vec![Part::Address])]
    {
        let counted: Vec<Part> = limits.iter().flat_map(|name| recoup.limit(name).unwrap().per.clone()).collect();
        assert_eq!(counted, per);
    }
}
