//! The built-in realm `keygate`, whose keys manage the others. Its scopes follow from the realms that are loaded.

use super::realm::Draft;
use crate::domain::{
    id::{RealmName, Scope},
    realm::{Realms, ScopeRule, Scopes},
};
use std::path::Path;

/// What mistakes in the built-in realm are reported under, should the program ever ship with one.
const FILE: &str = "built-in realm `keygate`";
const TEXT: &str = include_str!("builtin.toml");

/// Roles that can be given for one realm only, and which of the others each contains.
const ROLES: [(&str, &[&str]); 5] = [
    ("key-manager", &["reader", "revoker"]),
    ("reader", &[]),
    ("revoker", &[]),
    ("minter", &[]),
    ("credential-manager", &["reader"]),
];

pub fn read() -> Draft {
    super::realm::read(FILE, TEXT, Path::new(""))
}

/// Adds the roles of each of these realms.
pub fn extend<'n>(draft: &mut Draft, realms: impl Iterator<Item = &'n RealmName> + Clone) {
    let scoped = |role: &str, realm: &RealmName| Scope::new(&format!("{role}@{realm}")).ok();
    for (role, contained) in ROLES {
        let everywhere = realms.clone().filter_map(|realm| scoped(role, realm));
        if let Some(rule) = draft.scopes.iter_mut().find(|rule| rule.name.as_str() == role) {
            rule.implies.extend(everywhere);
        }
        let of_realms = realms.clone().filter_map(|realm| {
            let implies = contained.iter().filter_map(|role| scoped(role, realm)).collect();
            Some(ScopeRule { name: scoped(role, realm)?, implies })
        });
        draft.scopes.extend(of_realms);
    }
    if let Some(realm) = &mut draft.realm {
        realm.scopes = Scopes::new(&draft.scopes, realm.scopes.defaults().to_vec());
    }
}

/// Whether a realm of a file takes the built-in realm's name.
pub fn owns(name: &RealmName) -> bool {
    name.as_str() == Realms::BUILT_IN
}
