//! Texts that may be keys: judged without asking anyone, and never with a crash.

#![no_main]

use keygate::domain::{
    id::{AccountId, KeyId, Scope},
    realm::Realms,
};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static REALMS: LazyLock<Realms> = LazyLock::new(keygate_fuzz::realms);

fuzz_target!(|text: &str| {
    let mut own = 0;
    for realm in REALMS.iter() {
        let Some(form) = realm.recognize(text) else { continue };
        assert!(text.starts_with(form.prefix) && realm.environment_at(form.environment).is_some());
        assert!(text.len() >= 16 && text.len() <= 512);
        own += usize::from(form.legacy.is_none());
    }
    assert!(own <= 1, "a key with a checksum is of one realm");
    if let Ok(id) = KeyId::parse(text) {
        assert_eq!(KeyId::parse(&id.to_string()), Ok(id));
    }
    let _ = (AccountId::new(text), Scope::new(text));
});
