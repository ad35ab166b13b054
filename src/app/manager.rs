//! Who manages keys: management is authenticated by keygate itself, with keys of the built-in realm.

use super::{
    authenticate::{AuthenticateRequest, Presented, Verdict},
    error::AppError,
    house::{App, Guarded},
    ports::Store,
};
use crate::domain::{
    account::Account,
    audit::Actor,
    id::{AccountRef, RealmName, Scope},
    key::Acting,
    realm::{Realm, Realms},
    request::CanonicalRequest,
    time::Timestamp,
};
use std::sync::Arc;

/// What an act on keys needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// See keys.
    Reader,
    /// End keys.
    Revoker,
    /// Everything else that is done to keys.
    KeyManager,
    /// Manage the keys that manage.
    Operator,
}

impl Role {
    /// The role's name, which is its scope in the built-in realm.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Revoker => "revoker",
            Self::KeyManager => "key-manager",
            Self::Operator => "operator",
        }
    }
}

/// Whoever presented a management key.
pub struct Manager {
    realm: Arc<Realm>,
    actor: Actor,
    scopes: Vec<Scope>,
}

/// Proof that a manager may do an act in a realm. Only [`Manager::permit`] makes one.
pub struct ManagePermit {
    actor: Actor,
}

impl ManagePermit {
    /// An act of this manager on an account.
    pub(super) fn acting<'a>(
        &'a self,
        guard: &'a Guarded,
        owner: &'a AccountRef,
        account: Option<&'a Account>,
        now: Timestamp,
    ) -> Acting<'a> {
        Acting { owner, account, policy: &guard.realm.keys, actor: &self.actor, now }
    }
}

impl Manager {
    /// Proof that this manager has the role in that realm. The keys of the built-in realm are for operators alone: nobody
    /// makes a key that is mightier than their own.
    ///
    /// # Errors
    /// When they do not.
    pub fn permit(&self, role: Role, realm: &RealmName) -> Result<ManagePermit, AppError> {
        let role = if realm.as_str() == Realms::BUILT_IN { Role::Operator } else { role };
        let grants = |scope: &str| Scope::new(scope).is_ok_and(|needed| self.realm.scopes.grant(&self.scopes, &needed));
        if grants(role.name()) || (role != Role::Operator && grants(&format!("{}@{realm}", role.name()))) {
            Ok(ManagePermit { actor: self.actor.clone() })
        } else {
            Err(AppError::NotAllowed { role: role.name(), realm: realm.clone() })
        }
    }
}

impl<S: Store> App<S> {
    /// Who presents this management credential.
    ///
    /// # Errors
    /// When nobody does, or the store cannot answer.
    pub async fn manager<'a>(&self, headers: Vec<(&'a str, &'a str)>) -> Result<Manager, AppError> {
        let guard = self.house.realm(Realms::BUILT_IN)?;
        let request = AuthenticateRequest {
            presented: Presented::InHeaders,
            request: CanonicalRequest::headers_alone(headers),
            operation: None,
            source_address: None,
            account: None,
            organization: None,
            environment: None,
            required_scopes: Vec::new(),
            cost: 0,
            check_rate_limit: false,
            explain: false,
        };
        match self.authenticate(guard, &request).await?.verdict {
            Verdict::Allowed { key, .. } => Ok(Manager {
                realm: Arc::clone(&guard.realm),
                actor: Actor::Key(key.key.id),
                scopes: key.key.scopes.clone(),
            }),
            Verdict::Public { .. } | Verdict::Denied(_) => Err(AppError::Unauthenticated),
        }
    }
}
