//! Whatever is taken as canonical is read alike by everyone; everything else is refused. On random input.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use keygate::{
    config::{self, Settings},
    domain::{
        credential::extract,
        realm::Realm,
        request::{CanonicalRequest, Host, ProxiedRequest, RequestError},
    },
};
use proptest::{collection::vec, prelude::*, sample::subsequence};
use std::sync::{Arc, LazyLock};

static RECOUP: LazyLock<Arc<Realm>> = LazyLock::new(|| {
    let realms = config::load(&Settings::default()).expect("the shipped realms are right");
    Arc::clone(realms.get("recoup").expect("recoup is shipped"))
});

fn proxied<'r>(target: &'r str, headers: &'r [(String, String)]) -> Result<CanonicalRequest<'r>, RequestError> {
    let lines = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let request = ProxiedRequest { method: "GET", host: "api.example.com", target: target.as_bytes(), headers: lines };
    CanonicalRequest::proxied(request, &RECOUP)
}

/// Decodes every escape that is one, as a careless server does, and again where that made new ones.
fn decoded(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, others @ ..] = rest {
        let escape = others.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &others[2..];
            }
            None => {
                out.push(*first);
                rest = others;
            }
        }
    }
    out
}

/// What a server makes of a path that resolves dots, merges slashes, turns backslashes and cuts parameters off.
fn resolved(path: &str) -> Vec<String> {
    let mut segments: Vec<String> = Vec::new();
    for segment in path.replace('\\', "/").split('/').filter(|segment| !segment.is_empty()) {
        match segment.split(';').next().unwrap() {
            "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment.to_owned()),
        }
    }
    segments
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn a_path_that_is_taken_means_one_thing_to_every_server(
        path in "/(/|%2e|%2E|%2F|%5c|\\.|\\.\\.|;|a|b|%41|%3a|%3B|\\\\|%|%25|~|%7e|\\?|&|=|#|ä|%c3%a4|%ff| |%20|\u{7f}){0,10}"
    ) {
        let Ok(request) = proxied(&path, &[]) else { return Ok(()) };
        let taken = request.line().unwrap().path().as_str().to_owned();
        let raw = path.split('?').next().unwrap();
        // Whoever decodes reads what we read, but for a slash at the end, and whoever decodes once more reads it again.
        let mut read = decoded(raw);
        if read.len() > 1 && read.last() == Some(&b'/') {
            read.pop();
        }
        prop_assert_eq!(&read, taken.as_bytes());
        prop_assert!(taken == "/" || !taken.ends_with('/'));
        prop_assert_eq!(decoded(&taken), taken.as_bytes());
        // Resolving, merging or cutting changes nothing, before and after decoding.
        for form in [raw, taken.as_str()] {
            let plain: Vec<&str> = form.split('/').skip(1).collect();
            let plain = if plain.last() == Some(&"") { &plain[..plain.len() - 1] } else { &plain[..] };
            prop_assert_eq!(resolved(form), plain);
        }
        prop_assert!(!taken.chars().any(char::is_control));
        prop_assert!(raw.is_ascii() && !path.contains('#'));
    }

    #[test]
    fn a_look_alike_of_an_identity_header_never_passes(
        header in subsequence(vec!["x-auth-account", "x-auth-target-account", "x-auth-key-id", "x-auth-scopes"], 1),
        swaps in vec(any::<bool>(), 32),
        capitals in vec(any::<bool>(), 32),
        binary in any::<bool>(),
    ) {
        let twin: String = header[0].char_indices().map(|(at, c)| match c {
            '-' if swaps[at] => '_',
            c if capitals[at] => c.to_ascii_uppercase(),
            c => c,
        }).collect();
        let twin = if binary { format!("{twin}-bin") } else { twin };
        let genuine = twin.eq_ignore_ascii_case(header[0]);
        let headers = [(twin, "root".to_owned())];
        let found = proxied("/v1", &headers);
        // The header itself is no reason to refuse: it is overwritten or taken out. It is never read.
        prop_assert_eq!(found.is_ok(), genuine);
        prop_assert!(found.is_err() || found.unwrap().headers().next().is_none());
    }

    #[test]
    fn two_credentials_in_whatever_disguise_are_never_one(
        names in vec("(x-api-key|X-API-KEY|x_api_key|x-api_key|x-api-key-bin|authorization|Authorization|authorization-bin)", 2..4),
        value in "[a-z]{1,8}",
    ) {
        let headers: Vec<(String, String)> = names.into_iter().map(|name| (name, format!("Bearer {value}"))).collect();
        let request = proxied("/v1", &headers).unwrap();
        prop_assert!(extract(&RECOUP.credentials, request.headers()).is_err());
    }

    #[test]
    fn an_account_of_the_query_is_read_alike_or_refused(
        query in "((account_id|Account_Id|account_id\\[\\]|account%5fid|account\\.id|x|%00account_id)(=|)(a|b|%61|%00|\\+|)(&|;|)){0,4}"
    ) {
        let target = format!("/v1?{query}");
        let Ok(request) = proxied(&target, &[]) else { return Ok(()) };
        let matched = RECOUP.operations.matched(request.line().unwrap()).unwrap();
        let Ok(found) = request.account(&matched) else { return Ok(()) };
        // Readers that part at `;`, ignore case, know lists, or take the last one.
        let lenient = |c: char| if c == '.' { '_' } else { c.to_ascii_lowercase() };
        let named: Vec<Vec<u8>> = query.split(['&', ';']).filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = String::from_utf8(decoded(name)).unwrap();
            let name: String = name.split('[').next().unwrap().chars().map(lenient).collect();
            (name == "account_id").then(|| decoded(value))
        }).collect();
        let expected: Vec<Vec<u8>> = found.iter().map(|account| account.as_str().as_bytes().to_vec()).collect();
        prop_assert_eq!(named, expected, "{}", query);
    }

    #[test]
    fn a_host_is_one_name_however_it_is_written(host in "[A-Za-z0-9.:@/\\[\\]_-]{0,20}") {
        if let Ok(found) = Host::new(&host) {
            let found = found.as_str().to_owned();
            prop_assert_eq!(found.to_ascii_lowercase(), found.as_str());
            prop_assert!(!found.contains(['@', '/', '[', ']']));
            prop_assert!(!found.ends_with('.') || host.contains(".."));
        }
    }
}
