use super::mistakes::{lines, with};
use crate::config::{KekSource, ListenerName, Settings, load};
use std::{path::Path, time::Duration};

#[test]
fn providers_name_every_mistake() {
    let provider = |more: &str| {
        with(&format!(
            "[[operations]]\nname = 'a'\nfallback = true\n[[providers]]\nname = 'one'\nheader = 'authorization'\nvalue = 'Bearer {{credential}}'\n{more}"
        ))
    };
    assert_eq!(provider(""), Vec::<String>::new());
    let found = with(
        "[[operations]]\nname = 'open'\npublic = true\nroutes = ['GET /open']\n\
         [[operations]]\nname = 'rest'\nfallback = true\naccount = { header = 'x-of' }\n\
         [[providers]]\nname = 'One'\nheader = 'host'\nvalue = 'Bearer'\nwhen_missing = 'maybe'\n\
         [[providers]]\nname = 'two'\nheader = 'x-auth-account'\nvalue = '{credential}{credential}'\noperations = ['open', 'nothing']\n\
         [[providers]]\nname = 'two'\nheader = 'x_of'\nvalue = ' {credential}'\n",
    );
    let found: Vec<&str> = found.iter().filter_map(|line| line.split_once(": ").map(|(_, said)| said)).collect();
    let template = "must be at most 256 visible ASCII characters with `{credential}` in them, once";
    let expected = [
        "providers[0].name: `One` is not legal; must be a lower-case letter, then up to 31 of `a-z 0-9 -`".to_owned(),
        "providers[0].header: `host` is not legal; must not be a header that belongs to the connection or to the message's framing".to_owned(),
        format!("providers[0].value: `Bearer` is not legal; {template}"),
        "providers[0].when_missing: `maybe` is not known; allowed are `deny` and `pass`".to_owned(),
        "providers[1].header: `x-auth-account` is read or set already; must be another header".to_owned(),
        format!("providers[1].value: `{{credential}}{{credential}}` is not legal; {template}"),
        "providers[1].operations: `open` needs no credential, so nobody's can be released; must name operations that are not public".to_owned(),
        "providers[1].operations[1]: `nothing` is no operation of this realm; allowed are `open` and `rest`".to_owned(),
        "providers[2].name: `two` is used twice; each must be there once".to_owned(),
        "providers[2].header: `x_of` is read or set already; must be another header".to_owned(),
        format!("providers[2].value: ` {{credential}}` is not legal; {template}"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_provider_that_no_request_goes_to_is_a_mistake() {
    let two = "[[operations]]\nname = 'a'\nfallback = true\n\
               [[providers]]\nname = 'one'\nheader = 'authorization'\nvalue = '{credential}'\n\
               [[providers]]\nname = 'two'\nheader = 'x-key'\nvalue = '{credential}'\n";
    let found = with(two);
    let allowed = "must have an operation that no provider above has, or `provider_header` be given";
    assert!(
        matches!(found.as_slice(), [line] if line.ends_with(&format!("no request goes to `two`; {allowed}"))),
        "{found:?}"
    );
}

#[test]
fn the_vault_of_the_settings_names_every_mistake() {
    let text = "[vault]\nrelease_on = ['tcp']\nremember = '1m'\n\
                [[vault.key_encryption_keys]]\nname = 'k1'\nfile = 'a'\nenv = 'B'\n\
                [[vault.key_encryption_keys]]\nname = 'k2'\n\
                [[vault.key_encryption_keys]]\nname = 'k3'\nenv = '1B'\n\
                [[vault.key_encryption_keys]]\nname = 'k4'\n\
                transit = { url = 'http://user:hunter2@vault', key = 'a/b', mount = '../x' }\n";
    let found = lines(Settings::parse("k", text, Path::new("")));
    assert!(!found.concat().contains("hunter2"), "{found:#?}");
    let found: Vec<&str> = found.iter().filter_map(|line| line.split_once(": ").map(|(_, said)| said)).collect();
    let expected = [
        "vault.release_on[0]: `tcp` is not known; allowed are `listen`, `listen_unix` and `management`",
        "vault.remember: `1m` is out of range; must be 100ms to 30s",
        "vault.key_encryption_keys: 0 of them say `primary = true`; exactly one must: new credentials are sealed with it, the others only open",
        "vault.key_encryption_keys[0].env: is one source too many; must be one of `file`, `env` and `transit`",
        "vault.key_encryption_keys[1].file: is missing; must be given, or `env` or `transit` in its place",
        "vault.key_encryption_keys[2].env: `1B` is not legal; must be the name of an environment variable: 1 to 128 of `A-Z a-z 0-9 _`",
        "vault.key_encryption_keys[3].transit.token_file: is missing; must be the file with the service's token",
        "vault.key_encryption_keys[3].transit.url: is not the address of a service that can be trusted; must be `https://…`, or `http://…` of this machine (`localhost`, 127.0.0.1, [::1]), without user and fragment",
        "vault.key_encryption_keys[3].transit.key: `a/b` is not legal; must be 1 to 128 of `A-Z a-z 0-9 . _ -`",
        "vault.key_encryption_keys[3].transit.mount: `../x` is not legal; must be 1 to 128 of `A-Z a-z 0-9 . _ -`, or several of them joined by `/`",
    ];
    assert_eq!(found, expected);
}

#[test]
fn plain_http_is_for_this_machine_alone() {
    let with = |url: &str| {
        let text = format!(
            "[[vault.key_encryption_keys]]\nname = 'k'\nprimary = true\n\
             transit = {{ url = '{url}', key = 'k', token_file = 't' }}\n[vault]\nrelease_on = ['listen_unix']\n"
        );
        Settings::parse("k", &text, Path::new("/etc/keygate"))
    };
    for url in [
        "https://vault.internal",
        "https://10.0.0.1:8200/",
        "http://127.0.0.1:8200",
        "http://[::1]:8200",
        "http://localhost",
    ] {
        assert!(with(url).is_ok(), "{url}");
    }
    for url in [
        "",
        "vault:8200",
        "http://vault",
        "http://10.0.0.1",
        "http://127.0.0.1.example.com",
        "https://vault/v1",
        "https://vault?x",
        "ftp://127.0.0.1",
    ] {
        assert!(with(url).is_err(), "{url}");
    }
    let vault = with("https://vault.internal").unwrap().vault;
    assert_eq!((vault.release_on, vault.remember), (vec![ListenerName::ListenUnix], Duration::from_secs(5)));
    let KekSource::Transit(transit) = &vault.keks[0].source else { panic!() };
    assert_eq!((transit.token_file.as_path(), transit.mount.as_str()), (Path::new("/etc/keygate/t"), "transit"));
}

#[test]
fn a_realm_with_providers_needs_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let shipped = include_str!("../../../deploy/realms/recovea.toml");
    let path = directory.path().join("recovea.toml");
    std::fs::write(&path, shipped.replace("#vault ", "").replace("#vault\n", "\n")).unwrap();
    let settings = Settings { realms: crate::config::RealmFiles::Paths(vec![path]), ..Settings::default() };
    let found = lines(load(&settings));
    let missing = "vault.key_encryption_keys: is missing, and realm `recovea` has `[[providers]]`; must be at least one key: see docs/vault.md";
    assert!(matches!(found.as_slice(), [line] if line.ends_with(missing)), "{found:?}");
}
