//! Members of accounts as messages, and the use cases between them.

use crate::{
    app::{
        directory::{AddMember, MemberRef, NamedMember, RemoveMember, SetRoles},
        error::AppError,
        house::{App, Guarded},
        manager::{KeyManager, Manager, Reader, Revoker},
        ports::Store,
    },
    domain::{
        id::{MemberId, MemberRole},
        key::Limits,
        member::{MAX_MEMBERS, MemberError},
        realm::Realm,
    },
    grpc::{fields::Fields, render},
    proto::v1,
};

pub(super) async fn add<S: Store>(
    app: App<S>,
    manager: Manager,
    message: v1::AddMemberRequest,
) -> Result<v1::AddMemberResponse, AppError> {
    let guard = app.house.realm_to_manage(&message.realm, &manager)?;
    let permit = manager.permit::<KeyManager>(guard)?;
    let mut fields = Fields::default();
    let place = read_place(&mut fields, &message.account_id, &message.member_id);
    let roles = read_roles(&mut fields, guard, &message.roles)?;
    let request = fields.finish(place.map(|place| AddMember { place, roles }))?;
    let added = app.add_member(permit, &request).await?;
    Ok(v1::AddMemberResponse { member: Some(write(&guard.realm, &added.member)), existed: added.existed })
}

pub(super) async fn set_roles<S: Store>(
    app: App<S>,
    manager: Manager,
    message: v1::SetMemberRolesRequest,
) -> Result<v1::Member, AppError> {
    let guard = app.house.realm_to_manage(&message.realm, &manager)?;
    let permit = manager.permit::<KeyManager>(guard)?;
    let mut fields = Fields::default();
    let place = read_place(&mut fields, &message.account_id, &message.member_id);
    let roles = read_roles(&mut fields, guard, &message.roles)?;
    let expected_version = (message.expected_version != 0).then_some(message.expected_version);
    let request = fields.finish(place.map(|place| SetRoles { place, roles, expected_version }))?;
    Ok(write(&guard.realm, &app.set_member_roles(permit, &request).await?))
}

pub(super) async fn remove<S: Store>(
    app: App<S>,
    manager: Manager,
    message: v1::RemoveMemberRequest,
) -> Result<v1::RemoveMemberResponse, AppError> {
    let guard = app.house.realm_to_manage(&message.realm, &manager)?;
    let permit = manager.permit::<Revoker>(guard)?;
    let mut fields = Fields::default();
    let place = read_place(&mut fields, &message.account_id, &message.member_id);
    let reason = fields.text("reason", &message.reason, Limits::REASON);
    let request = place.zip(reason).map(|(place, reason)| RemoveMember {
        place,
        reason,
        expected_version: (message.expected_version != 0).then_some(message.expected_version),
        preview: message.preview,
    });
    let removed = app.remove_member(permit, &fields.finish(request)?).await?;
    Ok(v1::RemoveMemberResponse {
        member: Some(write(&guard.realm, &removed.member)),
        ended_key_ids: removed.ended.iter().map(|owned| owned.key.id.to_string()).collect(),
        account_version: removed.account_version,
        remembered_for: Some(render::span(guard.realm.max_staleness)),
    })
}

pub(super) async fn get<S: Store>(
    app: App<S>,
    manager: Manager,
    message: v1::GetMemberRequest,
) -> Result<v1::Member, AppError> {
    let guard = app.house.realm_to_manage(&message.realm, &manager)?;
    let permit = manager.permit::<Reader>(guard)?;
    let mut fields = Fields::default();
    let place = read_place(&mut fields, &message.account_id, &message.member_id);
    Ok(write(&guard.realm, &app.get_member(permit, &fields.finish(place)?).await?))
}

pub(super) async fn list<S: Store>(
    app: App<S>,
    manager: Manager,
    message: v1::ListMembersRequest,
) -> Result<v1::ListMembersResponse, AppError> {
    let guard = app.house.realm_to_manage(&message.realm, &manager)?;
    let permit = manager.permit::<Reader>(guard)?;
    let mut fields = Fields::default();
    let account = fields.account("account_id", &message.account_id);
    let page_size = fields.page_size(message.page_size, MAX_MEMBERS);
    // A page token names the last member of the page before.
    let after = fields.optional("page_token", &message.page_token, |token| {
        MemberId::new(token).map_err(|_| "`next_page_token` of the page before, unchanged")
    });
    let account = fields.finish(account)?;
    let page = app.list_members(permit, &account, after.as_ref(), page_size).await?;
    Ok(v1::ListMembersResponse {
        members: page.members.iter().map(|member| write(&guard.realm, member)).collect(),
        next_page_token: page.next.as_ref().map(ToString::to_string).unwrap_or_default(),
    })
}

fn read_place(fields: &mut Fields, account: &str, member: &str) -> Option<MemberRef> {
    let account = fields.account("account_id", account);
    let member = fields.required("member_id", member, MemberId::new);
    account.zip(member).map(|(account, member)| MemberRef { account, member })
}

/// Roles that the realm knows, in their order. Fails where the realm knows no members, since then nothing is legal.
fn read_roles(fields: &mut Fields, guard: &Guarded, names: &[String]) -> Result<Vec<MemberRole>, AppError> {
    let rules = guard.realm.members.as_ref().ok_or(MemberError::NotKnownHere)?;
    let most = rules.roles.len();
    if !(1..=most).contains(&names.len()) {
        fields.wrong("roles", format_args!("must be 1 to {most} roles of the realm"));
    }
    let (mut roles, mut told) = (Vec::new(), None);
    for (at, name) in names.iter().take(most).enumerate() {
        match MemberRole::new(name).ok().filter(|role| rules.knows(role)) {
            Some(role) => roles.push(role),
            None => {
                let known = rules.roles.iter().map(MemberRole::as_str);
                fields.wrong_element("roles", at, &mut told, "a role of the realm", known);
            }
        }
    }
    roles.sort();
    roles.dedup();
    Ok(roles)
}

fn write(realm: &Realm, member: &NamedMember) -> v1::Member {
    v1::Member {
        id: member.place.member.to_string(),
        realm: realm.name.to_string(),
        account_id: member.place.account.to_string(),
        roles: member.record.roles.iter().map(ToString::to_string).collect(),
        added_at: Some(render::instant(member.record.added_at)),
        key_ids: member.record.keys.iter().map(ToString::to_string).collect(),
        account_version: member.account_version,
    }
}
