//! The acts on members of accounts.

use super::{ATTEMPTS, committed, owner};
use crate::{
    app::{
        error::AppError,
        house::{App, Guarded},
        keys::OwnedKey,
        manager::{KeyManager, ManagePermit, Reader, Revoker},
        ports::{EntryQuery, Store},
    },
    domain::{
        entry::{Entry, EntryKind},
        id::{AccountId, AccountRef, EntryName, MemberId, MemberRole},
        key::KeyRecord,
        member::{self, MAX_MEMBERS, Member, MemberError},
    },
};

/// A member by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRef {
    /// The account.
    pub account: AccountId,
    /// The member.
    pub member: MemberId,
}

/// A request to make somebody a member, its fields checked.
#[derive(Debug)]
pub struct AddMember {
    /// Who, of which account.
    pub place: MemberRef,
    /// Roles that the realm knows, in their order.
    pub roles: Vec<MemberRole>,
}

/// A request to give a member other roles, its fields checked.
#[derive(Debug)]
pub struct SetRoles {
    /// Who, of which account.
    pub place: MemberRef,
    /// Roles that the realm knows, in their order.
    pub roles: Vec<MemberRole>,
    /// The version of the account that the act is based on.
    pub expected_version: Option<u64>,
}

/// A request to remove a member, its fields checked.
#[derive(Debug)]
pub struct RemoveMember {
    /// Who, of which account.
    pub place: MemberRef,
    /// Why; stands in the record of each key that ends.
    pub reason: String,
    /// The version of the account that the act is based on.
    pub expected_version: Option<u64>,
    /// Only tell what would happen.
    pub preview: bool,
}

/// A member as it is.
#[derive(Debug, Clone)]
pub struct NamedMember {
    /// Who, of which account.
    pub place: MemberRef,
    /// What is known of the member.
    pub record: Member,
    /// The version of the account that this is of.
    pub account_version: u64,
}

/// Somebody who is a member now.
#[derive(Debug)]
pub struct MemberAdded {
    /// The member.
    pub member: NamedMember,
    /// The member was there before, with these roles.
    pub existed: bool,
}

/// What became of a member and the member's keys, or would.
#[derive(Debug)]
pub struct MemberRemoved {
    /// The member as it was.
    pub member: NamedMember,
    /// The keys that ended with it.
    pub ended: Vec<OwnedKey>,
    /// The version of the account after the act; of a preview the one that it was read from.
    pub account_version: u64,
}

/// A page of members.
#[derive(Debug)]
pub struct MemberPage {
    /// The members.
    pub members: Vec<NamedMember>,
    /// Where the next page begins: behind this member.
    pub next: Option<MemberId>,
}

impl<S: Store> App<S> {
    /// Makes somebody a member of an account, which comes to exist with its first one. A member who is there already with the
    /// same roles stays.
    ///
    /// # Errors
    /// When the realm knows no members, the member is there with other roles, there are too many, the account was offboarded, or
    /// the store cannot answer.
    pub async fn add_member(
        &self,
        permit: ManagePermit<'_, KeyManager>,
        request: &AddMember,
    ) -> Result<MemberAdded, AppError> {
        must_know_members(permit.guard())?;
        let AddMember { place, roles } = request;
        let owner = owner(permit.guard(), &place.account);
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            let account = self.store.read_account(&owner).await?;
            if let (Some(account), Some(record)) = (&account, self.read_member(&owner, &place.member).await?) {
                if record.roles != *roles {
                    return Err(MemberError::Exists.into());
                }
                let member = NamedMember { place: place.clone(), record, account_version: account.version };
                return Ok(MemberAdded { member, existed: true });
            }
            let members = self.list_of_members(&owner, None, MAX_MEMBERS).await?.len();
            let acting = permit.acting(&owner, account.as_ref(), self.house.clock.now());
            let (change, record) = member::add(&acting, &place.member, roles.clone(), members)?;
            if committed(self.commit(&change).await)? {
                let member = NamedMember { place: place.clone(), record, account_version: change.account.version };
                return Ok(MemberAdded { member, existed: false });
            }
        }
        Err(AppError::Contended)
    }

    /// Gives a member other roles.
    ///
    /// # Errors
    /// When the realm knows no members, there is no such account or member, the account was offboarded or changed in between, or
    /// the store cannot answer.
    pub async fn set_member_roles(
        &self,
        permit: ManagePermit<'_, KeyManager>,
        request: &SetRoles,
    ) -> Result<NamedMember, AppError> {
        must_know_members(permit.guard())?;
        let SetRoles { place, roles, expected_version } = request;
        let owner = owner(permit.guard(), &place.account);
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            let account = self.store.read_account(&owner).await?.ok_or(AppError::UnknownAccount)?;
            let record = self.read_member(&owner, &place.member).await?.ok_or(MemberError::Unknown)?;
            let acting = permit.acting(&owner, Some(&account), self.house.clock.now());
            let changed = member::set_roles(&acting, &place.member, &record, roles.clone(), *expected_version)?;
            let Some((change, record)) = changed else {
                return Ok(NamedMember { place: place.clone(), record, account_version: account.version });
            };
            if committed(self.commit(&change).await)? {
                return Ok(NamedMember { place: place.clone(), record, account_version: change.account.version });
            }
        }
        Err(AppError::Contended)
    }

    /// Removes a member, and ends the keys that were issued in the member's name, in one commit.
    ///
    /// # Errors
    /// When there is no such account or member, the account changed in between, or the store cannot answer.
    pub async fn remove_member(
        &self,
        permit: ManagePermit<'_, Revoker>,
        request: &RemoveMember,
    ) -> Result<MemberRemoved, AppError> {
        let RemoveMember { place, reason, expected_version, preview } = request;
        let owner = owner(permit.guard(), &place.account);
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            // Before the member and the keys: what is made in between makes the commit conflict.
            let account = self.store.read_account(&owner).await?.ok_or(AppError::UnknownAccount)?;
            let record = self.read_member(&owner, &place.member).await?.ok_or(MemberError::Unknown)?;
            let keys = self.store.read_keys(&owner, &record.keys).await?;
            let keys: Vec<KeyRecord> = keys.into_iter().flatten().collect();
            let acting = permit.acting(&owner, Some(&account), self.house.clock.now());
            let change = member::remove(&acting, &account, &place.member, &keys, reason, *expected_version)?;
            if *preview || committed(self.commit(&change).await)? {
                let account_version = if *preview { account.version } else { change.account.version };
                let ended = change.end.into_iter().map(|key| OwnedKey::new(owner.account.clone(), key)).collect();
                let member = NamedMember { place: place.clone(), record, account_version };
                return Ok(MemberRemoved { member, ended, account_version });
            }
        }
        Err(AppError::Contended)
    }

    /// A member.
    ///
    /// # Errors
    /// When there is no such account or member, or the store cannot answer.
    pub async fn get_member(
        &self,
        permit: ManagePermit<'_, Reader>,
        place: &MemberRef,
    ) -> Result<NamedMember, AppError> {
        let owner = owner(permit.guard(), &place.account);
        let account = self.store.read_account(&owner).await?.ok_or(AppError::UnknownAccount)?;
        let record = self.read_member(&owner, &place.member).await?.ok_or(MemberError::Unknown)?;
        Ok(NamedMember { place: place.clone(), record, account_version: account.version })
    }

    /// Members of an account in the order of their ids, those behind `after`, at most `page_size`.
    ///
    /// # Errors
    /// When there is no such account, or the store cannot answer.
    pub async fn list_members(
        &self,
        permit: ManagePermit<'_, Reader>,
        account: &AccountId,
        after: Option<&MemberId>,
        page_size: usize,
    ) -> Result<MemberPage, AppError> {
        let owner = owner(permit.guard(), account);
        let record = self.store.read_account(&owner).await?.ok_or(AppError::UnknownAccount)?;
        let after = after.map(EntryName::from);
        let mut found = self.list_of_members(&owner, after.as_ref(), page_size.saturating_add(1)).await?;
        let more = found.len() > page_size;
        found.truncate(page_size);
        let named = |(member, record_of)| NamedMember {
            place: MemberRef { account: account.clone(), member },
            record: record_of,
            account_version: record.version,
        };
        let members: Vec<NamedMember> = found.into_iter().map(named).collect();
        let next = members.last().filter(|_| more).map(|last| last.place.member.clone());
        Ok(MemberPage { members, next })
    }

    async fn list_of_members(
        &self,
        owner: &AccountRef,
        after: Option<&EntryName>,
        limit: usize,
    ) -> Result<Vec<(MemberId, Member)>, AppError> {
        let query = EntryQuery { owner, kind: EntryKind::Member, after, limit };
        let found = self.store.list_entries(&query).await?;
        let member = |(name, entry): (EntryName, Entry)| match entry {
            Entry::Member(member) => MemberId::new(name.as_str()).ok().map(|id| (id, member)),
            Entry::Credential(_) | Entry::Signup(_) => None,
        };
        let members: Option<Vec<_>> = found.into_iter().map(member).collect();
        members.ok_or(AppError::Bug("an entry of a member is none"))
    }
}

fn must_know_members(guard: &Guarded) -> Result<(), AppError> {
    guard.realm.members.as_ref().map(|_| ()).ok_or_else(|| MemberError::NotKnownHere.into())
}
