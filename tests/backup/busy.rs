//! A backup of a store that changes all the time: each account is as of one instant, and nobody waits.

use crate::{
    bench::{Kind, Place, Ran, allowed, assert_same, backing_up, backup, folder},
    forward::{import, raw},
    support::calls::key_for,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

async fn while_it_changes(kind: Kind) {
    let (old, (_folder, file)) = (Place::new(kind), folder());
    let server = Arc::new(old.serve().await);
    // One account that takes many pages, and many that take one.
    import(&server, "large", 0, 2_500).await;
    for number in 0..100 {
        server.create("recovea", key_for(&format!("small-{number}"), "live")).await;
    }
    let (stop, acts, calls) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let acting = tokio::spawn({
        let (server, stop, acts) = (Arc::clone(&server), Arc::clone(&stop), Arc::clone(&acts));
        async move {
            while !stop.load(Ordering::SeqCst) {
                let number = acts.fetch_add(1, Ordering::SeqCst);
                let (id, _) = server.new_key("recovea", "large", "test").await;
                server.revoke("recovea", &id).await;
                server.create("recovea", key_for(&format!("small-{}", number % 100), "test")).await;
            }
        }
    });
    let calling = tokio::spawn({
        let (server, stop, calls) = (Arc::clone(&server), Arc::clone(&stop), Arc::clone(&calls));
        async move {
            while !stop.load(Ordering::SeqCst) {
                allowed(&server, "recovea", &raw(calls.fetch_add(1, Ordering::SeqCst) % 2_500)).await;
            }
        }
    });
    while acts.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    let before = acts.load(Ordering::SeqCst);
    let child = backing_up(&server, &file("busy")).spawn().unwrap();
    let done = tokio::task::spawn_blocking(|| Ran::end(child)).await.unwrap().ends(0);
    let during = acts.load(Ordering::SeqCst) - before;
    stop.store(true, Ordering::SeqCst);
    acting.await.unwrap();
    calling.await.unwrap();
    assert!(during > 0, "nothing changed while the backup was made");
    assert_eq!(done.json()["accounts"], 102, "{done:?}");

    let new = old.sibling(Kind::Embedded);
    // What is not a whole chain, or parts with its account, would be left out.
    assert_eq!(new.restore(&file("busy"), &[]).ends(0).counts(), [102, 0, 0, 0, 0]);
    // The second backup finds what came since, and only that.
    backup(&server, &file("quiet"));
    let [written, advanced, same, newer, left_out] = new.restore(&file("quiet"), &["--merge"]).ends(0).counts();
    assert_eq!((written, newer, left_out, advanced + same), (0, 0, 0, 102));
    drop(server);
    let server = new.serve().await;
    backup(&server, &file("again"));
    assert_same(&file("quiet"), &file("again"));
}

#[tokio::test]
async fn an_embedded_store_that_changes() {
    while_it_changes(Kind::Embedded).await;
}

#[tokio::test]
async fn a_redis_that_changes() {
    while_it_changes(Kind::Redis).await;
}
