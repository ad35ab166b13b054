//! A request as a proxy tells it: whatever is taken as canonical has one meaning.
//! Input: method, host, target, then name and value of headers, each on a line of its own.

#![no_main]

use keygate::domain::{
    credential::extract,
    realm::Realm,
    request::{CanonicalRequest, ProxiedRequest},
};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

static REALM: LazyLock<Arc<Realm>> =
    LazyLock::new(|| Arc::clone(keygate_fuzz::realms().get("fuzz").expect("the realm is loaded")));

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let (method, host) = (text(), text());
    let target = lines.next().unwrap_or_default();
    let rest: Vec<&[u8]> = lines.collect();
    let headers = rest.chunks_exact(2).filter_map(|pair| Some((std::str::from_utf8(pair[0]).ok()?, pair[1])));
    let Ok(request) = CanonicalRequest::proxied(ProxiedRequest { method, host, target, headers }, &REALM) else {
        return;
    };
    let line = request.line().expect("a proxy tells what is asked for");
    let path = line.path().as_str();
    assert!(
        path.starts_with('/')
            && !path.contains("//")
            && !path.contains(['\\', '%'])
            && !path.chars().any(char::is_control)
    );
    assert!(path == "/" || !path.ends_with('/'));
    assert!(path.split('/').all(|segment| !matches!(segment.split(';').next(), Some("." | ".."))));
    let credentials = request.headers().filter(|(name, _)| {
        let name = name.to_ascii_lowercase().replace('_', "-");
        ["x-api-key", "authorization"].contains(&name.strip_suffix("-bin").unwrap_or(&name))
    });
    let credentials = credentials.count();
    if let Ok(taken) = extract(&REALM.credentials, request.headers()).map(|taken| taken.text.expose()) {
        assert!(credentials == 1 && !taken.is_empty() && !taken.contains(','));
    }
    if let Some(matched) = REALM.operations.matched(line) {
        let _ = (request.account(&matched), request.organization(&matched));
    }
});
