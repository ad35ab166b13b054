//! Clients' certificates that manage without a key.

use crate::{
    support::{
        calls::key_for,
        certificates::{Files, Signing},
        keygate::{DataDir, Keygate},
    },
    world::World,
};
use keygate::proto::v1::{
    ListEventsRequest, ListKeys, ManageKeysRequest, ManageKeysResponse, audit_log_client::AuditLogClient,
    authorization_client::AuthorizationClient, manage_keys_request::Operation, manage_keys_response::Result as Done,
};
use std::{
    fs,
    time::{Duration, Instant},
};
use tonic::{Code, Request, Status, transport::Channel};

const DEPLOY: &str = "spiffe://example.org/ns/ops/sa/deploy";

struct Managed {
    world: World,
    keygate: Keygate,
    address: String,
}

impl Managed {
    /// A server that gives these roles on its listener for management.
    async fn start(certificates: &str) -> Self {
        let world = World::asking("client_ca_file = \"of-clients.pem\"");
        Self::write(&world, certificates);
        let settings = world.at().join("k.toml");
        let keygate = Keygate::try_start(DataDir::new(), &["--config", settings.to_str().unwrap()]).await.unwrap();
        keygate.wait_for_output("authenticate a key").await;
        let output = keygate.output();
        let (address, _) = output.split_once("management   ").unwrap().1.split_once(" by TLS").unwrap();
        Self { world, address: address.to_owned(), keygate }
    }

    fn write(world: &World, certificates: &str) {
        let text = format!(
            "[management]\nlisten = \"127.0.0.1:0\"\nserve_on = [\"listen\", \"management\"]\n[management.tls]\n\
             certificate_file = \"server.crt\"\nkey_file = \"server.key\"\nclient_ca_file = \"of-clients.pem\"\n{certificates}"
        );
        fs::write(world.at().join("k.toml"), text).unwrap();
    }

    fn signed(&self, file: &str, signing: Signing<'_>) -> Files {
        self.world.of_clients.sign_as(self.world.at(), file, signing)
    }

    fn channel(&self, files: &Files) -> Channel {
        self.world.client(Some(files)).channel(&self.address)
    }
}

fn roles(list: &[(&str, &str)]) -> String {
    let table =
        |(name, roles): &(&str, &str)| format!("[[management.certificates]]\nname = '{name}'\nroles = [{roles}]\n");
    list.iter().map(table).collect()
}

/// Lists keys of a realm, with a key of management or without.
async fn list(channel: &Channel, realm: &str, key: Option<&str>) -> Result<(), Status> {
    let operation = Some(Operation::List(ListKeys::default()));
    let mut request = Request::new(ManageKeysRequest { realm: realm.to_owned(), operation });
    if let Some(key) = key {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    AuthorizationClient::new(channel.clone()).manage_keys(request).await.map(drop)
}

async fn create(channel: &Channel) -> Result<ManageKeysResponse, Status> {
    let operation = Some(Operation::Create(key_for("p1", "live")));
    let request = ManageKeysRequest { realm: "recover".to_owned(), operation };
    AuthorizationClient::new(channel.clone()).manage_keys(request).await.map(tonic::Response::into_inner)
}

fn code(done: Result<(), Status>) -> Code {
    done.err().map_or(Code::Ok, |status| status.code())
}

#[tokio::test]
async fn a_certificate_manages_with_the_roles_that_the_settings_give_it() {
    let deploy = roles(&[(DEPLOY, "'key-manager@recover'"), ("CN=auditor,O=Example", "'reader'")]);
    let managed = Managed::start(&deploy).await;
    let by_id = managed.channel(&managed.signed("deploy", Signing { uris: &[DEPLOY], ..Signing::default() }));
    let Some(Done::Created(created)) = create(&by_id).await.unwrap().result else { panic!("not created") };
    managed.keygate.remember(&created.secret);
    let made = created.key.unwrap();
    // In its realm, and within its role.
    assert_eq!(code(list(&by_id, "recover", None).await), Code::Ok);
    for realm in ["recurr", "keygate"] {
        assert_eq!(code(list(&by_id, realm, None).await), Code::PermissionDenied, "{realm}");
    }

    // What it did is told of it.
    let mut events = AuditLogClient::new(
        managed.channel(&managed.signed("auditor", Signing { organization: Some("Example"), ..Signing::default() })),
    );
    let actor = format!("certificate:{DEPLOY}");
    assert_eq!(made.created_by, actor);
    let ask = ListEventsRequest { realm: "recover".to_owned(), actor: actor.clone(), ..ListEventsRequest::default() };
    let found = events.list(ask).await.unwrap().into_inner().events;
    assert!(!found.is_empty() && found.iter().all(|event| event.actor == actor), "{found:#?}");
    managed.keygate.wait_for_output(&format!("actor=\"{actor}\"")).await;
    managed.keygate.wait_for_output("actor=\"certificate:CN=auditor,O=Example\"").await;
    // A reader only reads.
    let by_subject =
        managed.channel(&managed.signed("auditor", Signing { organization: Some("Example"), ..Signing::default() }));
    assert_eq!(code(list(&by_subject, "recover", None).await), Code::Ok);
    assert_eq!(create(&by_subject).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_certificate_that_is_not_named_or_names_more_manages_nothing() {
    let managed = Managed::start(&roles(&[(DEPLOY, "'operator'"), ("CN=double", "'operator'")])).await;
    let other = "spiffe://example.org/ns/ops/sa/deploy2";
    for (file, uris) in
        [("nobody", &[][..]), ("other", &[other]), ("double", &[DEPLOY, other]), ("web", &["https://example.org/"])]
    {
        let channel = managed.channel(&managed.signed(file, Signing { uris, ..Signing::default() }));
        assert_eq!(code(list(&channel, "recurr", None).await), Code::Unauthenticated, "{file}");
        // The key of an operator is as good there as elsewhere.
        assert_eq!(code(list(&channel, "recurr", Some(managed.keygate.operator())).await), Code::Ok, "{file}");
    }
    // In plain, where nobody shows anything, there is nothing to go by.
    assert_eq!(code(list(&managed.keygate.channel(), "recurr", None).await), Code::Unauthenticated);
}

#[tokio::test]
async fn a_key_goes_before_a_certificate_and_the_two_are_never_added_up() {
    let managed = Managed::start(&roles(&[(DEPLOY, "'operator'")])).await;
    let channel = managed.channel(&managed.signed("deploy", Signing { uris: &[DEPLOY], ..Signing::default() }));
    assert_eq!(code(list(&channel, "keygate", None).await), Code::Ok);
    for wrong in ["kgop_wrong", ""] {
        assert_eq!(code(list(&channel, "keygate", Some(wrong)).await), Code::Unauthenticated, "{wrong}");
    }
    managed.keygate.remember("kgop_wrong");
}

/// The connection goes on; what is managed on it is judged act by act.
#[tokio::test]
async fn roles_end_with_a_reload_and_certificates_when_they_end() {
    let managed = Managed::start(&roles(&[(DEPLOY, "'operator'")])).await;
    let lasting = managed.channel(&managed.signed("deploy", Signing { uris: &[DEPLOY], ..Signing::default() }));
    let soon = Signing { uris: &[DEPLOY], seconds: Some(8), ..Signing::default() };
    let short = managed.channel(&managed.signed("short", soon));
    assert_eq!(code(list(&short, "recurr", None).await), Code::Ok);
    let begun = Instant::now();
    while code(list(&short, "recurr", None).await) != Code::Unauthenticated {
        assert!(begun.elapsed() < Duration::from_secs(60), "it goes on though its certificate ended");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(code(list(&lasting, "recurr", None).await), Code::Ok);

    Managed::write(&managed.world, &roles(&[(DEPLOY, "'reader@recover'")]));
    assert!(managed.keygate.reload().await);
    assert_eq!(code(list(&lasting, "recurr", None).await), Code::PermissionDenied);
    assert_eq!(code(list(&lasting, "recover", None).await), Code::Ok);
    managed.keygate.wait_for_output("changed: `[[management.certificates]]`").await;
}

#[tokio::test]
async fn wrong_tables_are_told_and_nothing_starts() {
    let told = async |certificates: &str, asks: bool| {
        let world = World::new();
        let asking = if asks {
            "[tls]\ncertificate_file = \"server.crt\"\nkey_file = \"server.key\"\nclient_ca_file = \"authority.pem\"\n"
        } else {
            ""
        };
        let file = world.at().join("k.toml");
        fs::write(&file, format!("{asking}{certificates}")).unwrap();
        let ended = Keygate::try_start(DataDir::new(), &["--config", file.to_str().unwrap()]).await.err().unwrap();
        assert_eq!(ended.status.code(), Some(2));
        ended.output
    };
    for (certificates, asks, sentence) in [
        (
            roles(&[(DEPLOY, "'reader'")]),
            false,
            "management.certificates: no listener of `management.serve_on` asks its clients for a certificate; set `client_ca_file`",
        ),
        (
            roles(&[(DEPLOY, "'king'")]),
            true,
            "management.certificates[0].roles: `king` is no role; allowed are `operator`, `key-manager`",
        ),
        (roles(&[(DEPLOY, "'reader@nowhere'")]), true, "management.certificates[0].roles: `reader@nowhere` is no role"),
        (roles(&[(DEPLOY, "")]), true, "management.certificates[0].roles: is empty; must be at least one role"),
        (
            roles(&[("deploy", "'reader'")]),
            true,
            "management.certificates[0].name: `deploy` is not legal; must be a SPIFFE id such as",
        ),
        (
            roles(&[(DEPLOY, "'reader'"), (DEPLOY, "'reader'")]),
            true,
            "management.certificates[1].name: `spiffe://example.org/ns/ops/sa/deploy` is used twice",
        ),
    ] {
        let output = told(&certificates, asks).await;
        assert!(output.contains(sentence), "{sentence}\n{output}");
    }
}
