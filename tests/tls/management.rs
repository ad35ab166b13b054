//! Management on a listener of its own, with TLS of its own.

use crate::{
    support::{
        calls::{Answered, by_key},
        keygate::{DataDir, Keygate},
    },
    world::World,
};
use keygate::proto::v1::{
    GetAccountRequest, ManageKeysRequest, authorization_client::AuthorizationClient, directory_client::DirectoryClient,
};
use std::fs;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

fn signed<T>(keygate: &Keygate, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {}", keygate.operator()).parse().unwrap());
    request
}

/// What comes of two acts: whether they were refused for the listener.
async fn refused(keygate: &Keygate, channel: &Channel) -> [bool; 2] {
    let get = GetAccountRequest { realm: "recurr".to_owned(), account_id: "nobody".to_owned() };
    let got = DirectoryClient::new(channel.clone()).get_account(signed(keygate, get)).await.unwrap_err();
    let nothing = ManageKeysRequest { realm: "recurr".to_owned(), operation: None };
    let asked = AuthorizationClient::new(channel.clone()).manage_keys(signed(keygate, nothing)).await.unwrap_err();
    [got, asked].map(|status: Status| {
        let refused = status.message().starts_with("nothing is managed on this listener: `management.serve_on`");
        assert_eq!(refused, status.code() == Code::PermissionDenied, "{status:?}");
        refused
    })
}

#[tokio::test]
async fn a_listener_that_serves_decisions_refuses_management_and_the_other_has_it() {
    let world = World::asking("client_ca_file = \"of-clients.pem\"");
    let settings = world.at().join("k.toml");
    let text = "listen_unix = \"k.sock\"\n[management]\nlisten = \"127.0.0.1:0\"\nserve_on = [\"management\"]\n\
                [management.tls]\ncertificate_file = \"server.crt\"\nkey_file = \"server.key\"\n\
                client_ca_file = \"of-clients.pem\"\n";
    fs::write(&settings, text).unwrap();
    let keygate = Keygate::try_start(DataDir::new(), &["--config", settings.to_str().unwrap()]).await.unwrap();
    keygate.wait_for_output("authenticate a key").await;
    let output = keygate.output();
    let (address, _) = output.split_once("management   ").unwrap().1.split_once(" by TLS").unwrap();

    let socket = format!("unix:{}", world.at().join("k.sock").display());
    let socket = Endpoint::from_shared(socket).unwrap().connect().await.unwrap();
    let management = world.client(Some(&world.client_files())).channel(address);
    for (channel, refuses) in [(keygate.channel(), true), (socket, true), (management, false)] {
        assert_eq!(refused(&keygate, &channel).await, [refuses; 2]);
        let ask = by_key("keygate", keygate.operator());
        AuthorizationClient::new(channel).authenticate(ask).await.unwrap().into_inner().allowed();
    }
    // Who shows no certificate does not come in there.
    let stranger = world.client(None).channel(address);
    assert!(AuthorizationClient::new(stranger).authenticate(by_key("keygate", keygate.operator())).await.is_err());

    // Renewed like every other certificate.
    let config = world.config(rustls::ALL_VERSIONS, &["h2"], Some(&world.client_files()));
    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let renewed = world.authority.sign(world.at(), "renewed", &["127.0.0.1"]);
    renewed.replace(&world.server);
    assert!(keygate.reload().await);
    assert_eq!(crate::world::shown(port, &config).await, renewed.shown());
}
