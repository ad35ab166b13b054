//! What keys may be allowed, and which scope contains which.

use crate::domain::id::Scope;

/// One scope of a realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeRule {
    /// Its name.
    pub name: Scope,
    /// Scopes that whoever holds this one holds too, directly.
    pub implies: Vec<Scope>,
}

/// The scopes of a realm.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes {
    /// Name and everything it contains, itself included.
    closures: Vec<(Scope, Vec<Scope>)>,
    defaults: Vec<Scope>,
}

impl Scopes {
    /// The scopes of a realm and those that a key gets when none are named.
    #[must_use]
    pub fn new(rules: &[ScopeRule], defaults: Vec<Scope>) -> Self {
        let closures = rules.iter().map(|rule| {
            let mut reached = vec![rule.name.clone()];
            let mut next = 0;
            while let Some(scope) = reached.get(next).cloned() {
                next = next.saturating_add(1);
                let implied = rules.iter().filter(|rule| rule.name == scope).flat_map(|rule| &rule.implies);
                for scope in implied {
                    if !reached.contains(scope) {
                        reached.push(scope.clone());
                    }
                }
            }
            (rule.name.clone(), reached)
        });
        Self { closures: closures.collect(), defaults }
    }

    /// Whether the realm knows the scope.
    #[must_use]
    pub fn knows(&self, scope: &Scope) -> bool {
        self.closures.iter().any(|(name, _)| name == scope)
    }

    /// The names of all scopes.
    pub fn names(&self) -> impl Iterator<Item = &Scope> {
        self.closures.iter().map(|(name, _)| name)
    }

    /// What a key gets when none are named.
    #[must_use]
    pub fn defaults(&self) -> &[Scope] {
        &self.defaults
    }

    /// Whether a key that holds `held` is allowed `needed`. A scope that the realm no longer knows grants nothing.
    #[must_use]
    pub fn grant(&self, held: &[Scope], needed: &Scope) -> bool {
        let mut containing = self.closures.iter().filter(|(_, reached)| reached.contains(needed));
        containing.any(|(name, _)| held.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(name: &str) -> Scope {
        Scope::new(name).unwrap()
    }

    #[test]
    fn a_scope_grants_what_it_contains_and_nothing_else_even_in_a_circle() {
        let rule = |name, implies: &[&str]| ScopeRule {
            name: scope(name),
            implies: implies.iter().map(|s| scope(s)).collect(),
        };
        let scopes = Scopes::new(
            &[rule("admin", &["write"]), rule("write", &["read"]), rule("read", &["read"]), rule("other", &[])],
            vec![],
        );
        assert!(scopes.grant(&[scope("admin")], &scope("read")) && scopes.grant(&[scope("read")], &scope("read")));
        assert!(!scopes.grant(&[scope("read")], &scope("write")) && !scopes.grant(&[scope("other")], &scope("read")));
        assert!(!scopes.grant(&[scope("gone")], &scope("gone")) && !scopes.grant(&[], &scope("read")));
    }
}
