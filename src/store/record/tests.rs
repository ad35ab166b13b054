use super::*;
use crate::domain::{
    account::AccountStatus,
    audit::{Act, Chain},
    entry::EntryKind,
    id::{EntryName, KekName, MemberId, MemberRole, ProviderName, Scope},
    key::{DigestScheme, HashAlgorithm, HashedPart, KeySecret, Revocation, SecretRing, ServerSecret},
    member::Member,
    onboarding::Signup,
    seal::WrappedKey,
    time::Timestamp,
    vault::{Slot, StoredCredential},
};
use smallvec::smallvec;
use zeroize::Zeroizing;

fn codec(secret: u8) -> RecordCodec {
    let ring = SecretRing::new(vec![ServerSecret::new(1, Zeroizing::new([secret; 32]))]).unwrap();
    RecordCodec::new(&ring)
}

fn owner(account: &str) -> AccountRef {
    AccountRef { realm: RealmName::new("recurr").unwrap(), account: AccountId::new(account).unwrap() }
}

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn key() -> KeyRecord {
    let secret = |n: u8, retires_at| KeySecret {
        number: 3 - u32::from(n),
        digest: Digest::from_bytes([n; 32]),
        scheme: DigestScheme::Imported(HashAlgorithm::Sha512, HashedPart::Body),
        secret_version: 3,
        hint: "rk_live_…abcd".to_owned(),
        created_at: at(1_700_000_000_000_000 + u64::from(n)),
        retires_at,
    };
    KeyRecord {
        id: KeyId::from_bytes([7; 16]),
        environment: Environment::new("live").unwrap(),
        name: "ci ünïcode".to_owned(),
        scopes: smallvec![Scope::new("read-only").unwrap(), Scope::new("b").unwrap()],
        metadata: [("team".to_owned(), "a".to_owned()), ("empty".to_owned(), String::new())].into(),
        suspended: true,
        created_at: at(1_700_000_000_000_000),
        // Clocks of two nodes may differ: a change may seem to come before the creation.
        updated_at: at(1_699_999_999_999_999),
        expires_at: Some(at(0)),
        not_before: Some(at(7)),
        networks: ["192.0.2.0/24", "2001:db8::/32"].iter().map(|network| network.parse().unwrap()).collect(),
        resumed_at: Some(at(8)),
        version: 9,
        secrets: smallvec![secret(1, None), secret(2, Some(at(5)))],
        created_by: KeyId::from_bytes([9; 16]).to_string(),
        revoked: Some(Revocation { at: at(77), reason: "leaked".to_owned(), by: "keygate".to_owned() }),
        member: Some(MemberId::new("auth0|ann").unwrap()),
    }
}

#[test]
fn every_record_survives_its_stored_form() {
    let (codec, owner) = (codec(1), owner("acme"));
    let key = key();
    let used = LastUse { at: at(9), address: Some([192, 0, 2, 1].into()) };
    let counted = SecretUse { last: used, count: 7 };
    let sealed = codec.encode_secret_use(&owner, key.id, 2, &counted);
    assert_eq!(codec.decode_secret_use(&owner, key.id, 2, &sealed), Ok(counted));
    assert!(codec.decode_secret_use(&owner, key.id, 1, &sealed).is_err(), "it is of another secret");
    assert_eq!(codec.decode_key(&owner, key.id, &codec.encode_key(&owner, key.id, &key)), Ok(key.clone()));
    let bare = KeyRecord {
        expires_at: None,
        not_before: None,
        networks: smallvec![],
        resumed_at: None,
        revoked: None,
        member: None,
        metadata: Default::default(),
        scopes: smallvec![],
        ..key.clone()
    };
    assert_eq!(codec.decode_key(&owner, key.id, &codec.encode_key(&owner, key.id, &bare)), Ok(bare));

    let ids = |ids: &[&str]| -> Vec<AccountId> { ids.iter().map(|id| AccountId::new(id).unwrap()).collect() };
    for (above, organizations, length) in [(ids(&[]), ids(&[]), 0), (ids(&["near", "far"]), ids(&["a", "b"]), 5)] {
        let head = if length == 0 { [0; 32] } else { [8; 32] };
        let (status, audit) = (AccountStatus::Offboarded, Chain { length, head });
        let account = Account { above, organizations, status, version: 4, created_at: at(3), audit };
        assert_eq!(codec.decode_account(&owner, &codec.encode_account(&owner, &account)), Ok(account));
    }

    let lookup = Lookup { owner: owner.clone(), environment: key.environment.clone(), key: key.id };
    let digest = Digest::from_bytes([5; 32]);
    assert_eq!(codec.decode_lookup(&digest, &codec.encode_lookup(&digest, &lookup)), Ok(lookup));

    let sealed = codec.encode_pointer(&owner.realm, key.id, &owner.account);
    assert_eq!(codec.decode_pointer(&owner.realm, key.id, &sealed), Ok(owner.account.clone()));

    let mut event = AuditEvent {
        sequence: 12,
        at: at(99),
        actor: "KEY_07070707070707070707070707".to_owned(),
        act: Act::KeyRotated,
        environment: Some(key.environment.clone()),
        key: Some(key.id),
        other: None,
        member: None,
        fields: vec!["secrets".to_owned()],
        previous: [6; 32],
        hash: [0; 32],
    };
    let other = AccountId::new("organization").unwrap();
    for (environment, id, other) in [(None, None, Some(other)), (Some(key.environment.clone()), Some(key.id), None)] {
        let member = id.is_some().then(|| MemberId::new("ann").unwrap());
        event = AuditEvent { environment, key: id, other, member, ..event };
        event.hash = event.expected_hash();
        let sealed = codec.encode_event(&owner, 12, &event);
        assert_eq!(codec.decode_event(&owner, 12, &sealed), Ok(event.clone()));
    }

    for keys in [vec![], vec![key.id, KeyId::from_bytes([8; 16])]] {
        let record = IdempotencyRecord { slot: [4; 32], fingerprint: [5; 32], keys, expires_at: at(8) };
        let sealed = codec.encode_idempotency(&owner, &[4; 32], &record);
        assert_eq!(codec.decode_idempotency(&owner, &[4; 32], &sealed), Ok(record));
    }
}

#[test]
fn an_entry_is_opened_under_its_own_kind_and_name_alone() {
    let (codec, home) = (codec(1), owner("acme"));
    let id = |name| EntryId::from(&MemberId::new(name).unwrap());
    for keys in [vec![], vec![KeyId::from_bytes([7; 16]), KeyId::from_bytes([8; 16])]] {
        let entry = Entry::Member(Member { roles: vec![MemberRole::new("admin").unwrap()], added_at: at(3), keys });
        let sealed = codec.encode_entry(&home, &id("ann"), &entry);
        assert_eq!(codec.decode_entry(&home, &id("ann"), &sealed), Ok(entry));
        assert!(codec.decode_entry(&home, &id("anm"), &sealed).is_err());
        assert!(codec.decode_entry(&owner("acmf"), &id("ann"), &sealed).is_err());
        let another_kind = EntryId { kind: EntryKind::Signup, ..id("ann") };
        assert!(codec.decode_entry(&home, &another_kind, &sealed).is_err());
    }
    let place = EntryId { kind: EntryKind::Signup, name: EntryName::new("0ff").unwrap() };
    let (address, name) = ("agent@example.com".to_owned(), "an agent".to_owned());
    let (random, code, expires_at) = ([7; 14], [8; 32], at(9));
    let signup = Entry::Signup(Signup { random, code, address, name, expires_at, attempts: 3 });
    let sealed = codec.encode_entry(&home, &place, &signup);
    assert_eq!(codec.decode_entry(&home, &place, &sealed), Ok(signup));
}

#[test]
fn a_credential_is_opened_in_its_own_account_and_slot_alone() {
    let (codec, home) = (codec(1), owner("acme"));
    let slot = |environment, provider| {
        let (environment, provider) = (Environment::new(environment).unwrap(), ProviderName::new(provider).unwrap());
        Slot { environment, provider }.entry().unwrap()
    };
    let entry = Entry::Credential(StoredCredential {
        nonce: [1; 12],
        sealed: vec![2; 40],
        key: WrappedKey { kek: KekName::new("k1").unwrap(), bytes: vec![3; 60] },
        created_at: at(4),
        updated_at: at(5),
        updated_by: KeyId::from_bytes([9; 16]).to_string(),
    });
    let own = slot("live", "openai");
    let sealed = codec.encode_entry(&home, &own, &entry);
    assert_eq!(codec.decode_entry(&home, &own, &sealed), Ok(entry));
    assert!(codec.decode_entry(&owner("acmf"), &own, &sealed).is_err(), "another account");
    for other in [slot("test", "openai"), slot("live", "anthropic"), EntryId { kind: EntryKind::Member, ..own.clone() }]
    {
        assert!(codec.decode_entry(&home, &other, &sealed).is_err(), "{other:?}");
    }
}

#[test]
fn a_record_that_was_moved_changed_cut_or_forged_is_not_opened() {
    let (codec, home) = (codec(1), owner("acme"));
    let key = key();
    let sealed = codec.encode_key(&home, key.id, &key);

    assert!(codec.decode_key(&owner("acmf"), key.id, &sealed).is_err());
    let other_realm = AccountRef { realm: RealmName::new("recover").unwrap(), ..home.clone() };
    assert!(codec.decode_key(&other_realm, key.id, &sealed).is_err());
    assert!(codec.decode_key(&home, KeyId::from_bytes([8; 16]), &sealed).is_err());
    assert!(codec.decode_account(&home, &sealed).is_err(), "another kind");
    assert!(self::codec(2).decode_key(&home, key.id, &sealed).is_err(), "another secret");

    for length in 0..sealed.len() {
        assert!(codec.decode_key(&home, key.id, &sealed[..length]).is_err(), "cut to {length}");
    }
    for place in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        assert!(codec.decode_key(&home, key.id, &changed).is_err(), "changed at {place}");
    }
}

#[test]
fn an_error_names_kind_and_place_and_nothing_of_the_contents() {
    let (codec, home) = (codec(1), owner("acme"));
    let key = key();
    let mut sealed = codec.encode_key(&home, key.id, &key);
    sealed[0] = 2;
    let newer = codec.decode_key(&home, key.id, &sealed).unwrap_err().to_string();
    assert_eq!(
        newer,
        format!(
            "the store holds a record that cannot be trusted: key `{}` of account `acme` of realm `recurr` has a version \
             that this keygate does not know",
            key.id
        )
    );
    let lookup = codec.decode_lookup(&Digest::from_bytes([0xab; 32]), &sealed[..1]).unwrap_err().to_string();
    assert!(lookup.contains("lookup `abababab…`"), "{lookup}");
}

#[test]
fn records_stay_small() {
    let (codec, home) = (codec(1), owner("acct_0001"));
    let mut key = key();
    key.secrets.truncate(1);
    let typical = KeyRecord {
        name: "ci".to_owned(),
        metadata: Default::default(),
        expires_at: None,
        not_before: None,
        networks: smallvec![],
        resumed_at: None,
        revoked: None,
        updated_at: key.created_at,
        scopes: smallvec![Scope::new("read-only").unwrap()],
        ..key.clone()
    };
    let size = codec.encode_key(&home, key.id, &typical).len();
    assert!(size <= 160, "a plain key takes {size} bytes");
}
