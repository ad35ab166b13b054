//! A secret that moves from one digest to another while it is looked for.

use crate::{
    support::redis::RedisServer,
    world::{TestClock, digest, made, open, owner},
};
use keygate::{
    app::ports::{Found, Freshness, Sought, Store},
    domain::{
        key::{DigestScheme, Minted, rekey},
        time::Timestamp,
    },
    store::{CacheSettings, Cached},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

const ROUNDS: u8 = 120;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_never_unknown_while_its_secret_moves() {
    let server = RedisServer::start();
    let ((writer, _), (reader, _)) = (open(&server).await, open(&server).await);
    let acme = owner("acme");
    let mut key = made(&writer, &acme, 0).await;
    let (round, reads) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicU64::new(0)));
    let looking = tokio::spawn({
        let (round, reads, realm) = (Arc::clone(&round), Arc::clone(&reads), acme.realm.clone());
        async move {
            let memory = Cached::new(reader, CacheSettings::default(), TestClock::new());
            loop {
                let now = round.load(Ordering::SeqCst);
                if now == ROUNDS {
                    return;
                }
                let digests = [digest(2 * now + 1), digest(2 * now)];
                for freshness in [Freshness::Remembered, Freshness::Fresh] {
                    let found = memory
                        .find_key(&Sought { realm: &realm, digests: &digests, freshness, uses: false, due: None })
                        .await;
                    assert!(matches!(found, Ok(Found::Key(_))), "round {now}: {found:?}");
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    });
    for now in 0..ROUNDS {
        round.store(now, Ordering::SeqCst);
        let seen = reads.load(Ordering::SeqCst);
        while reads.load(Ordering::SeqCst) < seen + 2 && !looking.is_finished() {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        let minted = Minted {
            digest: digest(2 * now + 1),
            scheme: DigestScheme::Native,
            secret_version: 2,
            hint: String::new(),
        };
        let instant = Timestamp::from_micros(1_900_000_000_000_000);
        let change = rekey(&acme, &key.account, &key.key, &digest(2 * now), &minted, instant).unwrap();
        writer.commit(&change).await.unwrap();
        key = made(&writer, &acme, 2 * now + 2).await;
    }
    round.store(ROUNDS, Ordering::SeqCst);
    looking.await.unwrap();
}
