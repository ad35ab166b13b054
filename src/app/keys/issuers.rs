//! Members as far as keys concern them: who may issue keys, and what the members' entries say of them.

use crate::{
    app::{
        error::AppError,
        house::{App, Guarded},
        ports::Store,
    },
    domain::{
        commit::Change,
        entry::{Entry, EntryId},
        id::{AccountRef, MemberId},
        member::{self, Member},
    },
};
use std::collections::BTreeMap;

impl<S: Store> App<S> {
    /// A member of an account, if there is one of that id.
    pub(in crate::app) async fn read_member(
        &self,
        owner: &AccountRef,
        id: &MemberId,
    ) -> Result<Option<Member>, AppError> {
        match self.store.read_entry(owner, &EntryId::from(id)).await? {
            Some(Entry::Member(member)) => Ok(Some(member)),
            Some(Entry::Credential(_) | Entry::Signup(_)) => Err(AppError::Bug("an entry of a member is none")),
            None => Ok(None),
        }
    }

    /// Nothing else: the member named by a request may issue keys, or nobody has to be named.
    pub(super) async fn must_issue(
        &self,
        guard: &Guarded,
        owner: &AccountRef,
        named: Option<&MemberId>,
    ) -> Result<(), AppError> {
        let member = match named {
            Some(id) => self.read_member(owner, id).await?,
            None => None,
        };
        Ok(member::may_issue(guard.realm.members.as_ref(), named, member.as_ref())?)
    }

    /// Makes the entries of members tell of the keys that a change makes and ends. Whoever is no member any more has none.
    /// To be called between the account was read and the change is committed.
    pub(in crate::app) async fn keep_members(&self, change: &mut Change) -> Result<(), AppError> {
        let mut members = BTreeMap::new();
        for id in member::concerned(change) {
            if let Some(member) = self.read_member(&change.owner, &id).await? {
                members.insert(id, member);
            }
        }
        Ok(member::keep(change, members)?)
    }
}
