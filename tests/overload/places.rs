//! Who holds all places of one listener keeps nobody out of another; and who asks for nothing keeps nobody out at all.

use crate::support::calls::signed;
use crate::{
    frames::{ASKED, AUTHENTICATE, Wire, call},
    support::{
        calls::{Answered, by_key},
        keygate::Keygate,
        operations::OPERATIONS,
    },
    world,
};
use keygate::proto::v1::{
    ListKeys, ManageKeysRequest, authorization_client::AuthorizationClient, manage_keys_request::Operation,
};
use tokio::time::timeout;
use tonic::transport::Endpoint;

#[tokio::test]
async fn operators_get_in_while_every_place_of_the_port_is_taken() {
    let keygate =
        world::server_with("[management]\nlisten = \"127.0.0.1:0\"\n[limits]\nconnections = 20", &OPERATIONS).await;
    let (_, key) = keygate.new_key("recurr", "acme", "live").await;
    let mut wires = Vec::new();
    for _ in 0..40 {
        wires.push(Wire::open(keygate.address()).await.unwrap());
    }
    let made_room = async || keygate.metrics().await.sum("keygate_connections_ended_total", &[("reason", "made_room")]);
    let all_came = async { while made_room().await < 19.0 {} };
    timeout(world::RECOVERY, all_came).await.expect("those that came first make room");

    let socket = keygate.data_dir().join("keygate.sock");
    let through = |endpoint: String| async move { Endpoint::from_shared(endpoint).unwrap().connect().await };
    let on_socket = through(format!("unix:{}", socket.display())).await.unwrap();
    let answer = AuthorizationClient::new(on_socket).authenticate(by_key("recurr", &key)).await;
    answer.unwrap().into_inner().allowed();

    let output = keygate.output();
    let (_, rest) = output.split_once("management   ").expect("it says where it is managed");
    let address = rest.split_whitespace().find(|word| word.contains("127.0.0.1:")).unwrap();
    let address = address.trim_start_matches("http://").to_owned();
    let manager = through(format!("http://{address}")).await.unwrap();
    let list = ManageKeysRequest { realm: "recurr".to_owned(), operation: Some(Operation::List(ListKeys::default())) };
    AuthorizationClient::new(manager).manage_keys(signed(Some(keygate.operator()), list.clone())).await.unwrap();

    // Nor does whoever holds all of management's keep anybody from deciding.
    let before = made_room().await;
    drop(wires);
    let mut wires = Vec::new();
    for _ in 0..300 {
        wires.push(Wire::open(&address).await.unwrap());
    }
    let taken = async { while made_room().await < before + 40.0 {} };
    timeout(world::RECOVERY, taken).await.expect("those that came first make room");
    keygate.authenticate(by_key("recurr", &key)).await.allowed();
}

/// A server with so few places, on which nobody has to begin soon.
async fn with_places(places: usize) -> Keygate {
    let settings = format!("[limits]\nconnections = {places}\narrival_timeout = \"5m\"");
    world::server_with(&settings, &OPERATIONS).await
}

async fn ask(wire: &mut Wire, stream: u32) -> bool {
    timeout(world::RECOVERY, wire.ask(&call(stream, AUTHENTICATE, ASKED), 1)).await.expect("answered or ended")
}

#[tokio::test]
async fn whoever_comes_takes_the_place_of_the_first_that_never_asked() {
    let keygate = with_places(8).await;
    let open = || async { Wire::open(keygate.address()).await.unwrap() };
    let mut asked = open().await;
    assert!(ask(&mut asked, 1).await);
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(open().await);
    }
    // On a busy machine one that is cut off may take longer to go than the one that came waits.
    let late = async { while !ask(&mut open().await, 1).await {} };
    timeout(world::RECOVERY, late).await.expect("there is room");
    // Those that came first have gone, and those that came last may still ask, as may whoever did before.
    for wire in &mut silent[..10] {
        assert!(wire.ended(world::RECOVERY).await.is_some());
    }
    let mut kept = 0;
    for wire in &mut silent[10..] {
        kept += usize::from(ask(wire, 1).await);
    }
    assert!((1..=7).contains(&kept) && ask(&mut asked, 3).await, "{kept} were kept");
    let page = keygate.metrics().await;
    assert!(page.sum("keygate_connections_ended_total", &[("reason", "made_room")]) >= 10.0, "{}", page.text);
}

#[tokio::test]
async fn whoever_asked_makes_room_for_nobody() {
    let keygate = with_places(4).await;
    let mut asked = Vec::new();
    let refused = loop {
        let mut wire = Wire::open(keygate.address()).await.unwrap();
        if !ask(&mut wire, 1).await {
            break wire;
        }
        asked.push(wire);
        assert!(asked.len() <= 4);
    };
    for wire in &mut asked {
        assert!(ask(wire, 3).await, "it was cut off");
    }
    keygate.wait_for_output("too many connections: a new one was closed").await;
    let page = keygate.metrics().await;
    assert!(page.sum("keygate_connections_refused_total", &[("reason", "no_place")]) >= 1.0, "{}", page.text);

    // A place that gets free is given on.
    drop((asked, refused));
    let served = async { while !ask(&mut Wire::open(keygate.address()).await.unwrap(), 1).await {} };
    timeout(world::RECOVERY, served).await.expect("there is room");
}
