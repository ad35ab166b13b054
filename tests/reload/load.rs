//! Under load: files flip between two states while requests come, and every answer is of one state wholly.

use crate::support::calls::{by_key, well_formed};
use crate::world::{NEVER, RELOADED, World, read, realm};
use keygate::proto::v1::{
    AuthenticateRequest, authenticate_response::Outcome, authorization_client::AuthorizationClient,
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

const FLIPS: usize = 50;
const CONNECTIONS: usize = 6;

/// A state of the realm in which two limits, the status and the text of an error all say which one it is.
fn state(mark: u32) -> String {
    let limit = 1_000_000 + mark;
    let second = format!(
        "\n[[limits]]\nname = \"more\"\nlimit = {limit}\nwindow = \"1h\"\nper = [\"key\"]\noperations = [\"read\"]\n"
    );
    realm("one", limit)
        .replace("who are you", &format!("who are you {mark}"))
        .replace("= 401", &format!("= {}", 410 + mark))
        + &second
}

/// The marks that an answer carries.
async fn marks(client: &mut AuthorizationClient<tonic::transport::Channel>, ask: AuthenticateRequest) -> BTreeSet<u32> {
    let answer =
        client.authenticate(ask).await.unwrap_or_else(|status| panic!("not answered: {status:?}")).into_inner();
    match answer.outcome.unwrap() {
        Outcome::Allowed(_) => {
            assert_eq!(answer.limits.len(), 2);
            answer.limits.iter().map(|limit| u32::try_from(limit.limit).unwrap() - 1_000_000).collect()
        }
        Outcome::Denied(denied) => {
            let said = denied.body.split("who are you ").nth(1).unwrap_or_else(|| panic!("{denied:?}"));
            BTreeSet::from([denied.http_status - 410, said[..1].parse().unwrap()])
        }
    }
}

async fn every_answer_is_of_one_state(world: World) {
    let (_, key) = world.stack.new_key("one", "acme", "live").await;
    let stranger = well_formed("one_live_", &"c".repeat(22));
    let ended = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let (ended, key, stranger, endpoint) =
            (Arc::clone(&ended), key.clone(), stranger.clone(), world.stack.endpoint());
        clients.push(tokio::spawn(async move {
            let mut client = AuthorizationClient::connect(endpoint).await.unwrap();
            let (mut asked, mut seen) = (0, BTreeSet::new());
            while !ended.load(Ordering::Relaxed) {
                let ask = if asked % 2 == 0 { read("one", &key) } else { by_key("one", &stranger) };
                let marks = marks(&mut client, ask).await;
                assert_eq!(marks.len(), 1, "an answer is of two states");
                seen.extend(marks);
                asked += 1;
            }
            (asked, seen)
        }));
    }
    for flip in 1..=FLIPS {
        world.write("one", &state(u32::try_from(flip % 2).unwrap()));
        world.reload().await;
        // Whoever asks after the server has said so gets the new state.
        let mut client = AuthorizationClient::connect(world.stack.endpoint()).await.unwrap();
        let now = marks(&mut client, read("one", &key)).await;
        assert_eq!(now, BTreeSet::from([u32::try_from(flip % 2).unwrap()]));
    }
    ended.store(true, Ordering::Relaxed);
    let (mut asked, mut seen) = (0, BTreeSet::new());
    for client in clients {
        let (by_one, seen_by_one) = client.await.unwrap();
        asked += by_one;
        seen.extend(seen_by_one);
    }
    assert_eq!((world.count(RELOADED), seen), (FLIPS, BTreeSet::from([0, 1])));
    assert!(asked > 1_000, "{asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_of_one_state_embedded() {
    every_answer_is_of_one_state(
        World::with(None, NEVER, &[("one", state(0))], "threads = 3\n[limits]\nmisses_per_source = 0").await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_of_one_state_redis() {
    let redis = crate::support::redis::RedisServer::start();
    let world =
        World::with(Some(redis), NEVER, &[("one", state(0))], "threads = 3\n[limits]\nmisses_per_source = 0").await;
    every_answer_is_of_one_state(world).await;
}
