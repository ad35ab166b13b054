use super::*;
use crate::domain::id::{AccountId, RealmName};

fn owner(realm: &str, account: &str) -> AccountRef {
    AccountRef { realm: RealmName::new(realm).unwrap(), account: AccountId::new(account).unwrap() }
}

fn credential(text: &str) -> ProviderCredential {
    ProviderCredential::new(Zeroizing::new(text.to_owned())).ok().unwrap()
}

#[test]
fn the_cipher_is_aes_256_gcm() {
    // Test case 16 of McGrew and Viega, "The Galois/Counter Mode of Operation", which NIST SP 800-38D refers to.
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    let key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    let nonce: Nonce = hex("cafebabefacedbaddecaf888").try_into().unwrap();
    let msg = hex(concat!(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    ));
    let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let sealed = hex(concat!(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838",
        "c5f61e6393ba7a0abcc9f662",
        "76fc6ece0f4e1768cddf8853bb2d551b"
    ));
    let key = <[u8; KEY_BYTES]>::try_from(key).unwrap();
    assert_eq!(cipher(&key).encrypt(&nonce.into(), Payload { msg: &msg, aad: &aad }).unwrap(), sealed);
}

#[test]
fn a_credential_opens_in_its_own_place_and_nowhere_else() {
    let (acme, other, foreign) = (owner("recovea", "acme"), owner("recovea", "acmf"), owner("recurr", "acme"));
    let [live, test] = ["live", "test"].map(|name| Environment::new(name).unwrap());
    let [openai, anthropic] = ["openai", "anthropic"].map(|name| ProviderName::new(name).unwrap());
    let (key, nonce) = (DataKey::new(Zeroizing::new([7; 32])), [9; NONCE_BYTES]);
    let kek = KeyEncryptionKey::from_slice(&[3; 32]).unwrap();
    let own = Belonging { owner: &acme, environment: &live, provider: &openai };
    let sealed = key.seal(&nonce, &own, &credential("sk-secret")).unwrap();
    let wrapped = kek.wrap(&nonce, &own.associated_data(Part::DataKey), &key).unwrap();
    assert_eq!(key.open(&nonce, &own, &sealed).unwrap().expose(), "sk-secret");
    assert_eq!(kek.open(&own.associated_data(Part::DataKey), &wrapped).unwrap().expose(), key.expose());

    for elsewhere in [
        Belonging { owner: &other, ..own },
        Belonging { owner: &foreign, ..own },
        Belonging { environment: &test, ..own },
        Belonging { provider: &anthropic, ..own },
    ] {
        assert!(key.open(&nonce, &elsewhere, &sealed).is_none(), "{elsewhere:?}");
        assert!(kek.open(&elsewhere.associated_data(Part::DataKey), &wrapped).is_none(), "{elsewhere:?}");
    }
    // A part is not the other one, a key is not another one, and no byte may differ.
    assert!(kek.open(&own.associated_data(Part::Credential), &wrapped).is_none());
    assert!(DataKey::new(Zeroizing::new([8; 32])).open(&nonce, &own, &sealed).is_none());
    let other = KeyEncryptionKey::from_slice(&[4; 32]).unwrap();
    assert!(other.open(&own.associated_data(Part::DataKey), &wrapped).is_none());
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(key.open(&nonce, &own, &changed).is_none());
    }
    assert!(kek.open(&own.associated_data(Part::DataKey), &wrapped[..10]).is_none());
}

#[test]
fn no_two_places_are_bound_to_the_same_bytes() {
    // With plain concatenation these would be one.
    let (one, two) = (owner("ab", "c"), owner("a", "bc"));
    let [live, ive] = ["live", "ive"].map(|name| Environment::new(name).unwrap());
    let [p, lp] = ["p", "lp"].map(|name| ProviderName::new(name).unwrap());
    let bound = |owner, environment, provider| {
        [Part::Credential, Part::DataKey].map(|part| Belonging { owner, environment, provider }.associated_data(part))
    };
    let mut all: Vec<Vec<u8>> =
        [bound(&one, &live, &p), bound(&two, &live, &p), bound(&one, &ive, &p), bound(&one, &ive, &lp)].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 8);
}
