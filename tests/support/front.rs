//! A whole installation: keygate on one of its stores, a service, and Envoy between it and the world.

use super::{
    files::PATIENT,
    http::{self, Answer},
    proxy::{Change, Envoy, KEYGATE, SERVICE, SOCKET, local},
    stack::Stack,
    upstream::Upstream,
};
use std::{fs, path::Path};
use tempfile::TempDir;

/// The settings of keygate behind Envoy, as they are shipped.
pub const SETTINGS: [&str; 2] = ["--config", concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/envoy/keygate.toml")];

/// Envoy, the service behind it, and keygate beside it.
pub struct Front {
    // The order matters: Envoy ends before what it talks to.
    pub envoy: Envoy,
    pub upstream: Upstream,
    pub stack: Stack,
    /// With files that its servers use.
    _folder: Option<TempDir>,
}

impl Front {
    /// With `central.yaml`, over TCP, on Redis.
    pub async fn central() -> Self {
        let folder = TempDir::with_prefix("keygate-settings-").expect("a temporary directory can be made");
        let settings = patient(folder.path());
        let front = Self::before(Stack::redis(&["--config", &settings]).await, &[]).await;
        Self { _folder: Some(folder), ..front }
    }

    /// With `sidecar.yaml`, over a Unix socket, on the embedded store.
    pub async fn sidecar() -> Self {
        Self::sidecar_with(&SETTINGS).await
    }

    /// The same with these settings.
    pub async fn sidecar_with(settings: &[&str]) -> Self {
        let folder = TempDir::with_prefix("keygate-socket-").expect("a temporary directory can be made");
        let socket = folder.path().join("keygate.sock");
        let stack = Stack::embedded(&[settings, &["--listen-unix", text(&socket)]].concat()).await;
        let upstream = Upstream::start();
        let path = format!("path: {}", socket.display());
        let envoy = Envoy::start("sidecar.yaml", &[(SERVICE, &local(upstream.port())), (SOCKET, &path)]).await;
        Self { envoy, upstream, stack, _folder: Some(folder) }
    }

    /// With `central.yaml` and more changes, before this keygate.
    pub async fn before(stack: Stack, changes: &[Change<'_>]) -> Self {
        let upstream = Upstream::start();
        let (service, keygate) = (local(upstream.port()), local(stack.port()));
        let own = [(SERVICE, service.as_str()), (KEYGATE, keygate.as_str())];
        let envoy = Envoy::start("central.yaml", &[&own, changes].concat()).await;
        Self { envoy, upstream, stack, _folder: None }
    }

    /// With `central.yaml` and more changes, before this keygate and another one.
    pub async fn before_two(stack: Stack, other: u16, changes: &[Change<'_>]) -> Self {
        let upstream = Upstream::start();
        let both = format!(
            "{} }} }} }}\n              - endpoint: {{ address: {{ socket_address: {{ {}",
            local(stack.port()),
            local(other)
        );
        let service = local(upstream.port());
        let own = [(SERVICE, service.as_str()), (KEYGATE, both.as_str())];
        let envoy = Envoy::start("central.yaml", &[&own, changes].concat()).await;
        Self { envoy, upstream, stack, _folder: None }
    }

    /// Sends a request to the host of that realm.
    pub async fn ask(&self, realm: &str, head: &str, headers: &[(&str, &str)]) -> Answer {
        let host = format!("{realm}.localhost");
        http::send(self.envoy.port(), head, &[&[("host", host.as_str())], headers].concat(), "").await
    }

    /// The same, which the service answers: once, and with 200.
    pub async fn passes(&self, realm: &str, head: &str, headers: &[(&str, &str)]) -> Answer {
        let before = self.upstream.calls();
        let answer = self.ask(realm, head, headers).await;
        assert_eq!((answer.status, self.upstream.calls() - before), (200, 1), "{head} {headers:?}: {answer:?}");
        answer
    }

    /// The same, which never comes to the service.
    pub async fn stops(&self, realm: &str, head: &str, headers: &[(&str, &str)], status: u16) -> Answer {
        let before = self.upstream.calls();
        let answer = self.ask(realm, head, headers).await;
        assert_eq!((answer.status, self.upstream.calls() - before), (status, 0), "{head} {headers:?}: {answer:?}");
        answer
    }
}

/// What [`SETTINGS`] name, in a file of that folder with which a server waits longer for Redis.
pub fn patient(folder: &Path) -> String {
    let shipped = fs::read_to_string(SETTINGS[1]).expect("the shipped file can be read");
    let settings = folder.join("keygate.toml");
    fs::write(&settings, format!("{shipped}\n{PATIENT}")).expect("the directory can be written");
    text(&settings).to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

/// `behind_envoy! { async fn name(front) { … } }` makes the tests `name::central` (TCP, Redis) and `name::sidecar` (Unix
/// socket, embedded store). What was printed holds no secret, and no credential came to the service.
#[macro_export]
macro_rules! behind_envoy {
    ($($(#[$attribute:meta])* async fn $name:ident($front:ident) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports, reason = "what the body uses stands in the file")]
            use super::*;

            #[allow(unused_mut, reason = "some bodies restart a server")]
            async fn row(mut $front: $crate::support::front::Front) {
                $body
                $front.stack.assert_no_secret("what Envoy printed", &$front.envoy.output());
                $front.stack.assert_no_secret("what the service got", &format!("{:?}", $front.upstream.all()));
            }

            #[tokio::test]
            async fn central() {
                row($crate::support::front::Front::central().await).await;
            }

            #[tokio::test]
            async fn sidecar() {
                row($crate::support::front::Front::sidecar().await).await;
            }
        }
    )*};
}
