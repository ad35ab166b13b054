//! Who manages keys: management is authenticated by keygate itself, with keys of the built-in realm.

use super::{
    authenticate::{AuthenticateRequest, Presented, Verdict},
    error::AppError,
    house::{App, Guarded},
    key_permit::Owner,
    ports::Store,
};
use crate::domain::{
    account::Account,
    audit::Actor,
    certificate::{CertificateName, ClientCertificate},
    id::{AccountRef, Scope},
    key::Acting,
    realm::{Realm, Realms},
    request::CanonicalRequest,
    time::Timestamp,
};
use std::{marker::PhantomData, sync::Arc};

/// What an act on keys needs, as a type: each use case names the one that it asks for, and takes no permit for another.
pub trait Role {
    /// The role's name, which is its scope in the built-in realm.
    const NAME: &'static str;
}

/// May see keys.
#[derive(Debug)]
pub enum Reader {}

/// May end keys.
#[derive(Debug)]
pub enum Revoker {}

/// May do everything else that is done to keys.
#[derive(Debug)]
pub enum KeyManager {}

/// May mint embed tokens.
#[derive(Debug)]
pub enum Minter {}

impl Role for Minter {
    const NAME: &'static str = "minter";
}

/// May deposit and remove providers' credentials.
#[derive(Debug)]
pub enum CredentialManager {}

impl Role for CredentialManager {
    const NAME: &'static str = "credential-manager";
}

impl Role for Reader {
    const NAME: &'static str = "reader";
}

impl Role for Revoker {
    const NAME: &'static str = "revoker";
}

impl Role for KeyManager {
    const NAME: &'static str = "key-manager";
}

/// The role that manages the keys that manage, and includes every other.
const OPERATOR: &str = "operator";

/// What whoever wants to manage shows.
#[derive(Default)]
pub struct Shown<'a> {
    /// The headers of the request.
    pub headers: Vec<(&'a str, &'a str)>,
    /// The certificate of the connection.
    pub certificate: Option<&'a ClientCertificate>,
}

impl<'a> Shown<'a> {
    /// A management key, and nothing else.
    #[must_use]
    pub fn in_headers(headers: Vec<(&'a str, &'a str)>) -> Self {
        Self { headers, certificate: None }
    }
}

/// Whose certificates manage, and their roles.
pub type Certified = [(CertificateName, Vec<Scope>)];

/// Whoever presented a management key, or showed a certificate that manages.
pub struct Manager {
    realm: Arc<Realm>,
    actor: Actor,
    scopes: Vec<Scope>,
    /// Present for the owner of keys, who is no operator.
    pub(super) owner: Option<Owner>,
}

/// Proof that a manager has the role `R` in a realm, which it carries: an act is done where it was permitted. Only
/// [`Manager::permit`] makes one.
pub struct ManagePermit<'g, R> {
    guard: &'g Guarded,
    actor: Actor,
    role: PhantomData<R>,
}

impl<'g, R> ManagePermit<'g, R> {
    /// For the owner of keys, whose own they are.
    pub(super) fn of_owner(guard: &'g Guarded, actor: &Actor) -> Self {
        Self { guard, actor: actor.clone(), role: PhantomData }
    }

    /// The realm that is managed.
    pub(super) fn guard(&self) -> &'g Guarded {
        self.guard
    }

    /// The name of that realm.
    #[must_use]
    pub fn realm_name(&self) -> &'g str {
        self.guard.realm.name.as_str()
    }

    /// Who acts.
    pub(super) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// An act of this manager on an account.
    pub(super) fn acting<'a>(
        &'a self,
        owner: &'a AccountRef,
        account: Option<&'a Account>,
        now: Timestamp,
    ) -> Acting<'a> {
        Acting { owner, account, policy: &self.guard.realm.keys, actor: &self.actor, now }
    }
}

impl Manager {
    /// The owner of keys of a realm.
    pub(super) fn owning(guard: &Guarded, actor: Actor, owner: Owner) -> Self {
        Self { realm: Arc::clone(&guard.realm), actor, scopes: Vec::new(), owner: Some(owner) }
    }

    /// Who that is, for the log.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Proof that this manager has the role `R` in that realm. The keys of the built-in realm are for operators alone: nobody
    /// makes a key that is mightier than their own.
    ///
    /// # Errors
    /// When they do not.
    pub fn permit<'g, R: Role>(&self, guard: &'g Guarded) -> Result<ManagePermit<'g, R>, AppError> {
        let realm = &guard.realm.name;
        let grants = |scope: &str| Scope::new(scope).is_ok_and(|needed| self.realm.scopes.grant(&self.scopes, &needed));
        if self.owner.is_some() {
            return Err(AppError::NotAllowed { role: R::NAME, realm: realm.clone() });
        }
        let (role, granted) = match realm.as_str() {
            Realms::BUILT_IN => (OPERATOR, grants(OPERATOR)),
            _ => (R::NAME, grants(R::NAME) || grants(&format!("{}@{realm}", R::NAME))),
        };
        if granted {
            Ok(ManagePermit { guard, actor: self.actor.clone(), role: PhantomData })
        } else {
            Err(AppError::NotAllowed { role, realm: realm.clone() })
        }
    }
}

impl<S: Store> App<S> {
    /// Who presents this management credential: a key or, where no key is presented at all, a certificate. The two are never
    /// added up.
    ///
    /// # Errors
    /// When nobody does, or the store cannot answer.
    pub async fn manager(&self, shown: Shown<'_>) -> Result<Manager, AppError> {
        let guard = self.house.realm(Realms::BUILT_IN)?;
        let Shown { headers, certificate } = shown;
        let presented = |(name, _): &(&str, &str)| {
            guard.realm.credentials.iter().any(|source| name.eq_ignore_ascii_case(&source.header))
        };
        if let Some(certificate) = certificate.filter(|_| !headers.iter().any(presented)) {
            return self.certified(guard, certificate);
        }
        let request = AuthenticateRequest::who(Presented::InHeaders, CanonicalRequest::headers_alone(headers));
        let mut decision = self.authenticate(guard, &request).await?;
        self.rekey_manager(decision.rekey.take()).await;
        match decision.verdict {
            Verdict::Allowed { key, .. } => Ok(Manager {
                realm: Arc::clone(&guard.realm),
                actor: Actor::Key(key.key.id),
                scopes: key.key.scopes.to_vec(),
                owner: None,
            }),
            Verdict::Bearer(_) | Verdict::Public { .. } | Verdict::Denied(_) => Err(AppError::Unauthenticated),
        }
    }

    /// Whoever showed a certificate. It is judged with every act: connections may outlive it.
    fn certified(&self, guard: &Guarded, certificate: &ClientCertificate) -> Result<Manager, AppError> {
        let ClientCertificate { name, ends_at } = certificate;
        let found = self.house.certified.iter().find(|(known, _)| known == name);
        match found.filter(|_| self.house.clock.now() < *ends_at) {
            Some((_, roles)) => Ok(Manager {
                realm: Arc::clone(&guard.realm),
                actor: Actor::Certificate(name.clone()),
                scopes: roles.clone(),
                owner: None,
            }),
            None => Err(AppError::Unauthenticated),
        }
    }
}
