//! `keygate.v1.Directory`: accounts as messages, and the use cases between them.

mod members;

use super::{acts::Desk, fields::Fields, render};
use crate::{
    app::{
        directory::{CreateAccount, Membership, NamedAccount, SetStatus},
        error::AppError,
        manager::{KeyManager, Reader, Revoker},
        ports::Store,
    },
    domain::{account::AccountStatus, id::AccountId, key::Limits, realm::Realm},
    proto::v1::{self, directory_server::Directory},
};
use tonic::{Request, Response, Status};

/// The service.
pub struct DirectoryService<S> {
    desk: Desk<S>,
}

impl<S: Store> DirectoryService<S> {
    /// The service over the use cases.
    #[must_use]
    pub fn new(desk: Desk<S>) -> Self {
        Self { desk }
    }
}

#[tonic::async_trait]
impl<S: Store> Directory for DirectoryService<S> {
    async fn create_account(
        &self,
        request: Request<v1::CreateAccountRequest>,
    ) -> Result<Response<v1::CreateAccountResponse>, Status> {
        self.desk
            .act(("CreateAccount", "create_account"), request, |app, manager, message| async move {
                let guard = app.house.realm_to_manage(&message.realm, &manager)?;
                let permit = manager.permit::<KeyManager>(guard)?;
                let mut fields = Fields::default();
                let account = fields.account("account_id", &message.account_id);
                let parent = fields.optional("parent_account_id", &message.parent_account_id, AccountId::new);
                if account.is_some() && account == parent {
                    fields.wrong("parent_account_id", "must be another account");
                }
                let request = fields.finish(account.map(|account| CreateAccount { account, parent }))?;
                let made = app.create_account(permit, &request).await?;
                let account = Some(write(&guard.realm, &made.account));
                Ok(v1::CreateAccountResponse { account, existed: made.existed })
            })
            .await
    }

    async fn get_account(&self, request: Request<v1::GetAccountRequest>) -> Result<Response<v1::Account>, Status> {
        self.desk
            .act(("GetAccount", "get_account"), request, |app, manager, message| async move {
                let guard = app.house.realm_to_manage(&message.realm, &manager)?;
                let permit = manager.permit::<Reader>(guard)?;
                let mut fields = Fields::default();
                let account = fields.account("account_id", &message.account_id);
                Ok(write(&guard.realm, &app.get_account(permit, &fields.finish(account)?).await?))
            })
            .await
    }

    async fn set_account_status(
        &self,
        request: Request<v1::SetAccountStatusRequest>,
    ) -> Result<Response<v1::SetAccountStatusResponse>, Status> {
        self.desk
            .act(("SetAccountStatus", "set_account_status"), request, |app, manager, message| async move {
                let guard = app.house.realm_to_manage(&message.realm, &manager)?;
                let permit = manager.permit::<Revoker>(guard)?;
                let set = app.set_account_status(permit, &read_status(&message)?).await?;
                Ok(v1::SetAccountStatusResponse {
                    account: Some(write(&guard.realm, &set.account)),
                    ended_key_ids: set.ended.iter().map(|owned| owned.key.id.to_string()).collect(),
                    more: set.more,
                    removed_credentials: u32::try_from(set.removed_credentials).unwrap_or(u32::MAX),
                    remembered_for: Some(render::span(guard.realm.max_staleness)),
                })
            })
            .await
    }

    async fn join_organization(
        &self,
        request: Request<v1::MembershipRequest>,
    ) -> Result<Response<v1::Account>, Status> {
        self.desk
            .act(("JoinOrganization", "join_organization"), request, |app, manager, message| async move {
                let guard = app.house.realm_to_manage(&message.realm, &manager)?;
                let permit = manager.permit::<KeyManager>(guard)?;
                let membership = read_membership(&message)?;
                Ok(write(&guard.realm, &app.join_organization(permit, &membership).await?))
            })
            .await
    }

    async fn leave_organization(
        &self,
        request: Request<v1::MembershipRequest>,
    ) -> Result<Response<v1::Account>, Status> {
        self.desk
            .act(("LeaveOrganization", "leave_organization"), request, |app, manager, message| async move {
                let guard = app.house.realm_to_manage(&message.realm, &manager)?;
                let permit = manager.permit::<KeyManager>(guard)?;
                let membership = read_membership(&message)?;
                Ok(write(&guard.realm, &app.leave_organization(permit, &membership).await?))
            })
            .await
    }

    async fn add_member(
        &self,
        request: Request<v1::AddMemberRequest>,
    ) -> Result<Response<v1::AddMemberResponse>, Status> {
        self.desk.act(("AddMember", "add_member"), request, members::add).await
    }

    async fn set_member_roles(
        &self,
        request: Request<v1::SetMemberRolesRequest>,
    ) -> Result<Response<v1::Member>, Status> {
        self.desk.act(("SetMemberRoles", "set_member_roles"), request, members::set_roles).await
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberResponse>, Status> {
        self.desk.act(("RemoveMember", "remove_member"), request, members::remove).await
    }

    async fn get_member(&self, request: Request<v1::GetMemberRequest>) -> Result<Response<v1::Member>, Status> {
        self.desk.act(("GetMember", "get_member"), request, members::get).await
    }

    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersResponse>, Status> {
        self.desk.act(("ListMembers", "list_members"), request, members::list).await
    }
}

fn read_membership(message: &v1::MembershipRequest) -> Result<Membership, AppError> {
    let mut fields = Fields::default();
    let account = fields.account("account_id", &message.account_id);
    let organization = fields.account("organization_id", &message.organization_id);
    if account.is_some() && account == organization {
        fields.wrong("organization_id", "must be another account");
    }
    fields.finish(account.zip(organization).map(|(account, organization)| Membership { account, organization }))
}

fn read_status(message: &v1::SetAccountStatusRequest) -> Result<SetStatus, AppError> {
    let mut fields = Fields::default();
    let account = fields.account("account_id", &message.account_id);
    let status = match message.status() {
        v1::AccountStatus::Active => Ok(AccountStatus::Active),
        v1::AccountStatus::Suspended => Ok(AccountStatus::Suspended),
        v1::AccountStatus::Deactivated => Ok(AccountStatus::Deactivated),
        v1::AccountStatus::Offboarded => Ok(AccountStatus::Offboarded),
        v1::AccountStatus::Unspecified => Err("must be ACTIVE, SUSPENDED, DEACTIVATED or OFFBOARDED"),
    };
    let status = fields.check("status", status);
    let reason = fields.text("reason", &message.reason, Limits::REASON);
    let expected_version = (message.expected_version != 0).then_some(message.expected_version);
    let read = account.zip(status).zip(reason).map(|((account, status), reason)| SetStatus {
        account,
        status,
        reason,
        expected_version,
        preview: message.preview,
    });
    fields.finish(read)
}

fn write(realm: &Realm, account: &NamedAccount) -> v1::Account {
    let record = &account.record;
    let status = match record.status {
        AccountStatus::Active => v1::AccountStatus::Active,
        AccountStatus::Suspended => v1::AccountStatus::Suspended,
        AccountStatus::Deactivated => v1::AccountStatus::Deactivated,
        AccountStatus::Offboarded => v1::AccountStatus::Offboarded,
    };
    v1::Account {
        id: account.id.to_string(),
        realm: realm.name.to_string(),
        status: status.into(),
        above_account_ids: record.above.iter().map(ToString::to_string).collect(),
        organization_ids: record.organizations.iter().map(ToString::to_string).collect(),
        created_at: Some(render::instant(record.created_at)),
        version: record.version,
    }
}
