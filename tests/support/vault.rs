//! A server with a vault: its keys, its settings, and the realm `recovea` with providers.

use super::{
    calls::{by_key, charged, signed},
    files::PATIENT,
    keygate::Keygate,
};
use keygate::proto::v1::{
    Allowed, AuthenticateRequest, ProviderCredential, PutCredentialRequest, RewrapCredentialsRequest,
    RewrapCredentialsResponse, vault_client::VaultClient,
};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tonic::{Status, transport::Channel};

/// The mark before what of a realm's file needs a vault.
const MARK: &str = "#vault ";

/// The files of a server with a vault.
pub struct VaultFiles {
    dir: TempDir,
    /// Lines before the section of the vault.
    before: String,
}

impl VaultFiles {
    /// With these keys, each a table of `[[vault.key_encryption_keys]]` without its head; they may name files of `kek`.
    pub fn new(keks: &[&str]) -> Self {
        Self::with_settings("", keks)
    }

    /// The same, with more settings.
    pub fn with_settings(before: &str, keks: &[&str]) -> Self {
        let dir = TempDir::with_prefix("keygate-vault-").expect("a temporary directory can be made");
        let files = Self { dir, before: before.to_owned() };
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/realms/recovea.toml");
        let shipped = fs::read_to_string(shipped).expect("the realm is shipped");
        assert!(shipped.lines().filter(|line| line.starts_with(MARK)).count() > 5);
        files.realm(&shipped.replace(MARK, "").replace("#vault\n", "\n"));
        for (name, byte) in [("k1", "11"), ("k2", "22"), ("other", "33")] {
            fs::write(files.path(name), byte.repeat(32)).expect("the directory can be written");
        }
        files.settings(keks, &["listen", "listen_unix"]);
        files
    }

    /// A file of this directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the realm.
    pub fn realm(&self, text: &str) {
        fs::write(self.path("recovea.toml"), text).expect("the directory can be written");
    }

    /// Writes the settings.
    pub fn settings(&self, keks: &[&str], release_on: &[&str]) {
        let keks: String = keks.iter().map(|kek| format!("[[vault.key_encryption_keys]]\n{kek}\n")).collect();
        let before = &self.before;
        let text = format!("{before}\n[vault]\nrelease_on = {release_on:?}\nremember = \"100ms\"\n{keks}{PATIENT}");
        fs::write(self.path("keygate.toml"), text).expect("the directory can be written");
    }

    /// The arguments of a server with these files.
    pub fn arguments(&self) -> Vec<String> {
        let text = |name: &str| self.path(name).to_str().expect("a plain name").to_owned();
        vec!["--config".to_owned(), text("keygate.toml"), "--realm-file".to_owned(), text("recovea.toml")]
    }
}

/// A table of `[[vault.key_encryption_keys]]` for a key in a file of that name.
pub fn in_file(name: &str, primary: bool) -> String {
    format!("name = \"{name}\"\nprimary = {primary}\nfile = \"{name}\"")
}

/// A request of a key that asks for the provider's credential.
pub fn releasing(key: &str) -> AuthenticateRequest {
    let request = charged(by_key("recovea", key), "POST", "/v1/chat/completions", 1);
    AuthenticateRequest { release_credential: true, ..request }
}

/// The headers to send on, as lines.
pub fn upstream(allowed: &Allowed) -> Vec<String> {
    allowed.upstream_headers.iter().map(|header| format!("{}: {}", header.name, header.value)).collect()
}

pub fn putting(account: &str, environment: &str, provider: &str, credential: &str) -> PutCredentialRequest {
    PutCredentialRequest {
        realm: "recovea".to_owned(),
        account_id: account.to_owned(),
        environment: environment.to_owned(),
        provider: provider.to_owned(),
        credential: credential.to_owned(),
    }
}

impl Keygate {
    pub fn vault(&self) -> VaultClient<Channel> {
        VaultClient::new(self.channel())
    }

    pub async fn try_put(&self, request: PutCredentialRequest) -> Result<ProviderCredential, Status> {
        let put = self.vault().put_credential(signed(Some(self.operator()), request)).await;
        put.map(tonic::Response::into_inner).map_err(|status| self.checked(status))
    }

    /// Deposits a credential, which from now on may stand in nothing that is printed.
    pub async fn put(&self, account: &str, environment: &str, provider: &str, credential: &str) -> ProviderCredential {
        self.remember(credential);
        let put = self.try_put(putting(account, environment, provider, credential)).await;
        put.unwrap_or_else(|status| panic!("not deposited: {status:?}"))
    }

    pub async fn try_rewrap(&self, size: i32, token: &str) -> Result<RewrapCredentialsResponse, Status> {
        let (realm, page_token) = ("recovea".to_owned(), token.to_owned());
        let request = RewrapCredentialsRequest { realm, page_size: size, page_token, all: false };
        let done = self.vault().rewrap_credentials(signed(Some(self.operator()), request)).await;
        done.map(tonic::Response::into_inner).map_err(|status| self.checked(status))
    }

    /// Goes through every account in pages of that size; gives how many credentials were moved, and the keys that are lost.
    pub async fn rewrap(&self, size: i32) -> (u64, Vec<(String, u64)>) {
        let (mut moved, mut lost, mut token) = (0, Vec::new(), String::new());
        loop {
            let done = self.try_rewrap(size, &token).await.unwrap_or_else(|status| panic!("not done: {status:?}"));
            moved += done.rewrapped;
            lost.extend(done.lost.into_iter().map(|lost| (lost.key_encryption_key, lost.credentials)));
            if done.next_page_token.is_empty() {
                return (moved, lost);
            }
            assert_ne!(done.next_page_token, token);
            token = done.next_page_token;
        }
    }
}

/// `with_vault! { async fn name(stack, files) { … } }` makes the tests `name::embedded` and `name::redis`, on a server with one
/// key in a file.
#[macro_export]
macro_rules! with_vault {
    ($(async fn $name:ident($stack:ident, $files:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "what the body uses stands in the file")]
            use super::*;
            use $crate::support::{stack::Stack, vault::{VaultFiles, in_file}};

            #[allow(unused_mut, unused_variables, reason = "some bodies restart the server, some read its files")]
            async fn row(mut $stack: Stack, $files: VaultFiles) $body

            fn files() -> (VaultFiles, Vec<String>) {
                let files = VaultFiles::new(&[&in_file("k1", true)]);
                let arguments = files.arguments();
                (files, arguments)
            }

            #[tokio::test]
            async fn embedded() {
                let (files, arguments) = files();
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                row(Stack::embedded(&arguments).await, files).await;
            }

            #[tokio::test]
            async fn redis() {
                let (files, arguments) = files();
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                row(Stack::redis(&arguments).await, files).await;
            }
        }
    )*};
}
