//! The connection to a running keygate: an ordinary client of its gRPC API.

use super::{
    failure::Failure,
    secrets::{self, GivenKey},
    secure::Secure,
    values,
};
use crate::proto::v1::{
    Account, AddMemberRequest, AddMemberResponse, AuthenticateRequest, AuthenticateResponse, CheckRateLimitRequest,
    CheckRateLimitResponse, CreateAccountRequest, CreateAccountResponse, DeleteCredentialRequest,
    DeleteCredentialResponse, GetAccountRequest, GetMemberRequest, ListCredentialsRequest, ListCredentialsResponse,
    ListDeadLettersRequest, ListDeadLettersResponse, ListMembersRequest, ListMembersResponse, ManageKeysRequest,
    Member, MembershipRequest, MintEmbedTokenRequest, MintEmbedTokenResponse, ProviderCredential, PutCredentialRequest,
    RedeliverRequest, RedeliverResponse, RemoveMemberRequest, RemoveMemberResponse, RewrapCredentialsRequest,
    RewrapCredentialsResponse, SetAccountStatusRequest, SetAccountStatusResponse, SetMemberRolesRequest, SignupRequest,
    SignupResponse, SurveyRequest, SurveyResponse, TestWebhookRequest, TestWebhookResponse, VerifyRequest,
    VerifyResponse, authorization_client::AuthorizationClient, directory_client::DirectoryClient,
    embed_tokens_client::EmbedTokensClient, manage_keys_request::Operation, manage_keys_response,
    onboarding_client::OnboardingClient, secrets_client::SecretsClient, vault_client::VaultClient,
    webhooks_client::WebhooksClient,
};
use std::{future::Future, path::PathBuf, time::Duration};
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, AsciiMetadataKey, MetadataValue},
    transport::{Channel, Endpoint},
};
use zeroize::Zeroizing;

/// A page may hold 1,000 keys with all the metadata that is allowed, far more than gRPC's usual 4 MiB.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// What is the same for every command that asks a server stands apart in its help.
pub(super) const HEADING: &str = "Connection";

/// Where keygate is, and how long to wait for it.
#[derive(Debug, Clone, clap::Args)]
pub struct Connection {
    /// Where keygate listens: `http://host:port`, `https://host:port` or `unix:/path/to/socket`
    #[arg(long, value_name = "URL", help_heading = HEADING, env = "KEYGATE_ENDPOINT", default_value = "http://127.0.0.1:50051")]
    pub endpoint: String,
    /// How long to wait for each answer, such as `500ms` or `10s`
    #[arg(long, value_name = "SPAN", help_heading = HEADING, default_value = "5s", value_parser = values::parse_timeout)]
    pub timeout: Duration,
    #[command(flatten)]
    pub secure: Secure,
}

/// The same, with the key that management asks for.
#[derive(Debug, Clone, clap::Args)]
pub struct Management {
    /// The realm
    #[arg(long, value_name = "NAME", env = "KEYGATE_REALM")]
    pub realm: String,
    #[command(flatten)]
    pub connection: Connection,
    /// File with the management key; without it `KEYGATE_KEY` holds the key, or ./keygate-data/operator.key does
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub key_file: Option<PathBuf>,
    /// Send the credential alone in this header, in place of `authorization: Bearer …`: for keys of a realm that manages its own
    #[arg(long, value_name = "HEADER", help_heading = HEADING, value_parser = parse_header_name)]
    pub key_header: Option<AsciiMetadataKey>,
}

fn parse_header_name(text: &str) -> Result<AsciiMetadataKey, &'static str> {
    let named = AsciiMetadataKey::from_bytes(text.to_ascii_lowercase().as_bytes());
    named.map_err(|_| "allowed is the name of a header, such as `x-api-key`")
}

/// A client of one server.
pub struct Client {
    channel: Channel,
    inner: AuthorizationClient<Channel>,
    endpoint: String,
    timeout: Duration,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When the endpoint is none, or nobody answers there in time.
    pub async fn open(self) -> Result<Client, Failure> {
        let channel = self.channel().await?;
        let Self { endpoint, timeout, .. } = self;
        let inner = AuthorizationClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        Ok(Client { channel, inner, endpoint, timeout })
    }
}

impl Connection {
    /// Connects, for any service.
    ///
    /// # Errors
    /// When the endpoint is none, or nobody answers there in time.
    pub async fn channel(&self) -> Result<Channel, Failure> {
        let Self { endpoint, timeout, secure } = self;
        check_endpoint(endpoint)?;
        let target = Endpoint::from_shared(endpoint.clone()).map_err(|_| not_an_endpoint(endpoint))?;
        let opening = async {
            if target.uri().scheme_str() == Some("https") {
                return secure.connect(target.uri(), &target).await;
            }
            target.connect().await.map_err(|error| Failure::unreachable(endpoint, &error))
        };
        tokio::time::timeout(*timeout, opening).await.unwrap_or_else(|_| Err(late(endpoint, *timeout)))
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), Failure> {
    if let Some(path) = endpoint.strip_prefix("unix:") {
        let absolute = path.starts_with('/') && !path.starts_with("//");
        return if absolute { Ok(()) } else { Err(not_an_endpoint(endpoint)) };
    }
    let uri: http::Uri = endpoint.parse().map_err(|_| not_an_endpoint(endpoint))?;
    let plain =
        matches!(uri.scheme_str(), Some("http" | "https")) && matches!(uri.path(), "" | "/") && uri.query().is_none();
    // Whoever writes `user:secret@host` would read it again in errors.
    let bare = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if plain && bare { Ok(()) } else { Err(not_an_endpoint(endpoint)) }
}

fn not_an_endpoint(endpoint: &str) -> Failure {
    let shown = if endpoint.contains('@') { "…" } else { endpoint };
    Failure::usage(format!(
        "the endpoint `{shown}` is none: allowed is `http://host:port`, `https://host:port` or `unix:/path/to/socket`"
    ))
}

fn late(endpoint: &str, timeout: Duration) -> Failure {
    Failure::late(endpoint, &values::span_for_people(&values::to_proto(timeout)))
}

impl Client {
    /// Asks who is calling. The server takes the id as what the request is called.
    ///
    /// # Errors
    /// When the server refuses, fails, or is out of reach.
    pub async fn authenticate(
        &mut self,
        request: AuthenticateRequest,
        id: Option<&MetadataValue<Ascii>>,
    ) -> Result<AuthenticateResponse, Failure> {
        let mut request = self.request(request);
        if let Some(id) = id {
            request.metadata_mut().insert("x-request-id", id.clone());
        }
        let (endpoint, timeout) = (self.endpoint.clone(), self.timeout);
        answered(&endpoint, timeout, self.inner.authenticate(request)).await
    }

    /// Charges limits, or looks at them.
    ///
    /// # Errors
    /// When the server refuses, fails, or is out of reach.
    pub async fn check_rate_limit(
        &mut self,
        request: CheckRateLimitRequest,
    ) -> Result<CheckRateLimitResponse, Failure> {
        let request = self.request(request);
        let (endpoint, timeout) = (self.endpoint.clone(), self.timeout);
        answered(&endpoint, timeout, self.inner.check_rate_limit(request)).await
    }

    /// Has a one-time code sent.
    ///
    /// # Errors
    /// When the server refuses, fails, or is out of reach.
    pub async fn signup(&mut self, request: SignupRequest) -> Result<SignupResponse, Failure> {
        let request = self.request(request);
        let mut onboarding = OnboardingClient::new(self.channel.clone());
        answered(&self.endpoint, self.timeout, onboarding.signup(request)).await
    }

    /// Brings a one-time code back.
    ///
    /// # Errors
    /// When the server refuses, fails, or is out of reach.
    pub async fn verify(&mut self, request: VerifyRequest) -> Result<VerifyResponse, Failure> {
        let request = self.request(request);
        let mut onboarding = OnboardingClient::new(self.channel.clone());
        answered(&self.endpoint, self.timeout, onboarding.verify(request)).await
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        // The server may stop working on what nobody waits for any more.
        request.set_timeout(self.timeout);
        request
    }
}

/// The answer to a call, which is waited for so long.
///
/// # Errors
/// When the server refuses, fails, or is out of reach.
pub async fn answered<T>(
    endpoint: &str,
    timeout: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(timeout, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        // The transport, too, watches the deadline that the request carries, and says so in this way.
        Ok(Err(status)) if status.code() == Code::Cancelled && status.message() == "Timeout expired" => {
            Err(late(endpoint, timeout))
        }
        Ok(Err(status)) => Err(Failure::from_status(&status)),
        Err(_) => Err(late(endpoint, timeout)),
    }
}

/// A client that manages the keys and accounts of one realm.
pub struct Manager {
    client: Client,
    directory: DirectoryClient<Channel>,
    embed_tokens: EmbedTokensClient<Channel>,
    webhooks: WebhooksClient<Channel>,
    server_secrets: SecretsClient<Channel>,
    vault: VaultClient<Channel>,
    realm: String,
    credential: MetadataValue<Ascii>,
    header: Option<AsciiMetadataKey>,
}

impl Management {
    /// Finds the management key and connects.
    ///
    /// # Errors
    /// When there is no key, or nobody answers.
    pub async fn open(self) -> Result<Manager, Failure> {
        let credential = self.credential()?;
        let client = self.connection.open().await?;
        let directory = DirectoryClient::new(client.channel.clone());
        let embed_tokens = EmbedTokensClient::new(client.channel.clone());
        let webhooks = WebhooksClient::new(client.channel.clone());
        let server_secrets = SecretsClient::new(client.channel.clone());
        let vault = VaultClient::new(client.channel.clone());
        let (realm, header) = (self.realm, self.key_header);
        Ok(Manager { client, directory, embed_tokens, webhooks, server_secrets, vault, realm, credential, header })
    }
}

impl Management {
    /// The management key, as it is sent.
    ///
    /// # Errors
    /// When there is none.
    pub fn credential(&self) -> Result<MetadataValue<Ascii>, Failure> {
        credential(
            &secrets::management_key(self.key_file.as_deref())?,
            if self.key_header.is_none() { "Bearer " } else { "" },
        )
    }
}

/// A management key, as it is sent.
///
/// # Errors
/// When it cannot be sent.
pub fn credential(key: &GivenKey, before: &str) -> Result<MetadataValue<Ascii>, Failure> {
    let text = Zeroizing::new(format!("{before}{}", key.as_str()));
    let mut value = MetadataValue::try_from(text.as_str())
        .map_err(|_| Failure::usage("the management key is none: allowed are printable ASCII characters"))?;
    value.set_sensitive(true);
    Ok(value)
}

impl Manager {
    /// Does one act.
    ///
    /// # Errors
    /// When the server refuses, fails, or is out of reach.
    pub async fn manage(&mut self, operation: Operation) -> Result<manage_keys_response::Result, Failure> {
        let message = ManageKeysRequest { realm: self.realm.clone(), operation: Some(operation) };
        let request = self.signed(message);
        let Client { inner, endpoint, timeout, .. } = &mut self.client;
        let answer = answered(endpoint, *timeout, inner.manage_keys(request)).await?;
        answer.result.ok_or_else(Failure::odd_answer)
    }

    /// The realm that is managed.
    pub fn realm(&self) -> String {
        self.realm.clone()
    }

    fn signed<T>(&self, message: T) -> Request<T> {
        let mut request = self.client.request(message);
        match &self.header {
            Some(header) => request.metadata_mut().insert(header.clone(), self.credential.clone()),
            None => request.metadata_mut().insert("authorization", self.credential.clone()),
        };
        request
    }
}

/// Acts of other services than that of keys: each fails when the server refuses, fails, or is out of reach.
macro_rules! acts {
    ($service:ident: $($name:ident: $rpc:ident($request:ty) -> $answer:ty),*) => {
        impl Manager {$(
            #[doc = concat!("Asks `", stringify!($rpc), "`.")]
            pub async fn $name(&mut self, message: $request) -> Result<$answer, Failure> {
                let request = self.signed(message);
                let Client { endpoint, timeout, .. } = &self.client;
                answered(endpoint, *timeout, self.$service.$rpc(request)).await
            }
        )*}
    };
}

acts!(vault:
    put_credential: put_credential(PutCredentialRequest) -> ProviderCredential,
    list_credentials: list_credentials(ListCredentialsRequest) -> ListCredentialsResponse,
    delete_credential: delete_credential(DeleteCredentialRequest) -> DeleteCredentialResponse,
    rewrap_credentials: rewrap_credentials(RewrapCredentialsRequest) -> RewrapCredentialsResponse
);

acts!(directory:
    create_account: create_account(CreateAccountRequest) -> CreateAccountResponse,
    get_account: get_account(GetAccountRequest) -> Account,
    set_account_status: set_account_status(SetAccountStatusRequest) -> SetAccountStatusResponse,
    join: join_organization(MembershipRequest) -> Account,
    leave: leave_organization(MembershipRequest) -> Account,
    add_member: add_member(AddMemberRequest) -> AddMemberResponse,
    set_member_roles: set_member_roles(SetMemberRolesRequest) -> Member,
    remove_member: remove_member(RemoveMemberRequest) -> RemoveMemberResponse,
    get_member: get_member(GetMemberRequest) -> Member,
    list_members: list_members(ListMembersRequest) -> ListMembersResponse
);

acts!(embed_tokens: mint_embed_token: mint(MintEmbedTokenRequest) -> MintEmbedTokenResponse);

acts!(webhooks:
    dead_letters: list_dead_letters(ListDeadLettersRequest) -> ListDeadLettersResponse,
    redeliver: redeliver(RedeliverRequest) -> RedeliverResponse,
    test_webhook: test(TestWebhookRequest) -> TestWebhookResponse
);

acts!(server_secrets: survey_secrets: survey(SurveyRequest) -> SurveyResponse);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        for endpoint in [
            "http://127.0.0.1:50051",
            "https://host:443",
            "http://[::1]:50051",
            "http://keygate.internal:443/",
            "unix:/run/k.sock",
        ] {
            assert_eq!(check_endpoint(endpoint), Ok(()), "{endpoint}");
        }
        for endpoint in [
            "",
            "unix:",
            "unix:k.sock",
            "unix://k/s",
            "127.0.0.1:50051",
            "https://host:443/path",
            "http://h:1/path",
            "http://",
            "ftp://h:1",
            "http://h:1?x",
        ] {
            assert!(check_endpoint(endpoint).is_err(), "{endpoint}");
        }
        let failure = check_endpoint("http://user:hunter2@host:1").unwrap_err();
        assert!(!failure.lines().concat().contains("hunter2"));
    }

    #[test]
    fn a_credential_is_sent_as_sensitive_metadata() {
        let value = credential(&Zeroizing::new("abc".to_owned()), "Bearer ").unwrap();
        assert!(value.is_sensitive() && value == "Bearer abc");
        let failure = credential(&Zeroizing::new("a\u{7f}bc".to_owned()), "Bearer ").unwrap_err();
        assert!(!failure.lines().concat().contains("bc"));
    }

    #[tokio::test]
    async fn nobody_listening_is_said_at_once() {
        let connection = Connection {
            endpoint: "http://127.0.0.1:1".to_owned(),
            timeout: Duration::from_secs(5),
            secure: Secure::default(),
        };
        let Err(failure) = connection.open().await else { panic!("somebody listens on port 1") };
        assert!(failure.lines()[0].contains("connection refused"), "{failure:?}");
    }
}
