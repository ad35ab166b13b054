//! Texts that may be keys: judged without asking anyone, and never with a crash. The same text serves as the random bytes
//! of a key with a checksum, which must be known for what it is, and no longer when one character of it is another.

#![no_main]

use keygate::domain::{
    id::{AccountId, KeyId, Scope},
    realm::{EnvironmentRules, Realms},
};
use libfuzzer_sys::fuzz_target;
use std::{convert::Infallible, sync::LazyLock};

static REALMS: LazyLock<Realms> = LazyLock::new(keygate_fuzz::realms);

/// In how many realms a text is a key with a checksum.
fn own(text: &str) -> usize {
    let forms = REALMS.iter().filter_map(|realm| {
        let form = realm.recognize(text)?;
        assert!(text.starts_with(form.prefix) && realm.environment_at(form.environment).is_some());
        assert!(text.len() >= 16 && text.len() <= 512);
        form.legacy.is_none().then_some(())
    });
    forms.count()
}

/// A key of one of the environments, made of these bytes.
fn made(bytes: &[u8]) -> String {
    let environments: Vec<&EnvironmentRules> = REALMS.iter().flat_map(|realm| &realm.environments).collect();
    let chosen = environments[bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>() % environments.len()];
    let mut endless = bytes.iter().cycle();
    let key = chosen.format.generate(|buffer| {
        buffer.fill_with(|| endless.next().copied().unwrap_or_default());
        Ok::<_, Infallible>(())
    });
    key.expect("nothing fails").expose().to_owned()
}

fuzz_target!(|text: &str| {
    assert!(own(text) <= 1, "a key with a checksum is of one realm");
    let mut key = made(text.as_bytes());
    assert_eq!(own(&key), 1, "a key that was made is known");
    let at = text.len() % key.len();
    let other = if key.as_bytes()[at] == b'x' { "y" } else { "x" };
    key.replace_range(at..=at, other);
    assert_eq!(own(&key), 0, "a key with a mistake is none");
    if let Ok(id) = KeyId::parse(text) {
        assert_eq!(KeyId::parse(&id.to_string()), Ok(id));
    }
    let _ = (AccountId::new(text), Scope::new(text));
});
