//! Messages of `ManageKeys`, and the use cases between them.

use super::keys::{KeyWriter, import_report, read_page_token};
use crate::{
    app::{
        error::{AppError, Violation},
        house::{App, Guarded},
        key_permit::{Importer, Owner},
        keys::{CreateKey, Expiry, KeyFilter, RevokeAccount, RevokeKey, RotateKey, UpdateKey},
        manager::{KeyManager, Manager, Reader, Revoker},
        ports::Store,
    },
    domain::{
        id::{AccountId, KeyId, MemberId},
        key::{KeyPatch, KeyState, LifecycleError, Limits, Repeatable, StatePatch},
        member::MemberError,
        realm::Realm,
    },
    grpc::{
        acts::{self, Act, By, Caller, Desk},
        authorization::import,
        doors::Urgency,
        fields::{Fields, LARGEST_PAGE},
    },
    proto::v1::{self, manage_keys_request::Operation, manage_keys_response::Result as Reply},
};
use prost::Message;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

/// Reads, permits and does one act.
pub(super) async fn handle<S: Store>(
    desk: &Desk<S>,
    request: Request<v1::ManageKeysRequest>,
) -> Result<Response<v1::ManageKeysResponse>, Status> {
    let (caller, message) = Caller::of(request);
    let operation = message.operation.as_ref();
    let (name, key) = (act_name(operation), operation.and_then(named_key));
    let urgency = if operation.is_some_and(suspends) { Urgency::Ends } else { Urgency::of(name) };
    let realm = message.realm.clone();
    let act = Act { call: "ManageKeys", name, realm, key, account: None, by: By::OwnersToo, urgency };
    let work = |app, manager| async move { manage(&app, &manager, message).await };
    desk.run(caller, act, work).await
}

async fn manage<S: Store>(
    app: &App<S>,
    manager: &Manager,
    message: v1::ManageKeysRequest,
) -> Result<v1::ManageKeysResponse, AppError> {
    let guard = app.house.realm_to_manage(&message.realm, manager)?;
    let realm: &Realm = &guard.realm;
    let operation =
        message.operation.ok_or_else(|| AppError::invalid("operation", "must be one of the acts on keys"))?;
    let writer = KeyWriter { realm, now: app.house.clock.now() };
    let reply = match operation {
        Operation::Create(create) => {
            let permit = manager.permit_keys::<KeyManager>(guard)?;
            let create = read_create(guard, create, permit.owner())?;
            Reply::Created(
                writer.created(app.create_key(permit, &create).await.map_err(|error| placed("create.", error))?),
            )
        }
        Operation::Get(get) => {
            let permit = manager.permit_keys::<Reader>(guard)?;
            let mut fields = Fields::of("get.");
            let key = fields.key_id("key_id", &get.key_id);
            Reply::Key(writer.key(&app.get_key(permit, fields.finish(key)?).await?))
        }
        Operation::List(list) => {
            let permit = manager.permit_keys::<Reader>(guard)?;
            Reply::Page(writer.page(&app.list_keys(permit, &read_list(realm, &list)?).await?))
        }
        Operation::Update(update) => {
            let permit = manager.permit_keys::<KeyManager>(guard)?;
            Reply::Key(
                writer.key(
                    &app.update_key(permit, &read_update(realm, update)?)
                        .await
                        .map_err(|error| placed("update.", error))?,
                ),
            )
        }
        Operation::Rotate(rotate) => {
            let permit = manager.permit_keys::<KeyManager>(guard)?;
            Reply::Rotated(
                writer.created(
                    app.rotate_key(permit, &read_rotate(guard, &rotate)?)
                        .await
                        .map_err(|error| placed("rotate.", error))?,
                ),
            )
        }
        Operation::Revoke(revoke) => {
            let permit = manager.permit_keys::<Revoker>(guard)?;
            Reply::Revoked(writer.revoked(&app.revoke_key(permit, &read_revoke(&revoke)?).await?))
        }
        Operation::RevokeAccount(revoke) => {
            let permit = manager.permit_keys::<Revoker>(guard)?;
            let request = read_revoke_account(realm, &revoke)?;
            Reply::Revoked(writer.revoked(&app.revoke_account(permit, &request).await?))
        }
        Operation::Import(batch) => {
            let permit = manager.permit_keys::<Importer>(guard)?;
            let dry_run = batch.dry_run;
            let verdicts =
                app.import_keys(permit, import::read(guard, batch)?).await.map_err(|error| placed("import.", error))?;
            Reply::Imported(import_report(&verdicts, dry_run))
        }
    };
    if let Reply::Created(v1::KeyWithSecret { key: Some(key), .. }) = &reply {
        acts::made(&key.id);
    }
    Ok(v1::ManageKeysResponse { result: Some(reply) })
}

/// What a use case says of a field, told of the field in the message: `rotate.grace`, not `grace`.
fn placed(prefix: &str, error: AppError) -> AppError {
    let field = match &error {
        AppError::Lifecycle(LifecycleError::Grace(_)) => "grace",
        AppError::Lifecycle(LifecycleError::Expiry | LifecycleError::ExpiryTooFar(_)) => "expires_at",
        AppError::Lifecycle(LifecycleError::TooMuchMetadata) => "metadata",
        AppError::Lifecycle(LifecycleError::Beginning) => "not_before",
        AppError::Member(MemberError::IssuerMissing | MemberError::IssuerNeedless) => "member_id",
        AppError::Invalid(violations) => {
            let place = |violation: &Violation| match violation.field.contains('.') {
                true => violation.clone(),
                false => Violation { field: format!("{prefix}{}", violation.field), ..violation.clone() },
            };
            return AppError::Invalid(violations.iter().map(place).collect());
        }
        _ => return error,
    };
    AppError::invalid(&format!("{prefix}{field}"), error.to_string())
}

fn read_create(guard: &Guarded, message: v1::CreateKey, owner: Option<&Owner>) -> Result<CreateKey, AppError> {
    let realm = &guard.realm;
    let mut fields = Fields::of("create.");
    let repeatable = read_repeatable(guard, &mut fields, "create", &message.idempotency_key, &message);
    let account = match owner {
        None => fields.account("account_id", &message.account_id),
        Some(owner) => {
            if !message.account_id.is_empty() {
                fields.wrong("account_id", "must be left out: a key belongs to whoever makes it");
            }
            Some(owner.account.clone())
        }
    };
    let environment = match owner {
        Some(owner) if message.environment.is_empty() => {
            realm.environment(owner.environment.as_str()).map(|(at, rules)| (at, &rules.name))
        }
        _ => fields.one_environment("environment", &message.environment, realm),
    };
    if owner.zip(environment.as_ref()).is_some_and(|(owner, (_, name))| **name != owner.environment) {
        fields.wrong("environment", "must be that of the credential that makes the key, or be left out");
    }
    let name = fields.name("name", &message.name);
    let mut scopes = fields.scopes("scopes", &message.scopes, realm);
    if message.scopes.is_empty() {
        scopes = realm.scopes.defaults().to_vec();
    }
    let metadata = fields.metadata("metadata", message.metadata);
    let expiry = read_expiry(&mut fields, message.expires_at.as_ref(), message.expires_in.as_ref());
    let expiry = expiry.unwrap_or(Expiry::Default);
    let not_before = message.not_before.as_ref().and_then(|at| fields.instant("not_before", at));
    let networks = fields.networks("allowed_networks", &message.allowed_networks, realm);
    let member = fields.optional("member_id", &message.member_id, MemberId::new);
    let request = account.zip(environment).zip(name).map(|((account, (environment, _)), name)| CreateKey {
        account,
        environment,
        name,
        scopes,
        metadata,
        expiry,
        not_before,
        networks,
        member,
        repeatable,
    });
    fields.finish(request)
}

fn read_list(realm: &Realm, message: &v1::ListKeys) -> Result<KeyFilter, AppError> {
    let mut fields = Fields::of("list.");
    let state = match message.state() {
        v1::KeyState::Unspecified if message.state != 0 => {
            fields.wrong("state", "must be a state that this version knows");
            None
        }
        v1::KeyState::Unspecified => None,
        v1::KeyState::Active => Some(KeyState::Active),
        v1::KeyState::Pending => Some(KeyState::Pending),
        v1::KeyState::Suspended => Some(KeyState::Suspended),
        v1::KeyState::Expired => Some(KeyState::Expired),
        v1::KeyState::Revoked => Some(KeyState::Revoked),
    };
    let page_size = fields.page_size(message.page_size, LARGEST_PAGE);
    let filter = KeyFilter {
        account: fields.optional("account_id", &message.account_id, AccountId::new),
        environment: fields.environment("environment", &message.environment, realm).map(|(_, name)| name.clone()),
        state,
        member: fields.optional("member_id", &message.member_id, MemberId::new),
        after: fields.optional("page_token", &message.page_token, read_page_token),
        page_size,
    };
    fields.finish(Some(filter))
}

fn read_update(realm: &Realm, message: v1::UpdateKey) -> Result<UpdateKey, AppError> {
    let mut fields = Fields::of("update.");
    let key = fields.key_id("key_id", &message.key_id);
    let state = match message.state() {
        v1::KeyState::Active => Some(StatePatch::Resume),
        v1::KeyState::Suspended => Some(StatePatch::Suspend),
        v1::KeyState::Unspecified if message.state == 0 => None,
        _ => {
            fields.wrong("state", "must be ACTIVE to resume or SUSPENDED to suspend");
            None
        }
    };
    let mut expiry = read_expiry(&mut fields, message.expires_at.as_ref(), message.expires_in.as_ref());
    if message.never_expires && expiry.replace(Expiry::Default).is_some() {
        fields.wrong("never_expires", "must not stand beside another expiry");
    }
    let begins = message.not_before.as_ref().and_then(|at| fields.instant("not_before", at)).map(Some);
    if message.valid_at_once && message.not_before.is_some() {
        fields.wrong("valid_at_once", "must not stand beside `not_before`");
    }
    let networks = message.allowed_networks.as_ref();
    let metadata = message.metadata.unwrap_or_default();
    let patch = KeyPatch {
        name: message.name.as_ref().and_then(|name| fields.name("name", name)),
        scopes: message.scopes.as_ref().map(|list| fields.scopes("scopes", &list.scopes, realm)),
        set_metadata: fields.metadata("metadata.set", metadata.set),
        remove_metadata: metadata.remove,
        not_before: begins.or(message.valid_at_once.then_some(None)),
        networks: networks.map(|list| fields.networks("allowed_networks", &list.networks, realm)),
        state,
        ..KeyPatch::default()
    };
    let expected_version = expected_version(message.expected_version);
    fields.finish(key.map(|key| UpdateKey { key, patch, expiry, expected_version }))
}

fn read_rotate(guard: &Guarded, message: &v1::RotateKey) -> Result<RotateKey, AppError> {
    let mut fields = Fields::of("rotate.");
    let repeatable = read_repeatable(guard, &mut fields, "rotate", &message.idempotency_key, message);
    let grace = message.grace.as_ref().and_then(|grace| fields.span("grace", grace));
    let expected_version = expected_version(message.expected_version);
    let key = fields.key_id("key_id", &message.key_id);
    fields.finish(key.map(|key| RotateKey { key, grace, expected_version, repeatable }))
}

fn read_revoke(message: &v1::RevokeKey) -> Result<RevokeKey, AppError> {
    let mut fields = Fields::of("revoke.");
    let key = fields.key_id("key_id", &message.key_id);
    let reason = fields.text("reason", &message.reason, Limits::REASON);
    let expected_version = expected_version(message.expected_version);
    fields.finish(key.zip(reason).map(|(key, reason)| RevokeKey { key, reason, expected_version }))
}

fn read_revoke_account(realm: &Realm, message: &v1::RevokeAccountKeys) -> Result<RevokeAccount, AppError> {
    let mut fields = Fields::of("revoke_account.");
    let account = fields.account("account_id", &message.account_id);
    let environment = fields.environment("environment", &message.environment, realm).map(|(_, name)| name.clone());
    let reason = fields.text("reason", &message.reason, Limits::REASON);
    fields.finish(account.zip(reason).map(|(account, reason)| RevokeAccount { account, environment, reason }))
}

fn read_expiry(
    fields: &mut Fields,
    at: Option<&prost_types::Timestamp>,
    span: Option<&prost_types::Duration>,
) -> Option<Expiry> {
    match (at, span) {
        (Some(_), Some(_)) => {
            fields.wrong("expires_in", "must not stand beside `expires_at`");
            None
        }
        (Some(at), None) => fields.instant("expires_at", at).map(Expiry::At),
        (None, Some(span)) => fields.span("expires_in", span).map(Expiry::In),
        (None, None) => None,
    }
}

/// What recognizes the request when it comes again: its whole message, which is always encoded in the same way.
pub(super) fn read_repeatable(
    guard: &Guarded,
    fields: &mut Fields,
    act: &str,
    key: &str,
    message: &impl Message,
) -> Option<Repeatable> {
    if key.is_empty() {
        return None;
    }
    if key.len() > Limits::IDEMPOTENCY_KEY || !key.bytes().all(|b| b.is_ascii_graphic()) {
        fields.wrong(
            "idempotency_key",
            format_args!("must be 1 to {} printable ASCII characters", Limits::IDEMPOTENCY_KEY),
        );
        return None;
    }
    // An import's message holds raw keys.
    let encoded = Zeroizing::new(message.encode_to_vec());
    Some(guard.marker.mark(act, key, &encoded))
}

fn expected_version(version: u64) -> Option<u64> {
    (version != 0).then_some(version)
}

fn act_name(operation: Option<&Operation>) -> &'static str {
    match operation {
        None => "none",
        Some(Operation::Create(_)) => "create",
        Some(Operation::Get(_)) => "get",
        Some(Operation::List(_)) => "list",
        Some(Operation::Update(_)) => "update",
        Some(Operation::Rotate(_)) => "rotate",
        Some(Operation::Revoke(_)) => "revoke",
        Some(Operation::RevokeAccount(_)) => "revoke_account",
        Some(Operation::Import(_)) => "import",
    }
}

/// Suspending ends what a key may do, as revoking does.
fn suspends(operation: &Operation) -> bool {
    matches!(operation, Operation::Update(update) if update.state() == v1::KeyState::Suspended)
}

/// The key that an act names, for the log. A text that is no key id may be anything, a key's secret too.
fn named_key(operation: &Operation) -> Option<KeyId> {
    let text = match operation {
        Operation::Get(get) => &get.key_id,
        Operation::Update(update) => &update.key_id,
        Operation::Rotate(rotate) => &rotate.key_id,
        Operation::Revoke(revoke) => &revoke.key_id,
        Operation::Create(_) | Operation::List(_) | Operation::RevokeAccount(_) | Operation::Import(_) => return None,
    };
    KeyId::parse(text).ok()
}
