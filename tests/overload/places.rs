//! Who holds all places of one listener keeps nobody out of another.

use crate::support::calls::signed;
use crate::{
    frames::Wire,
    support::{
        calls::{Answered, by_key},
        operations::OPERATIONS,
    },
    world,
};
use keygate::proto::v1::{
    ListKeys, ManageKeysRequest, authorization_client::AuthorizationClient, manage_keys_request::Operation,
};
use std::time::Duration;
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
    let mut refused = 0;
    for wire in &mut wires {
        refused += usize::from(wire.ended(Duration::from_millis(20)).await.is_some());
    }
    assert!(refused >= 19, "{refused} were refused");

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
    drop(wires);
    let mut wires = Vec::new();
    for _ in 0..300 {
        wires.push(Wire::open(&address).await.unwrap());
    }
    let page = keygate.metrics().await;
    assert!(page.sum("keygate_connections_refused_total", &[("reason", "no_place")]) >= 19.0, "{}", page.text);
    keygate.authenticate(by_key("recurr", &key)).await.allowed();
}
