//! What may be done to the keys of a realm, and by whom: operators, or the owners of the keys themselves. Every use case on keys
//! takes a [`KeyPermit`], which knows whose keys it is for; only [`Manager::permit_keys`] makes one.

use super::{
    authenticate::{AuthenticateRequest, Presented, Verdict},
    error::AppError,
    house::{App, Guarded},
    manager::{KeyManager, ManagePermit, Manager, Reader, Revoker, Role, Shown},
    ports::Store,
};
use crate::domain::{
    account::Account,
    audit::Actor,
    credential::{self, CredentialSource, Taken},
    id::{AccountId, AccountRef, Environment, RealmName, Scope},
    key::{Acting, KeyRecord},
    realm::{Management, Realm, Realms},
    request::CanonicalRequest,
    time::Timestamp,
};

/// What a management key may do to keys that are their owners' business.
pub trait KeyRole: Role {
    /// What it is called, in an error.
    const WHAT: &'static str;
    /// Whether owners may do it to their own keys.
    const OWNERS_MAY: bool = true;

    /// Whether it may do it all the same.
    fn operators_may(management: &Management) -> bool;
}

impl KeyRole for Reader {
    const WHAT: &'static str = "seen";

    fn operators_may(_: &Management) -> bool {
        false
    }
}

impl KeyRole for KeyManager {
    const WHAT: &'static str = "made or changed";

    fn operators_may(_: &Management) -> bool {
        false
    }
}

impl KeyRole for Revoker {
    const WHAT: &'static str = "ended";

    // A key that leaked must die, whoever is on duty.
    fn operators_may(_: &Management) -> bool {
        true
    }
}

/// May take over keys that were made elsewhere.
#[derive(Debug)]
pub enum Importer {}

impl Role for Importer {
    const NAME: &'static str = KeyManager::NAME;
}

impl KeyRole for Importer {
    const WHAT: &'static str = "imported";
    const OWNERS_MAY: bool = false;

    fn operators_may(management: &Management) -> bool {
        management.imports
    }
}

/// Whoever manages keys of their own, and within which bounds.
#[derive(Debug, Clone)]
pub struct Owner {
    pub(super) realm: RealmName,
    /// The account, which every act is about.
    pub account: AccountId,
    /// The environment of the credential.
    pub environment: Environment,
    /// The scopes of the credential, where it is bound by them.
    scopes: Option<Vec<Scope>>,
    /// When the key ends that acts.
    ends_at: Option<Timestamp>,
}

/// Proof that somebody may do to keys of a realm what the role `R` is for: to all of them, or to their own.
pub struct KeyPermit<'g, R> {
    permit: ManagePermit<'g, R>,
    owner: Option<Owner>,
}

impl<'g, R> KeyPermit<'g, R> {
    /// The realm.
    pub(super) fn guard(&self) -> &'g Guarded {
        self.permit.guard()
    }

    /// Whose keys they are, where they are somebody's own.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// An act on an account.
    pub(super) fn acting<'a>(
        &'a self,
        owner: &'a AccountRef,
        account: Option<&'a Account>,
        now: Timestamp,
    ) -> Acting<'a> {
        self.permit.acting(owner, account, now)
    }

    /// Whether keys of that account may be acted on.
    pub(super) fn covers(&self, account: &AccountId) -> bool {
        self.owner.as_ref().is_none_or(|owner| owner.account == *account)
    }

    /// Whether that key may be seen.
    pub(super) fn sees(&self, key: &KeyRecord) -> bool {
        self.owner.as_ref().is_none_or(|owner| owner.environment == key.environment)
    }

    /// Fails for a key that is mightier than the credential that acts: whoever may rotate it could then use it.
    pub(super) fn not_wider(&self, key: &KeyRecord) -> Result<(), AppError> {
        let Some(owner) = &self.owner else { return Ok(()) };
        let within = self.grants(&key.scopes) && owner.reaches(key.expires_at);
        if within { Ok(()) } else { Err(AppError::Wider) }
    }

    /// Fails when these scopes are more than those of the credential that acts.
    pub(super) fn may_give(&self, scopes: &[Scope]) -> Result<(), AppError> {
        let problem = "must be scopes that the credential has that makes the key";
        if self.grants(scopes) { Ok(()) } else { Err(AppError::invalid("scopes", problem)) }
    }

    /// When a key may end that shall end then: a key never outlives the key that made it, and ends with it unless it says when.
    pub(super) fn may_end(
        &self,
        at: Option<Timestamp>,
        usual: Option<Timestamp>,
    ) -> Result<Option<Timestamp>, AppError> {
        let Some(bound) = self.owner.as_ref().and_then(|owner| owner.ends_at) else { return Ok(at) };
        match at {
            Some(at) if at > bound => {
                Err(AppError::invalid("expires_at", "must not lie after the end of the key that acts"))
            }
            Some(at) => Ok(Some(at)),
            None => Ok(Some(usual.map_or(bound, |usual| usual.min(bound)))),
        }
    }

    fn grants(&self, scopes: &[Scope]) -> bool {
        let Some(held) = self.owner.as_ref().and_then(|owner| owner.scopes.as_ref()) else { return true };
        scopes.iter().all(|scope| self.guard().realm.scopes.grant(held, scope))
    }
}

impl Owner {
    fn reaches(&self, end: Option<Timestamp>) -> bool {
        self.ends_at.is_none_or(|bound| end.is_some_and(|end| end <= bound))
    }
}

impl Manager {
    /// Proof that this manager may do to keys of that realm what `R` is for: to all, or to their own.
    ///
    /// # Errors
    /// When they may not.
    pub fn permit_keys<'g, R: KeyRole>(&self, guard: &'g Guarded) -> Result<KeyPermit<'g, R>, AppError> {
        let management = &guard.realm.management;
        match &self.owner {
            Some(owner) if owner.realm != guard.realm.name || !management.by_owners => Err(AppError::Unauthenticated),
            Some(_) if !R::OWNERS_MAY => Err(AppError::OperatorsOnly),
            Some(owner) => {
                Ok(KeyPermit { permit: ManagePermit::of_owner(guard, self.actor()), owner: Some(owner.clone()) })
            }
            None => {
                let permit = self.permit::<R>(guard)?;
                if management.by_owners && !R::operators_may(management) {
                    return Err(AppError::OwnersOnly { realm: guard.realm.name.clone(), what: R::WHAT });
                }
                Ok(KeyPermit { permit, owner: None })
            }
        }
    }
}

impl<S: Store> App<S> {
    /// Who presents this credential to manage keys of that realm: an operator or, where the realm says so, the owner of keys.
    ///
    /// # Errors
    /// When nobody does, or the store cannot answer.
    pub async fn manager_of_keys(&self, realm: &str, shown: Shown<'_>) -> Result<Manager, AppError> {
        let operators = self.house.realm(Realms::BUILT_IN)?;
        let Ok(guard) = self.house.realm(realm) else { return self.manager(shown).await };
        let by_owners = guard.realm.management.by_owners;
        let sources = sources(&operators.realm, &guard.realm);
        let taken = credential::extract(&sources, shown.headers.iter().copied()).ok();
        let is_operators = taken.is_some_and(|taken| operators.realm.recognize(taken.text.expose()).is_some());
        match taken {
            Some(taken) if by_owners && !is_operators => self.owner(guard, taken).await,
            None if by_owners && shown.certificate.is_none() => {
                Err(AppError::NoOwner { realm: guard.realm.name.clone() })
            }
            Some(taken) if !is_operators && guard.realm.recognize(taken.text.expose()).is_some() => {
                Err(AppError::OwnKey { realm: guard.realm.name.clone() })
            }
            _ => self.manager(shown).await,
        }
    }

    /// Whoever presents a credential of the realm itself.
    async fn owner(&self, guard: &Guarded, taken: Taken<'_>) -> Result<Manager, AppError> {
        let request = AuthenticateRequest::who(Presented::Taken(taken), CanonicalRequest::default());
        let realm = guard.realm.name.clone();
        let mut decision = self.authenticate(guard, &request).await?;
        self.rekey_manager(decision.rekey.take()).await;
        match decision.verdict {
            Verdict::Allowed { key, .. } => {
                let (account, environment) = (key.owner.account.clone(), key.key.environment.clone());
                let (scopes, ends_at) = (Some(key.key.scopes.to_vec()), key.key.expires_at);
                let owner = Owner { realm, account, environment, scopes, ends_at };
                Ok(Manager::owning(guard, Actor::Key(key.key.id), owner))
            }
            Verdict::Bearer(bearer) => {
                let token = &bearer.token;
                let (account, environment) = (token.account.clone(), token.environment.clone());
                // The owner in person, unless the token itself says what it is good for.
                let scopes = token.scoped.then(|| token.scopes.clone());
                let actor = Actor::Token { issuer: token.issuer.clone(), subject: token.subject.as_str().into() };
                let owner = Owner { realm, account, environment, scopes, ends_at: None };
                Ok(Manager::owning(guard, actor, owner))
            }
            Verdict::Public { .. } | Verdict::Denied(_) => Err(AppError::NoOwner { realm }),
        }
    }
}

/// Where the credential of whoever manages keys of a realm may stand: where its owners' does, and where an operator's does.
fn sources(operators: &Realm, realm: &Realm) -> Vec<CredentialSource> {
    let mut sources = match &realm.management {
        Management { by_owners: false, .. } => Vec::new(),
        Management { credentials, .. } if credentials.is_empty() => realm.credentials.clone(),
        Management { credentials, .. } => credentials.clone(),
    };
    for source in &operators.credentials {
        if !sources.iter().any(|own| own.header == source.header) {
            sources.push(source.clone());
        }
    }
    sources
}
