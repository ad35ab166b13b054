//! What all acts of management have in common: who acts is found out, the act gets a bounded time on a runtime of its own,
//! and one line of the log says what came of it, under a request id that the caller hears too.

use super::{
    doors::{Doors, Urgency},
    failure::{self, Call, Fault, IdIn},
    followed::around,
    status,
};
use crate::{
    app::{
        error::AppError,
        house::App,
        manager::{Manager, Shown},
        meter::ActResult,
        ports::Store,
    },
    domain::{
        certificate::ClientCertificate,
        id::{AccountId, KeyId},
    },
    proto::v1,
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::runtime::Handle;
use tonic::{
    Code, Request, Response, Status,
    metadata::{KeyAndValueRef, MetadataMap},
};
use tracing::{Instrument, Span, field::Empty};

/// The name of every act, for whoever counts them.
pub const ACTS: [&str; 28] = [
    "add_member",
    "create",
    "create_account",
    "delete_credential",
    "get",
    "get_account",
    "get_member",
    "import",
    "join_organization",
    "leave_organization",
    "list",
    "list_credentials",
    "list_dead_letters",
    "list_members",
    "mint_embed_token",
    "none",
    "put_credential",
    "redeliver",
    "remove_member",
    "revoke",
    "revoke_account",
    "rewrap_credentials",
    "rotate",
    "set_account_status",
    "set_member_roles",
    "survey_secrets",
    "test_webhook",
    "update",
];

/// Where acts are done.
pub struct Desk<S> {
    app: App<S>,
    runtime: Handle,
    most: Duration,
    doors: Arc<Doors>,
}

impl<S: Clone> Clone for Desk<S> {
    fn clone(&self) -> Self {
        let doors = Arc::clone(&self.doors);
        Self { app: self.app.clone(), runtime: self.runtime.clone(), most: self.most, doors }
    }
}

/// An act as the log names it.
pub(super) struct Act {
    /// The method.
    pub(super) call: &'static str,
    /// What it does.
    pub(super) name: &'static str,
    /// What the request names as the realm.
    pub(super) realm: String,
    /// The key that it names. A text that is no key id may be anything, a key's secret too.
    pub(super) key: Option<KeyId>,
    /// The account that it names.
    pub(super) account: Option<AccountId>,
    /// Who may do it.
    pub(super) by: By,
    /// How much it matters while there are too many.
    pub(super) urgency: Urgency,
}

/// Whoever calls, by what came with the request: to be judged where acts are done.
pub(super) struct Caller {
    pub(super) metadata: MetadataMap,
    certificate: Option<Arc<ClientCertificate>>,
}

impl Caller {
    /// Of a request, and its message.
    pub(super) fn of<M>(request: Request<M>) -> (Self, M) {
        let (metadata, mut extensions, message) = request.into_parts();
        (Self { metadata, certificate: extensions.remove() }, message)
    }

    pub(super) fn shown(&self) -> Shown<'_> {
        Shown { headers: headers(&self.metadata), certificate: self.certificate.as_deref() }
    }
}

/// Who may act.
#[derive(Clone, Copy)]
pub(super) enum By {
    /// Operators alone.
    Operators,
    /// Owners of keys, too, where the realm says so.
    OwnersToo,
}

/// A request for an act, by what it names for the log.
pub(super) trait Names {
    /// The realm.
    fn realm(&self) -> &str;

    /// The account.
    fn account(&self) -> &str {
        ""
    }

    /// The key.
    fn key(&self) -> &str {
        ""
    }
}

/// Which fields of messages name what.
macro_rules! names {
    ($($message:ident: $($what:ident = $field:ident),+;)+) => {$(
        impl Names for v1::$message {$(
            fn $what(&self) -> &str {
                &self.$field
            }
        )+}
    )+};
}

names! {
    AddMemberRequest: realm = realm, account = account_id;
    CreateAccountRequest: realm = realm, account = account_id;
    DeleteCredentialRequest: realm = realm, account = account_id;
    GetAccountRequest: realm = realm, account = account_id;
    GetMemberRequest: realm = realm, account = account_id;
    ListCredentialsRequest: realm = realm, account = account_id;
    ListDeadLettersRequest: realm = realm;
    ListMembersRequest: realm = realm, account = account_id;
    MembershipRequest: realm = realm, account = account_id;
    MintEmbedTokenRequest: realm = realm, account = account_id, key = key_id;
    PutCredentialRequest: realm = realm, account = account_id;
    RedeliverRequest: realm = realm;
    RemoveMemberRequest: realm = realm, account = account_id;
    RewrapCredentialsRequest: realm = realm;
    SetAccountStatusRequest: realm = realm, account = account_id;
    SetMemberRolesRequest: realm = realm, account = account_id;
    SurveyRequest: realm = realm;
    TestWebhookRequest: realm = realm;
}

impl<S: Store> Desk<S> {
    /// Acts on `runtime`, so that a burst of them never delays a decision; each takes `most` at most, and as many are in work
    /// as `doors` let in.
    #[must_use]
    pub fn new(app: App<S>, runtime: Handle, most: Duration, doors: Arc<Doors>) -> Self {
        Self { app, runtime, most, doors }
    }

    /// Does one act of an operator, and logs it. `call` is the method, `name` what it does.
    pub(super) async fn act<M, R, F>(
        &self,
        (call, name): (&'static str, &'static str),
        request: Request<M>,
        work: impl FnOnce(App<S>, Manager, M) -> F + Send + 'static,
    ) -> Result<Response<R>, Status>
    where
        M: Names + Send + 'static,
        R: Send + 'static,
        F: Future<Output = Result<R, AppError>> + Send,
    {
        let (caller, message) = Caller::of(request);
        let act = Act {
            call,
            name,
            realm: message.realm().to_owned(),
            key: KeyId::parse(message.key()).ok(),
            account: AccountId::new(message.account()).ok(),
            by: By::Operators,
            urgency: Urgency::of(name),
        };
        self.run(caller, act, move |app, manager| work(app, manager, message)).await
    }

    /// Does one act, and logs it.
    pub(super) async fn run<R, F>(
        &self,
        caller: Caller,
        act: Act,
        work: impl FnOnce(App<S>, Manager) -> F + Send + 'static,
    ) -> Result<Response<R>, Status>
    where
        R: Send + 'static,
        F: Future<Output = Result<R, AppError>> + Send,
    {
        let (app, most) = (self.app.clone(), self.most);
        let inside = self.doors.enter(act.urgency, &*app.house.clock, &app.house.meter)?;
        let done = self.runtime.spawn(async move {
            // Whoever asked may go away meanwhile; the act goes on, and its place is taken until then.
            let _inside = inside;
            perform(app, &caller, act, most, work).await
        });
        done.await.map_err(|_| Status::unavailable("keygate is shutting down"))?
    }
}

async fn perform<S, R, F>(
    app: App<S>,
    by_whom: &Caller,
    act: Act,
    most: Duration,
    work: impl FnOnce(App<S>, Manager) -> F,
) -> Result<Response<R>, Status>
where
    S: Store,
    F: Future<Output = Result<R, AppError>>,
{
    let caller = Call { house: &app.house, name: act.call, id: IdIn::Metadata(&by_whom.metadata), span: None };
    let caller = caller.followed_act();
    let (request_id, realm) = (caller.request_id(), caller.known_realm(&act.realm));
    let Act { call, name, key, account, by, realm: act_realm, .. } = act;
    // Of the highest level, so that a line of any level carries what it says.
    let span = tracing::error_span!(
        "act",
        call,
        request_id,
        trace_id = caller.span.as_ref().map(|span| tracing::field::display(span.trace())),
        realm,
        act = name,
        actor = Empty,
        key_id = key.map(tracing::field::display),
        account = account.map(tracing::field::display)
    );
    let done = async {
        let manager = match by {
            By::Operators => app.manager(by_whom.shown()).await?,
            By::OwnersToo => app.manager_of_keys(&act_realm, by_whom.shown()).await?,
        };
        Span::current().record("actor", manager.actor().text());
        if let Some(followed) = &caller.span {
            followed.note("keygate.actor", manager.actor().text().to_string());
        }
        work(app.clone(), manager).await
    };
    let done = async { around!(&caller.span, done) };
    let done = tokio::time::timeout(most, done.instrument(span.clone())).await;
    debug_assert!(ACTS.contains(&name), "`{name}` is not among the acts that are counted");
    let came_to = result(&done);
    app.house.meter.act(name, came_to);
    let answer = span.in_scope(|| match done {
        Ok(done) => told(done, "done", "not done"),
        Err(_) => {
            let most = most.as_millis();
            tracing::warn!("not done within {most} ms; whether it is done later is not known");
            Err(Status::unavailable(format!("the act took longer than {most} ms; whether it was done is not known")))
        }
    });
    if let Some(followed) = &caller.span {
        let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
        followed.note("rpc.grpc.status_code", i64::from(i32::from(code)));
        followed.note("keygate.act", name);
        followed.note("keygate.realm", realm.to_owned());
        followed.note("keygate.outcome", came_to.name());
        let failed = matches!(came_to, ActResult::Failed | ActResult::TimedOut);
        followed.ended(failed.then(|| came_to.name()));
    }
    failure::echoed(&request_id, answer)
}

fn result<T, E>(done: &Result<Result<T, AppError>, E>) -> ActResult {
    match done {
        Ok(Ok(_)) => ActResult::Done,
        Ok(Err(error)) => match Fault::of(error) {
            Fault::Callers => ActResult::Refused,
            Fault::Passing(_) | Fault::Grave(_) => ActResult::Failed,
        },
        Err(_) => ActResult::TimedOut,
    }
}

/// Notes the key that an act made.
pub(super) fn made(key_id: &str) {
    Span::current().record("key_id", key_id);
}

/// A call's metadata as the headers that a management credential is taken from.
fn headers(metadata: &MetadataMap) -> Vec<(&str, &str)> {
    let header = |entry| match entry {
        KeyAndValueRef::Ascii(name, value) => Some((name.as_str(), value.to_str().ok()?)),
        KeyAndValueRef::Binary(name, _) => Some((name.as_str(), "")),
    };
    metadata.iter().filter_map(header).collect()
}

/// Logs what came of a call.
pub(super) fn told<T>(done: Result<T, AppError>, well: &str, ill: &str) -> Result<T, Status> {
    match done {
        Ok(reply) => {
            tracing::info!("{well}");
            Ok(reply)
        }
        Err(error) => {
            match Fault::of(&error) {
                Fault::Callers => tracing::info!(%error, "{ill}"),
                Fault::Passing(_) => tracing::warn!(%error, "{ill}"),
                Fault::Grave(_) => tracing::error!(%error, "{ill}"),
            }
            Err(status(&error))
        }
    }
}
