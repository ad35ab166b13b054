//! Members: the people of an account, in whose name keys are issued. A member's entry names the keys that were issued so and
//! did not end, and changes in the very commits that make or end them: removing a member ends exactly those.

use super::{
    account::{Account, AccountStatus},
    audit::Act,
    commit::Change,
    directory::{DirectoryError, must_be_at},
    entry::{Entry, EntryChange, EntryId},
    id::{KeyId, MemberId, MemberRole},
    key::{Acting, KeyRecord, end_all_with},
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many members an account may have.
pub const MAX_MEMBERS: usize = 256;
/// How many keys of one member may be without an end: removing the member ends all of them in one commit.
pub const MAX_KEYS: usize = 100;

/// A member of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What the member may do, in their order.
    pub roles: Vec<MemberRole>,
    /// Since when.
    pub added_at: Timestamp,
    /// The keys that were issued in the member's name and did not end, in their order.
    pub keys: Vec<KeyId>,
}

/// What a realm says of members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRules {
    /// The roles that there are, at least one.
    pub roles: Vec<MemberRole>,
    /// The roles that may issue keys.
    pub issuers: Vec<MemberRole>,
    /// Whether keys are issued by members only.
    pub required: bool,
}

/// Why an act is not possible, in words for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// The realm's configuration says nothing of members.
    #[error("this realm knows no members: its configuration has no `[members]`")]
    NotKnownHere,
    /// There is no such member.
    #[error("there is no such member in this account")]
    Unknown,
    /// The member is there, with other roles.
    #[error("the member is there already, with other roles")]
    Exists,
    /// The account has as many as it may.
    #[error("the account has {MAX_MEMBERS} members, which is the most: remove one first")]
    TooMany,
    /// The member has as many keys as may be without an end.
    #[error("{MAX_KEYS} keys of this member did not end, which is the most: revoke one first")]
    TooManyKeys,
    /// A key was to be issued by nobody.
    #[error("must name a member of the account: in this realm keys are issued by members only")]
    IssuerMissing,
    /// A key was to be issued by a member, where there are none.
    #[error("must be empty: this realm knows no members")]
    IssuerNeedless,
    /// A key was to be issued by somebody else.
    #[error("the key cannot be issued: `member_id` is no member of the account")]
    IssuerUnknown,
    /// A key was to be issued by a member who may not.
    #[error("the key cannot be issued: the member has none of the roles that may issue keys in this realm")]
    IssuerRole,
    /// The account's state does not allow it.
    #[error(transparent)]
    Account(#[from] DirectoryError),
}

impl MemberRules {
    /// Whether there is such a role.
    #[must_use]
    pub fn knows(&self, role: &MemberRole) -> bool {
        self.roles.contains(role)
    }
}

/// Judges in whose name a key is to be issued: `named` by the request, `member` as it was found.
///
/// # Errors
/// When somebody has to be named and is not, or may not issue keys.
pub fn may_issue(
    rules: Option<&MemberRules>,
    named: Option<&MemberId>,
    member: Option<&Member>,
) -> Result<(), MemberError> {
    match (rules, named) {
        (Some(rules), None) if rules.required => Err(MemberError::IssuerMissing),
        (_, None) => Ok(()),
        (None, Some(_)) => Err(MemberError::IssuerNeedless),
        (Some(rules), Some(_)) => {
            let member = member.ok_or(MemberError::IssuerUnknown)?;
            let may = member.roles.iter().any(|role| rules.issuers.contains(role));
            may.then_some(()).ok_or(MemberError::IssuerRole)
        }
    }
}

/// Makes somebody a member, of an account that may come to exist with it. `members` is how many there are.
///
/// # Errors
/// When there are too many, or the account was offboarded.
pub fn add(
    acting: &Acting<'_>,
    id: &MemberId,
    roles: Vec<MemberRole>,
    members: usize,
) -> Result<(Change, Member), MemberError> {
    must_not_be_over(acting.account)?;
    if members >= MAX_MEMBERS {
        return Err(MemberError::TooMany);
    }
    let member = Member { roles, added_at: acting.now, keys: Vec::new() };
    Ok((written(acting, Act::MemberAdded, id, &member), member))
}

/// Gives a member other roles. Nothing when they are the same.
///
/// # Errors
/// When the account was offboarded, or changed in between.
pub fn set_roles(
    acting: &Acting<'_>,
    id: &MemberId,
    current: &Member,
    roles: Vec<MemberRole>,
    expected_version: Option<u64>,
) -> Result<Option<(Change, Member)>, MemberError> {
    must_not_be_over(acting.account)?;
    acting.account.map_or(Ok(()), |account| must_be_at(account, expected_version))?;
    if current.roles == roles {
        return Ok(None);
    }
    let member = Member { roles, ..current.clone() };
    Ok(Some((written(acting, Act::MemberRolesChanged, id, &member), member)))
}

/// Removes a member and ends the keys that were issued in the member's name.
///
/// # Errors
/// When the account changed in between.
pub fn remove(
    acting: &Acting<'_>,
    account: &Account,
    id: &MemberId,
    keys: &[KeyRecord],
    reason: &str,
    expected_version: Option<u64>,
) -> Result<Change, MemberError> {
    must_be_at(account, expected_version)?;
    let mut change = Change::begin(acting.owner, Some(account), acting.actor, acting.now);
    change.record_member(acting.now, acting.actor, Act::MemberRemoved, id);
    end_all_with(acting, &mut change, keys, reason, Some(id));
    change.entries.push(EntryChange { id: EntryId::from(id), entry: None });
    Ok(change)
}

/// The members whose entries have to tell of a change: in their names the keys were issued that it makes or ends.
#[must_use]
pub fn concerned(change: &Change) -> BTreeSet<MemberId> {
    change.put.iter().chain(&change.end).filter_map(|key| key.member.clone()).collect()
}

/// Makes the entries of `members`, all that are [`concerned`] and still there, tell of the keys that a change makes and ends.
///
/// # Errors
/// When one of them would have too many keys.
pub fn keep(change: &mut Change, members: BTreeMap<MemberId, Member>) -> Result<(), MemberError> {
    for (id, before) in members {
        let of_this = |key: &&KeyRecord| key.member.as_ref() == Some(&id);
        let mut keys: BTreeSet<KeyId> = before.keys.iter().copied().collect();
        for ended in change.end.iter().filter(of_this) {
            keys.remove(&ended.id);
        }
        keys.extend(change.put.iter().filter(of_this).map(|key| key.id));
        if keys.len() > MAX_KEYS && keys.len() > before.keys.len() {
            return Err(MemberError::TooManyKeys);
        }
        let after = Member { keys: keys.into_iter().collect(), ..before.clone() };
        if after != before {
            change.entries.push(EntryChange { id: EntryId::from(&id), entry: Some(Entry::Member(after)) });
        }
    }
    Ok(())
}

fn written(acting: &Acting<'_>, act: Act, id: &MemberId, member: &Member) -> Change {
    let mut change = Change::begin(acting.owner, acting.account, acting.actor, acting.now);
    change.record_member(acting.now, acting.actor, act, id);
    change.entries.push(EntryChange { id: EntryId::from(id), entry: Some(Entry::Member(member.clone())) });
    change
}

fn must_not_be_over(account: Option<&Account>) -> Result<(), DirectoryError> {
    match account {
        Some(account) if account.status == AccountStatus::Offboarded => Err(DirectoryError::Offboarded),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
