//! Changes: as a whole or not at all, also on a full server; records that are not keygate's.

use crate::{
    support::redis::RedisServer,
    world::{creation, creation_with, digest, found, found_by, made, open, owner, revocation},
};
use keygate::{
    app::ports::{CommitError, Freshness, Sought, Store, StoreError},
    domain::{id::RealmName, key::KeyState, time::Timestamp},
};

#[tokio::test]
async fn a_key_that_ends_on_a_full_server_ends_with_its_history_and_its_event() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    let owner = owner("acme");
    let key = made(&store, &owner, 1).await;
    let before = server.cli(&["DBSIZE"]);
    server.config_set("maxmemory", "1");

    let refused = store.commit(&creation(&owner, Some(&key.account), 2).0).await;
    assert!(
        matches!(&refused, Err(CommitError::Store(StoreError::Full(text))) if text.contains("maxmemory")),
        "{refused:?}"
    );
    assert_eq!(server.cli(&["DBSIZE"]), before, "nothing half written");
    assert_eq!(server.cli(&["HLEN", "kg1:{recurr/acme}:k"]), "1");
    assert!(found(&store, 2).await.is_none());
    let update = keygate::domain::commit::Change::begin(
        &owner,
        Some(&key.account),
        &keygate::domain::audit::Actor::System,
        Timestamp::from_micros(1),
    );
    let refused = store.commit(&update).await;
    assert!(matches!(refused, Err(CommitError::Store(StoreError::Full(_)))), "{refused:?}");

    store.commit(&revocation(&owner, &key.account, &key.key)).await.unwrap();
    let ended = found(&store, 1).await.expect("its history stays");
    assert_eq!(ended.key.state(Timestamp::from_micros(0)), KeyState::Revoked);
    assert_eq!(ended.account.version, key.account.version + 1);
    assert_eq!(server.cli(&["HLEN", "kg1:{recurr/acme}:k"]), "0");
    assert_eq!(server.cli(&["HLEN", "kg1:{recurr/acme}:h"]), "1");
    assert_eq!(server.cli(&["ZCARD", "kg1:{recurr/acme}:i"]), "0");
    assert_eq!(server.cli(&["ZCARD", "kg1:{recurr/acme}:j"]), "1");
    assert_eq!(server.cli(&["LLEN", "kg1:{recurr/acme}:l"]), ended.account.audit.length.to_string());

    server.config_set("maxmemory", "0");
    store.commit(&creation(&owner, Some(&ended.account), 2).0).await.unwrap();
    assert!(found(&store, 2).await.is_some());
}

#[tokio::test]
async fn of_two_changes_from_the_same_version_one_wins() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    let owner = owner("acme");
    let account = made(&store, &owner, 1).await.account.clone();
    let changes = [2, 3].map(|seed| (seed, creation(&owner, Some(&account), seed).0));
    let [(_, one), (_, other)] = &changes;
    let (first, second) = tokio::join!(store.commit(one), store.commit(other));
    let mut winners = 0;
    for ((seed, change), result) in changes.iter().zip([first, second]) {
        assert!(matches!(result, Ok(()) | Err(CommitError::Conflict)), "{result:?}");
        let won = result.is_ok();
        winners += u32::from(won);
        assert_eq!(found(&store, *seed).await.is_some(), won, "a lost one's lookup leads nowhere");
        let located = store.locate_key(&owner.realm, change.lookups[0].key).await.unwrap();
        assert_eq!(located.is_some(), won, "and neither does its pointer");
    }
    assert_eq!(winners, 1);
    assert_eq!(store.commit(&creation(&owner, None, 4).0).await, Err(CommitError::Conflict), "it exists");
}

#[tokio::test]
async fn a_digest_is_taken_only_while_a_key_carries_it() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    let (acme, zeta) = (owner("acme"), owner("zeta"));
    let key = made(&store, &acme, 1).await;
    let taken = creation_with(&zeta, None, 2, digest(1)).0;
    assert_eq!(store.commit(&taken).await, Err(CommitError::DigestTaken(digest(1))));
    assert_eq!(store.read_account(&zeta).await.unwrap(), None);
    store.commit(&revocation(&acme, &key.account, &key.key)).await.unwrap();
    assert_eq!(store.commit(&taken).await, Err(CommitError::DigestTaken(digest(1))), "ended keys keep theirs");

    // An act that was interrupted after its first step: the way is there, the key is not.
    let never = creation(&acme, None, 3).0;
    assert_eq!(store.commit(&never).await, Err(CommitError::Conflict));
    store.commit(&creation_with(&zeta, None, 4, digest(3)).0).await.unwrap();
    assert_eq!(found(&store, 3).await.unwrap().owner, zeta);
}

#[tokio::test]
async fn forged_and_moved_records_are_not_believed() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    let (acme, zeta) = (owner("acme"), owner("zeta"));
    let (one, two) = (made(&store, &acme, 1).await, made(&store, &zeta, 2).await);
    let realm = RealmName::new("recurr").unwrap();
    let find = async |seed: u8| {
        let sought =
            Sought { realm: &realm, digests: &[digest(seed)], freshness: Freshness::Fresh, uses: false, due: None };
        store.find_key(&sought).await
    };
    let eval = |script: &str| assert!(!server.cli(&["EVAL", script, "0"]).starts_with("(error)"), "{script}");
    let corrupt = |result: Result<_, StoreError>| matches!(result, Err(StoreError::Corrupt(_)));

    // Another account's record, an edited record, and another mark in front of an honest one.
    eval(
        "redis.call('COPY', 'kg1:{recurr/acme}:a', 'saved') return redis.call('COPY', 'kg1:{recurr/zeta}:a', 'kg1:{recurr/acme}:a', 'REPLACE')",
    );
    assert!(corrupt(find(1).await) && corrupt(store.read_account(&acme).await.map(|_| unreachable!())));
    eval(
        "redis.call('COPY', 'saved', 'kg1:{recurr/acme}:a', 'REPLACE') return redis.call('SETRANGE', 'kg1:{recurr/acme}:a', 40, 'x')",
    );
    assert!(corrupt(find(1).await));
    eval(
        "redis.call('COPY', 'saved', 'kg1:{recurr/acme}:a', 'REPLACE') return redis.call('SETRANGE', 'kg1:{recurr/acme}:a', 7, 'x')",
    );
    assert!(corrupt(find(1).await));
    eval("return redis.call('DEL', 'kg1:{recurr/acme}:a')");
    assert!(corrupt(find(1).await), "a key without its account");
    eval("return redis.call('COPY', 'saved', 'kg1:{recurr/acme}:a', 'REPLACE')");
    assert_eq!(found(&store, 1).await.unwrap().key, one.key);

    // Another key's record in a key's place.
    eval(
        "local z = redis.call('HVALS', 'kg1:{recurr/zeta}:k')[1] \
          return redis.call('HSET', 'kg1:{recurr/acme}:k', redis.call('HKEYS', 'kg1:{recurr/acme}:k')[1], z)",
    );
    assert!(corrupt(find(1).await) && corrupt(store.read_keys(&acme, &[one.key.id]).await.map(|_| unreachable!())));

    // A lookup in another digest's place, and a pointer in another key's.
    eval(
        "local d = redis.call('KEYS', 'kg1:d:*') redis.call('COPY', d[1], 'd1') \
          redis.call('COPY', d[2], d[1], 'REPLACE') redis.call('COPY', 'd1', d[2], 'REPLACE') return 1",
    );
    assert!(corrupt(find(1).await) && corrupt(find(2).await));
    eval(
        "local p = redis.call('KEYS', 'kg1:p:*') redis.call('COPY', p[1], 'p1') \
          redis.call('COPY', p[2], p[1], 'REPLACE') redis.call('COPY', 'p1', p[2], 'REPLACE') return 1",
    );
    for id in [one.key.id, two.key.id] {
        assert!(matches!(store.locate_key(&realm, id).await, Err(StoreError::Corrupt(_))));
    }
}

#[tokio::test]
async fn of_two_acts_that_want_the_same_digest_one_gets_it_and_keeps_it() {
    let server = RedisServer::start();
    let ((one, _), (other, _)) = (open(&server).await, open(&server).await);
    let busy = owner("busy");
    made(&one, &busy, 200).await;
    let mut both = 0;
    for round in 0..90_u8 {
        let digest = digest(round);
        // In every third round the digest was announced before, by an act that came to nothing.
        if round % 3 == 0 {
            let never = creation_with(&busy, None, 201, digest).0;
            assert_eq!(one.commit(&never).await, Err(CommitError::Conflict));
        }
        let owners = [owner(&format!("a{round}")), owner(&format!("b{round}"))];
        let changes = [creation_with(&owners[0], None, 1, digest).0, creation_with(&owners[1], None, 2, digest).0];
        let later = async {
            for _ in 0..round % 10 {
                other.ping().await.unwrap();
            }
            other.commit(&changes[1]).await
        };
        let results = tokio::join!(one.commit(&changes[0]), later);
        let won: Vec<usize> = [results.0, results.1]
            .iter()
            .enumerate()
            .filter_map(|(index, result)| {
                assert!(
                    matches!(result, Ok(()) | Err(CommitError::Conflict | CommitError::DigestTaken(_))),
                    "{result:?}"
                );
                result.is_ok().then_some(index)
            })
            .collect();
        both += usize::from(won.len() > 1);
        for winner in won {
            let found = found_by(&one, digest).await.expect("an acknowledged key is found");
            assert_eq!(found.owner, owners[winner], "round {round}: both own the digest");
            // Whoever comes now, with whatever was left behind, is told so.
            let third = creation_with(&owner(&format!("c{round}")), None, 3, digest).0;
            assert_eq!(other.commit(&third).await, Err(CommitError::DigestTaken(digest)));
        }
    }
    assert_eq!(both, 0);
}

#[tokio::test]
async fn a_digest_that_was_taken_meanwhile_is_not_removed_with_its_former_key() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    let (acme, zeta) = (owner("acme"), owner("zeta"));
    let key = made(&store, &acme, 1).await;
    // The act that gives the digest up, in the moment before it removes the lookup: another key has it by then.
    let minted = keygate::domain::key::Minted {
        digest: digest(2),
        scheme: keygate::domain::key::DigestScheme::Native,
        secret_version: 2,
        hint: String::new(),
    };
    let now = Timestamp::from_micros(1_900_000_000_000_000);
    let mut change = keygate::domain::key::rekey(&acme, &key.account, &key.key, &digest(1), &minted, now).unwrap();
    let forgotten = std::mem::take(&mut change.forgotten);
    store.commit(&change).await.unwrap();
    store.commit(&creation_with(&zeta, None, 4, digest(1)).0).await.unwrap();
    let account = found(&store, 2).await.unwrap().account.clone();
    let mut late = creation(&acme, Some(&account), 5).0;
    late.forgotten = forgotten;
    store.commit(&late).await.unwrap();
    assert_eq!(found(&store, 1).await.unwrap().owner, zeta);
}
