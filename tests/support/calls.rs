//! Calls to keygate in few words. Whatever secret comes back is remembered as one that may never be printed.

use super::{issuer::Issuer, keygate::Keygate};
use envoy_types::pb::envoy::service::{
    auth::v3::{CheckRequest, CheckResponse, authorization_client::AuthorizationClient},
    ratelimit::v3::{RateLimitRequest, RateLimitResponse, rate_limit_service_client::RateLimitServiceClient},
};
use keygate::proto::v1::{
    Account, AccountStatus, AddMemberRequest, Allowed, AuthenticateRequest, AuthenticateResponse,
    CheckRateLimitRequest, CheckRateLimitResponse, CreateAccountRequest, CreateKey, Denied, DenyReason, GetKey,
    GetMemberRequest, Header, Headers, Key, KeyPage, KeyWithSecret, KeysRevoked, ListKeys, ManageKeysRequest, Member,
    MembershipRequest, RemoveMemberRequest, RemoveMemberResponse, RenderErrorRequest, RenderErrorResponse, RevokeKey,
    RotateKey, SetAccountStatusRequest, SetAccountStatusResponse, SetMemberRolesRequest, UpdateKey,
    authenticate_request::Credential, authenticate_response::Outcome, directory_client::DirectoryClient,
    manage_keys_request::Operation, manage_keys_response::Result as Done, realms_client::RealmsClient,
};
use prost_types::{Duration, Timestamp};
use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};
use tonic::{Request, Status};
use tonic_types::StatusExt;

/// A request with the key itself.
pub fn by_key(realm: &str, key: &str) -> AuthenticateRequest {
    let credential = Some(Credential::ApiKey(key.to_owned()));
    AuthenticateRequest { realm: realm.to_owned(), credential, ..Default::default() }
}

/// A request with headers.
pub fn by_headers(realm: &str, headers: &[(&str, &str)]) -> AuthenticateRequest {
    let credential = Some(Credential::Headers(Headers { entries: header_list(headers) }));
    AuthenticateRequest { realm: realm.to_owned(), credential, ..Default::default() }
}

/// A request with `authorization: Bearer KEY`.
pub fn by_bearer(realm: &str, key: &str) -> AuthenticateRequest {
    by_headers(realm, &[("authorization", &format!("Bearer {key}"))])
}

/// The same for an HTTP request, charged to its limits.
pub fn charged(request: AuthenticateRequest, method: &str, path: &str, cost: i64) -> AuthenticateRequest {
    let (method, path) = (method.to_owned(), path.to_owned());
    AuthenticateRequest { method, path, cost: Some(cost), check_rate_limit: true, ..request }
}

pub fn header_list(headers: &[(&str, &str)]) -> Vec<Header> {
    let header = |(name, value): &(&str, &str)| Header { name: (*name).to_owned(), value: (*value).to_owned() };
    headers.iter().map(header).collect()
}

/// A key of that account and environment.
pub fn key_for(account: &str, environment: &str) -> CreateKey {
    let (account_id, environment) = (account.to_owned(), environment.to_owned());
    CreateKey { account_id, environment, name: "a key".to_owned(), ..Default::default() }
}

pub fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

pub const fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}

pub fn millis(span: Option<&Duration>) -> i64 {
    span.map_or(0, |span| span.seconds * 1_000 + i64::from(span.nanos) / 1_000_000)
}

/// Seconds since 1970-01-01.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    i64::try_from(now.as_secs()).expect("the clock is set")
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

/// The value of a header, which stands there once at most.
pub fn header<'h>(headers: &'h [Header], name: &str) -> Option<&'h str> {
    let mut found = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    let value = found.next().map(|header| header.value.as_str());
    assert!(found.next().is_none(), "`{name}` stands twice in {headers:?}");
    value
}

/// The fields that an INVALID_ARGUMENT names, each with its problem.
pub fn violations(status: &Status) -> Vec<(String, String)> {
    let bad = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    bad.into_iter().map(|one| (one.field, one.description)).collect()
}

/// Fails unless the error is INVALID_ARGUMENT and names exactly these fields.
#[track_caller]
pub fn assert_invalid(status: &Status, fields: &[&str]) {
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
    let found = violations(status);
    let named: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(named, fields, "{found:?}");
    assert!(found.iter().all(|(_, problem)| !problem.is_empty()), "{found:?}");
    assert!(!status.message().is_empty());
}

/// What came of `Authenticate`.
pub trait Answered {
    #[track_caller]
    fn allowed(self) -> Allowed;
    #[track_caller]
    fn denied(self) -> Denied;
    /// The denial, which has that reason.
    #[track_caller]
    fn denied_for(self, reason: DenyReason) -> Denied;
}

impl Answered for AuthenticateResponse {
    fn allowed(self) -> Allowed {
        match self.outcome {
            Some(Outcome::Allowed(allowed)) => allowed,
            other => panic!("not allowed: {other:?}"),
        }
    }

    fn denied(self) -> Denied {
        match self.outcome {
            Some(Outcome::Denied(denied)) => denied,
            other => panic!("not denied: {other:?}"),
        }
    }

    fn denied_for(self, reason: DenyReason) -> Denied {
        let denied = self.denied();
        assert_eq!(denied.reason(), reason, "{denied:?}");
        denied
    }
}

impl Keygate {
    pub async fn authenticate(&self, request: AuthenticateRequest) -> AuthenticateResponse {
        self.try_authenticate(request).await.unwrap_or_else(|status| panic!("not answered: {status:?}"))
    }

    pub async fn try_authenticate(&self, request: AuthenticateRequest) -> Result<AuthenticateResponse, Status> {
        let answer = self.client().authenticate(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.checked(status))
    }

    /// A machine that stands still for the 50 ms of a decision is asked again: what it decides then is what counts.
    pub async fn decided(&self, request: &AuthenticateRequest) -> AuthenticateResponse {
        for _ in 0..100 {
            match self.try_authenticate(request.clone()).await {
                Ok(answer) => return answer,
                Err(status) => assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}"),
            }
        }
        panic!("a hundred decisions were not answered in time");
    }

    pub async fn check(&self, request: CheckRateLimitRequest) -> CheckRateLimitResponse {
        self.try_check(request).await.unwrap_or_else(|status| panic!("not answered: {status:?}"))
    }

    pub async fn try_check(&self, request: CheckRateLimitRequest) -> Result<CheckRateLimitResponse, Status> {
        let answer = self.client().check_rate_limit(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.checked(status))
    }

    /// Does one act as the operator.
    pub async fn manage(&self, realm: &str, operation: Operation) -> Done {
        self.try_manage(realm, operation).await.unwrap_or_else(|status| panic!("not done: {status:?}"))
    }

    /// As the operator or, where keys are their owners' business, as whoever owns those that the act is about.
    pub async fn try_manage(&self, realm: &str, mut operation: Operation) -> Result<Done, Status> {
        let owner = OWNED.contains(&realm).then(|| owner_of(&mut operation)).flatten();
        let token = owner.as_ref().map(|owner| Issuer::shared().token(owner));
        let done = self.try_manage_as(Some(token.as_deref().unwrap_or(self.operator())), realm, operation).await?;
        if let Done::Created(KeyWithSecret { key: Some(key), .. }) = &done {
            OWNERS.lock().expect("nobody panics with it").insert(key.id.clone(), key.account_id.clone());
        }
        Ok(done)
    }

    /// Does one act with that management key, or with none.
    pub async fn try_manage_as(&self, key: Option<&str>, realm: &str, operation: Operation) -> Result<Done, Status> {
        let operation = issued_by_somebody(realm, operation);
        let ask = || signed(key, ManageKeysRequest { realm: realm.to_owned(), operation: Some(operation.clone()) });
        let answer = match self.client().manage_keys(ask()).await {
            Err(status) if status.message() == NO_SUCH_ISSUER => match &operation {
                Operation::Create(create) if create.member_id == SOMEBODY => {
                    self.add_member(realm, &create.account_id, SOMEBODY, &["developer"]).await;
                    self.client().manage_keys(ask()).await
                }
                _ => Err(status),
            },
            answer => answer,
        };
        let done = answer.map_err(|status| self.checked(status))?.into_inner();
        let done = done.result.expect("every answer holds a result");
        if let Done::Created(made) | Done::Rotated(made) = &done {
            self.remember(&made.secret);
        }
        Ok(done)
    }

    pub async fn create(&self, realm: &str, key: CreateKey) -> KeyWithSecret {
        match self.manage(realm, Operation::Create(key)).await {
            Done::Created(made) => made,
            other => panic!("not created: {other:?}"),
        }
    }

    /// Makes a key that may do whatever its realm's keys may, and gives its id and its secret.
    pub async fn new_key(&self, realm: &str, account: &str, environment: &str) -> (String, String) {
        let scopes = if realm == "recurr" { texts(&["read-write"]) } else { Vec::new() };
        let made = self.create(realm, CreateKey { scopes, ..key_for(account, environment) }).await;
        (made.key.expect("a key comes with its secret").id, made.secret)
    }

    pub async fn get(&self, realm: &str, id: &str) -> Key {
        match self.manage(realm, Operation::Get(GetKey { key_id: id.to_owned() })).await {
            Done::Key(key) => key,
            other => panic!("no key: {other:?}"),
        }
    }

    pub async fn list(&self, realm: &str, filter: ListKeys) -> KeyPage {
        match self.manage(realm, Operation::List(filter)).await {
            Done::Page(page) => page,
            other => panic!("no page: {other:?}"),
        }
    }

    pub async fn update(&self, realm: &str, update: UpdateKey) -> Key {
        match self.manage(realm, Operation::Update(update)).await {
            Done::Key(key) => key,
            other => panic!("not updated: {other:?}"),
        }
    }

    pub async fn rotate(&self, realm: &str, id: &str, grace: Option<Duration>) -> KeyWithSecret {
        let rotate = RotateKey { key_id: id.to_owned(), grace, ..Default::default() };
        match self.manage(realm, Operation::Rotate(rotate)).await {
            Done::Rotated(made) => made,
            other => panic!("not rotated: {other:?}"),
        }
    }

    pub async fn revoke(&self, realm: &str, id: &str) -> KeysRevoked {
        let reason = "a test".to_owned();
        let revoke = RevokeKey { key_id: id.to_owned(), reason, ..Default::default() };
        match self.manage(realm, Operation::Revoke(revoke)).await {
            Done::Revoked(revoked) => revoked,
            other => panic!("not revoked: {other:?}"),
        }
    }
}

/// Realms whose keys are managed by their owners.
const OWNED: [&str; 2] = ["recoup", "recotap"];
/// Who owns the keys that were made so far.
static OWNERS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// Whose keys an act is about, where only they may do it. The account that a new key is for is taken out: its owner's it is.
fn owner_of(operation: &mut Operation) -> Option<String> {
    let made = |id: &String| OWNERS.lock().expect("nobody panics with it").get(id).cloned();
    match operation {
        Operation::Create(create) => Some(std::mem::take(&mut create.account_id)),
        Operation::List(list) => Some(list.account_id.clone()),
        Operation::Get(get) => made(&get.key_id),
        Operation::Update(update) => made(&update.key_id),
        Operation::Rotate(rotate) => made(&rotate.key_id),
        Operation::Revoke(_) | Operation::RevokeAccount(_) | Operation::Import(_) => None,
    }
    .filter(|owner| !owner.is_empty())
}

/// In recurr keys are issued by members only. Whoever does not say in whose name is given this one, who becomes a member of the
/// account as soon as one is missing.
pub const SOMEBODY: &str = "somebody";
const NO_SUCH_ISSUER: &str = "the key cannot be issued: `member_id` is no member of the account";

fn issued_by_somebody(realm: &str, operation: Operation) -> Operation {
    match operation {
        Operation::Create(create) if realm == "recurr" && create.member_id.is_empty() => {
            Operation::Create(CreateKey { member_id: SOMEBODY.to_owned(), ..create })
        }
        other => other,
    }
}

/// A request of management, with a management key or with none.
pub fn signed<M>(key: Option<&str>, message: M) -> Request<M> {
    let mut request = Request::new(message);
    if let Some(key) = key {
        let value = format!("Bearer {key}").parse().expect("a management key is ASCII");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// Acts on accounts, as the operator.
impl Keygate {
    pub fn directory(&self) -> DirectoryClient<tonic::transport::Channel> {
        DirectoryClient::new(self.channel())
    }

    pub async fn new_account(&self, realm: &str, account: &str, parent: &str) -> Account {
        let (realm, account_id, parent_account_id) = (realm.to_owned(), account.to_owned(), parent.to_owned());
        let request = CreateAccountRequest { realm, account_id, parent_account_id };
        let made = self.directory().create_account(signed(Some(self.operator()), request)).await;
        made.expect("the account can be made").into_inner().account.expect("the answer holds it")
    }

    pub async fn set_status(&self, realm: &str, account: &str, status: AccountStatus) -> SetAccountStatusResponse {
        let (realm, account_id) = (realm.to_owned(), account.to_owned());
        let request = SetAccountStatusRequest { realm, account_id, status: status.into(), ..Default::default() };
        let set = self.directory().set_account_status(signed(Some(self.operator()), request)).await;
        set.expect("the status can be set").into_inner()
    }

    pub async fn join(&self, realm: &str, account: &str, organization: &str) -> Account {
        let request = signed(Some(self.operator()), member(realm, account, organization));
        let joined = self.directory().join_organization(request).await;
        joined.expect("the account can join").into_inner()
    }

    pub async fn leave(&self, realm: &str, account: &str, organization: &str) -> Account {
        let request = signed(Some(self.operator()), member(realm, account, organization));
        let left = self.directory().leave_organization(request).await;
        left.expect("the account can leave").into_inner()
    }
}

/// Acts on members, as the operator.
impl Keygate {
    pub async fn add_member(&self, realm: &str, account: &str, member: &str, roles: &[&str]) -> Member {
        let (realm, account_id, member_id) = (realm.to_owned(), account.to_owned(), member.to_owned());
        let request = AddMemberRequest { realm, account_id, member_id, roles: texts(roles) };
        let added = self.directory().add_member(signed(Some(self.operator()), request)).await;
        added.expect("the member can be added").into_inner().member.expect("the answer holds it")
    }

    pub async fn set_roles(&self, realm: &str, account: &str, member: &str, roles: &[&str]) -> Member {
        let (realm, account_id, member_id) = (realm.to_owned(), account.to_owned(), member.to_owned());
        let request = SetMemberRolesRequest { realm, account_id, member_id, roles: texts(roles), expected_version: 0 };
        let set = self.directory().set_member_roles(signed(Some(self.operator()), request)).await;
        set.expect("the roles can be set").into_inner()
    }

    pub async fn get_member(&self, realm: &str, account: &str, member: &str) -> Result<Member, Status> {
        let (realm, account_id, member_id) = (realm.to_owned(), account.to_owned(), member.to_owned());
        let request = GetMemberRequest { realm, account_id, member_id };
        Ok(self.directory().get_member(signed(Some(self.operator()), request)).await?.into_inner())
    }

    pub async fn remove_member(&self, request: RemoveMemberRequest) -> Result<RemoveMemberResponse, Status> {
        Ok(self.directory().remove_member(signed(Some(self.operator()), request)).await?.into_inner())
    }
}

pub fn removing(realm: &str, account: &str, member: &str) -> RemoveMemberRequest {
    let (realm, account_id, member_id) = (realm.to_owned(), account.to_owned(), member.to_owned());
    RemoveMemberRequest { realm, account_id, member_id, ..Default::default() }
}

pub fn member(realm: &str, account: &str, organization: &str) -> MembershipRequest {
    let (account_id, organization_id) = (account.to_owned(), organization.to_owned());
    MembershipRequest { realm: realm.to_owned(), account_id, organization_id }
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A key of the right form that nobody made: prefix, these characters, and the checksum over both.
pub fn well_formed(prefix: &str, random: &str) -> String {
    let covered = format!("{prefix}{random}");
    let mut sum = crc32fast::hash(covered.as_bytes());
    let mut digits = [0; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[sum as usize % 62];
        sum /= 62;
    }
    format!("{covered}{}", String::from_utf8_lossy(&digits))
}

/// Whether the last six characters are the checksum of those before.
pub fn has_checksum(key: &str) -> bool {
    key == well_formed("", &key[..key.len() - 6])
}

/// Envoy's questions.
impl Keygate {
    pub async fn try_envoy_check(&self, request: CheckRequest) -> Result<CheckResponse, Status> {
        let answer = AuthorizationClient::new(self.channel()).check(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.checked(status))
    }

    pub async fn envoy_check(&self, request: CheckRequest) -> CheckResponse {
        self.try_envoy_check(request).await.unwrap_or_else(|status| panic!("not answered: {status:?}"))
    }

    pub async fn try_envoy_limit(&self, request: RateLimitRequest) -> Result<RateLimitResponse, Status> {
        let answer = RateLimitServiceClient::new(self.channel()).should_rate_limit(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.checked(status))
    }

    pub async fn envoy_limit(&self, request: RateLimitRequest) -> RateLimitResponse {
        self.try_envoy_limit(request).await.unwrap_or_else(|status| panic!("not answered: {status:?}"))
    }
}

/// Code, status, message: the Recover Partner API's own table.
pub const RECOVER_CODES: [(&str, u32, &str); 10] = [
    ("unauthorized", 401, "Invalid or missing Partner API key"),
    ("forbidden", 403, "Key does not have access to this resource"),
    ("not_found", 404, "Account, lead, or resource not found"),
    ("invalid_phone", 400, "Phone number format is invalid"),
    ("duplicate_lead", 409, "Lead with this external_id already exists"),
    ("account_deactivated", 403, "Account has been deactivated"),
    ("token_expired", 401, "Embed token has expired"),
    ("rate_limited", 429, "Too many requests"),
    ("validation_error", 422, "Request body failed validation"),
    ("internal_error", 500, "Internal server error"),
];

impl Keygate {
    /// An error of the realm's table, as a service behind keygate asks for it.
    pub async fn render(&self, realm: &str, code: &str, message: &str) -> RenderErrorResponse {
        let (realm, code, message) = (realm.to_owned(), code.to_owned(), message.to_owned());
        let request = RenderErrorRequest { realm, code, message };
        RealmsClient::new(self.channel()).render_error(request).await.expect("the code is known").into_inner()
    }
}
