//! Who may act for whom, with which scopes. The answer is a permit: a value that only this file can make, so that nothing
//! unauthorized can be charged or let through by mistake.

use super::{
    account::{Account, AccountSnapshot, AccountStatus},
    credential::Accepts,
    deny::DenyReason,
    embed::EmbedToken,
    id::{AccountId, Environment, Scope},
    key::{Digest, KeySnapshot, KeyState},
    realm::{KeyPolicy, Operation, Realm},
    time::Timestamp,
};
use std::net::IpAddr;

/// What a request wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The client's address, where it is known.
    pub address: Option<IpAddr>,
    /// The account acted on; absent: the key's own.
    pub account: Option<&'a AccountId>,
    /// What is known of that account, where it is not the key's own.
    pub reached: Option<&'a AccountSnapshot>,
    /// The organization acted within.
    pub organization: Option<&'a AccountId>,
    /// The pinned environment.
    pub environment: Option<&'a Environment>,
    /// The operation asked for.
    pub operation: Option<&'a Operation>,
    /// Scopes that the request asks for beside those of the operation.
    pub required_scopes: &'a [Scope],
}

impl Wanted<'_> {
    fn is_open_to(&self, presents: impl Fn(&Accepts) -> bool) -> Result<(), DenyReason> {
        let open = self.operation.is_none_or(|operation| presents(&operation.accepts));
        if open { Ok(()) } else { Err(DenyReason::InsufficientScope) }
    }

    /// Every scope that it takes.
    fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.operation.into_iter().flat_map(|operation| &operation.scopes).chain(self.required_scopes)
    }
}

/// Proof that a key may do what was wanted.
#[derive(Debug, Clone, Copy)]
pub struct Permit<'a> {
    key: &'a KeySnapshot,
    target: &'a AccountId,
    secret: u32,
}

impl<'a> Permit<'a> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &'a KeySnapshot {
        self.key
    }

    /// The account acted on.
    #[must_use]
    pub fn target(&self) -> &'a AccountId {
        self.target
    }

    /// The number of the secret that was presented.
    #[must_use]
    pub fn secret(&self) -> u32 {
        self.secret
    }
}

/// Judges whether the key that was found under `digest` may do what is wanted.
///
/// # Errors
/// The true reason of the denial.
pub fn judge<'a>(
    realm: &Realm,
    key: &'a KeySnapshot,
    digest: &Digest,
    wanted: &Wanted<'a>,
    now: Timestamp,
) -> Result<Permit<'a>, DenyReason> {
    let secret = usable(&realm.keys, key, digest, now)?;
    if wanted.environment.is_some_and(|pinned| *pinned != key.key.environment) {
        return Err(DenyReason::WrongEnvironment);
    }
    if !key.key.admits(wanted.address) {
        return Err(DenyReason::ForbiddenAddress);
    }
    let target = may_act(realm, &Caller::of_key(key), wanted)?;
    wanted.is_open_to(|accepts| accepts.key)?;
    Ok(Permit { key, target, secret })
}

/// The account that acts, and what it may do in its own name.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The account's id.
    pub id: &'a AccountId,
    /// Its record, or that of an account that nobody made yet.
    pub account: &'a Account,
    /// The organizations that it is a member of.
    pub organizations: &'a [AccountSnapshot],
    /// The scopes of what was presented.
    pub scopes: &'a [Scope],
}

impl<'a> Caller<'a> {
    fn of_key(key: &'a KeySnapshot) -> Self {
        Self {
            id: &key.owner.account,
            account: &key.account,
            organizations: &key.organizations,
            scopes: &key.key.scopes,
        }
    }

    /// Whether it is a member of that organization, and the organization is active.
    fn is_within(&self, organization: &AccountId) -> bool {
        let is_active = |account: &Account| account.status == AccountStatus::Active;
        let found = self.organizations.iter().find(|found| found.owner.account == *organization);
        self.account.is_member_of(organization) && found.and_then(|found| found.account.as_ref()).is_some_and(is_active)
    }
}

/// Proof that whoever presents a token may do what was wanted.
#[derive(Debug, Clone, Copy)]
pub struct BearerPermit<'a> {
    target: &'a AccountId,
}

impl<'a> BearerPermit<'a> {
    /// The account acted on.
    #[must_use]
    pub fn target(&self) -> &'a AccountId {
        self.target
    }
}

/// Judges whether whoever presents a good token may do what is wanted.
///
/// # Errors
/// The true reason of the denial.
pub fn judge_bearer<'a>(
    realm: &Realm,
    caller: &Caller<'a>,
    environment: &Environment,
    wanted: &Wanted<'a>,
) -> Result<BearerPermit<'a>, DenyReason> {
    if wanted.environment.is_some_and(|pinned| pinned != environment) {
        return Err(DenyReason::WrongEnvironment);
    }
    let target = may_act(realm, caller, wanted)?;
    wanted.is_open_to(|accepts| accepts.token)?;
    Ok(BearerPermit { target })
}

/// Judges whether whoever presents an embed token may do what is wanted: what its key may do, from where it may do it.
///
/// # Errors
/// The true reason of the denial.
pub fn judge_embed<'a>(
    realm: &Realm,
    key: &'a KeySnapshot,
    embed: &EmbedToken,
    wanted: &Wanted<'a>,
    now: Timestamp,
) -> Result<BearerPermit<'a>, DenyReason> {
    let permit = may_embed(realm, key, embed, wanted, now)?;
    wanted.is_open_to(|accepts| accepts.token)?;
    if key.key.admits(wanted.address) { Ok(permit) } else { Err(DenyReason::ForbiddenAddress) }
}

/// Judges the same wherever the token is presented: what its key may do, for the one account that it is for, within the token's
/// own scopes.
///
/// # Errors
/// The true reason of the denial.
pub fn may_embed<'a>(
    realm: &Realm,
    key: &'a KeySnapshot,
    embed: &EmbedToken,
    wanted: &Wanted<'a>,
    now: Timestamp,
) -> Result<BearerPermit<'a>, DenyReason> {
    works_itself(&realm.keys, key, now)?;
    if wanted.environment.is_some_and(|pinned| *pinned != key.key.environment) {
        return Err(DenyReason::WrongEnvironment);
    }
    if wanted.account != Some(&embed.target) {
        return Err(DenyReason::ForbiddenAccount);
    }
    let target = may_act(realm, &Caller::of_key(key), wanted)?;
    if embed.token.scoped && !wanted.scopes().all(|scope| realm.scopes.grant(&embed.token.scopes, scope)) {
        return Err(DenyReason::InsufficientScope);
    }
    Ok(BearerPermit { target })
}

/// The account acted on, if the caller's own works, reaches it, and its scopes suffice.
fn may_act<'a>(realm: &Realm, caller: &Caller<'a>, wanted: &Wanted<'a>) -> Result<&'a AccountId, DenyReason> {
    works(caller.account.status)?;
    let target = reach(&realm.access, caller, wanted)?;
    if !wanted.scopes().all(|scope| realm.scopes.grant(caller.scopes, scope)) {
        return Err(DenyReason::InsufficientScope);
    }
    Ok(target)
}

/// Whether the key itself works.
fn works_itself(policy: &KeyPolicy, key: &KeySnapshot, now: Timestamp) -> Result<(), DenyReason> {
    match key.key.state(now) {
        KeyState::Revoked => Err(DenyReason::RevokedKey),
        KeyState::Expired => Err(DenyReason::ExpiredKey),
        KeyState::Pending => Err(DenyReason::EarlyKey),
        KeyState::Suspended => Err(DenyReason::SuspendedKey),
        KeyState::Active if policy.suspend_unused_after.is_some() && rests(policy, key, now) => {
            Err(DenyReason::UnusedKey)
        }
        KeyState::Active => Ok(()),
    }
}

/// Whether the key works, and the number of the secret that was presented.
fn usable(policy: &KeyPolicy, key: &KeySnapshot, digest: &Digest, now: Timestamp) -> Result<u32, DenyReason> {
    let state = works_itself(policy, key, now);
    if let Err(reason @ (DenyReason::RevokedKey | DenyReason::ExpiredKey)) = state {
        return Err(reason);
    }
    // The digest led here, so it was this key's once; whether it still is decides its own record.
    let Some(secret) = key.key.secret(digest).filter(|secret| secret.works(now)) else {
        return Err(DenyReason::RetiredSecret);
    };
    state.map(|()| secret.number)
}

/// Whether nobody used the key for longer than the realm allows. Its use is only asked for where nothing else shows that it is
/// awake, since the answer costs a lock.
fn rests(policy: &KeyPolicy, key: &KeySnapshot, now: Timestamp) -> bool {
    let asleep = |last| key.key.rests_at(last, policy.suspend_unused_after).is_some_and(|end| now >= end);
    asleep(None) && asleep(key.pending_use.latest())
}

/// Which accounts a key reaches beside its own. An account may always act within the active organizations that it is a member of,
/// and within itself, where it is one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessRules {
    /// Those below its own, however deep.
    pub sub_accounts: bool,
    /// Those that are members of an organization that its own is a member of.
    pub shared_organizations: bool,
    /// The organization whose members reach every account, and act within every organization.
    pub admin_organization: Option<AccountId>,
}

impl AccessRules {
    /// Whether any key may reach an account that is not its own.
    #[must_use]
    pub fn reach_beyond(&self) -> bool {
        self.sub_accounts || self.shared_organizations || self.admin_organization.is_some()
    }

    fn reaches(&self, caller: &Caller<'_>, target: &Account) -> bool {
        let below = self.sub_accounts && target.above.contains(caller.id);
        let shares = || target.organizations.iter().any(|organization| caller.is_within(organization));
        below || (self.shared_organizations && shares())
    }

    /// Those of the caller's organizations that decide whether it may do what is wanted, one way or the other.
    pub fn decisive<'o>(
        &self,
        organizations: &'o [AccountSnapshot],
        wanted: &Wanted<'_>,
    ) -> impl Iterator<Item = &'o AccountSnapshot> + Clone {
        let beyond = wanted.reached.is_some() || wanted.organization.is_some();
        let target = wanted.reached.filter(|_| self.shared_organizations).and_then(|reached| reached.account.as_ref());
        organizations.iter().filter(move |organization| {
            let id = &organization.owner.account;
            wanted.organization == Some(id)
                || (beyond && self.admin_organization.as_ref() == Some(id))
                || target.is_some_and(|target| target.is_member_of(id))
        })
    }
}

/// The account that the request acts on, if the key reaches it. Whether another account exists is told only where the realm
/// lets keys reach beyond their own.
fn reach<'a>(rules: &AccessRules, caller: &Caller<'a>, wanted: &Wanted<'a>) -> Result<&'a AccountId, DenyReason> {
    let own = caller.id;
    let admin = rules.admin_organization.as_ref().is_some_and(|organization| caller.is_within(organization));
    let within = |organization: &AccountId| admin || organization == own || caller.is_within(organization);
    if !wanted.organization.is_none_or(within) {
        return Err(DenyReason::ForbiddenAccount);
    }
    let Some(id) = wanted.account.filter(|id| *id != own) else { return Ok(own) };
    let reached = wanted.reached.filter(|reached| rules.reach_beyond() && reached.owner.account == *id);
    let reached = reached.ok_or(DenyReason::ForbiddenAccount)?;
    let target = reached.account.as_ref().ok_or(DenyReason::UnknownAccount)?;
    if !admin && !rules.reaches(caller, target) {
        return Err(DenyReason::ForbiddenAccount);
    }
    works(target.status).map(|()| id)
}

fn works(status: AccountStatus) -> Result<(), DenyReason> {
    match status {
        AccountStatus::Active => Ok(()),
        AccountStatus::Suspended => Err(DenyReason::SuspendedAccount),
        AccountStatus::Deactivated | AccountStatus::Offboarded => Err(DenyReason::DeactivatedAccount),
    }
}

#[cfg(test)]
mod tests;
