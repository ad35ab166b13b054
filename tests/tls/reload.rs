//! Certificates that change while calls come: none is lost, and whoever connects afterwards is shown the new one.

use crate::{
    support::{
        calls::{Answered, by_key},
        certificates::Authority,
        keygate::{Keygate, Secured},
    },
    world::{World, shown},
};
use keygate::proto::v1::authorization_client::AuthorizationClient;
use rustls::ALL_VERSIONS;
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tonic::transport::Channel;

const FLIPS: usize = 20;
const CONNECTIONS: usize = 4;

async fn ask(channel: &Channel, operator: &str) {
    let answer = AuthorizationClient::new(channel.clone()).authenticate(by_key("keygate", operator)).await;
    answer.unwrap_or_else(|status| panic!("not answered: {status:?}")).into_inner().allowed();
}

/// Calls until told to end, the whole time over one connection, or each over a new one.
async fn load(keygate: &Keygate, client: Secured, anew: bool, ended: Arc<AtomicBool>) -> usize {
    let (address, operator) = (keygate.address().to_owned(), keygate.operator().to_owned());
    let work = tokio::spawn(async move {
        let kept = client.channel(&address);
        let mut calls = 0;
        while !ended.load(Ordering::Relaxed) {
            if anew {
                ask(&client.channel(&address), &operator).await;
            } else {
                ask(&kept, &operator).await;
            }
            calls += 1;
        }
        calls
    });
    work.await.unwrap()
}

#[tokio::test]
async fn no_call_is_lost_while_certificates_are_renewed() {
    let world = World::new();
    let keygate = world.start("[reload]\ncheck_every = \"0s\"\n", &[]).await;
    let config = world.config(ALL_VERSIONS, &["h2"], None);
    let files = ["one", "two"].map(|name| world.authority.sign(world.at(), name, &["127.0.0.1"]));
    let ended = Arc::new(AtomicBool::new(false));
    let calls = (0..CONNECTIONS).map(|at| load(&keygate, world.client(None), at % 2 == 0, Arc::clone(&ended)));
    let flips = async {
        for flip in 0..FLIPS {
            let now = &files[flip % 2];
            now.replace(&world.server);
            assert!(keygate.reload().await);
            assert_eq!(shown(keygate.port(), &config).await, now.shown(), "flip {flip}");
        }
        ended.store(true, Ordering::Relaxed);
    };
    let (calls, ()) = tokio::join!(futures(calls), flips);
    assert!(calls.iter().all(|&calls| calls > 0), "{calls:?}");
    assert!(keygate.output().contains("changed: `[tls]`"), "{}", keygate.output());
}

async fn futures<F: Future<Output = usize>>(all: impl Iterator<Item = F>) -> Vec<usize> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(calls) => {
                done.push(calls);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[tokio::test]
async fn a_renewed_certificate_is_noticed_without_a_signal() {
    let world = World::new();
    let keygate = world.start("[reload]\ncheck_every = \"100ms\"\n", &[]).await;
    let config = world.config(ALL_VERSIONS, &["h2"], None);
    let renewed = world.authority.sign(world.at(), "renewed", &["127.0.0.1"]);
    renewed.replace(&world.server);
    let deadline = Instant::now() + Duration::from_secs(20);
    while shown(keygate.port(), &config).await != renewed.shown() {
        assert!(Instant::now() < deadline, "{}", keygate.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whoever is connected goes on; whoever connects is judged by the new authorities.
#[tokio::test]
async fn other_authorities_hold_for_new_connections() {
    let world = World::asking("client_ca_file = \"clients.pem\"");
    fs::copy(&world.of_clients.file, world.at().join("clients.pem")).unwrap();
    let keygate = world.start("", &[]).await;
    let before = world.client(Some(&world.client_files()));
    let kept = before.channel(keygate.address());
    ask(&kept, keygate.operator()).await;
    let another = Authority::new(world.at(), "another");
    let after = world.client(Some(&another.sign(world.at(), "after", &["client.example"])));
    let served = async |client: &Secured| {
        let ask = by_key("keygate", keygate.operator());
        AuthorizationClient::new(client.channel(keygate.address())).authenticate(ask).await.is_ok()
    };
    assert!(served(&before).await && !served(&after).await);
    fs::copy(&another.file, world.at().join("clients.pem")).unwrap();
    assert!(keygate.reload().await);
    assert!(!served(&before).await && served(&after).await);
    ask(&kept, keygate.operator()).await;
}

/// A table that got lost opens no listener: whether TLS is spoken takes a restart.
#[tokio::test]
async fn tls_is_not_turned_off_by_a_reload() {
    let world = World::new();
    let keygate = world.start("", &[]).await;
    fs::write(world.at().join("keygate.toml"), "").unwrap();
    assert!(keygate.reload().await);
    keygate.wait_for_output("stay as they were until then: `tls`").await;
    ask(&world.client(None).channel(keygate.address()), keygate.operator()).await;
}
