//! The only maker of Redis key names.
//!
//! Everything of one account carries the hash tag `{realm/account}` and so shares one Cluster slot; counters that hang on
//! no account carry `{realm}`. Neither a realm's nor an account's alphabet has `{`, `}` or `/`, so no two names meet. Must
//! never know what stands under a name.
//!
//! | name | type | holds |
//! | --- | --- | --- |
//! | `kg1:{realm/account}:a` | string | mark (16 bytes), account record |
//! | `kg1:{realm/account}:k` | hash | key id → record of a key that was not ended |
//! | `kg1:{realm/account}:h` | hash | key id → record of an ended key |
//! | `kg1:{realm/account}:i`, `:j` | sorted set | ids of `:k` and of `:h`, in byte order |
//! | `kg1:{realm/account}:u` | hash | key id → when it was last used; with the number of a secret → when that was, `#` → how often |
//! | `kg1:{realm/account}:l` | list | audit events, oldest first |
//! | `kg1:{realm/account}:e` | hash | kind (1 byte) and name → entry |
//! | `kg1:{realm/account}:f` | sorted set | fields of `:e`, in byte order |
//! | `kg1:{realm/account}:o:…` | string | idempotency record, expires |
//! | `kg1:{realm/account}:b:…` | string | bars a key of the account from a digest that another took, expires |
//! | `kg1:{realm/account}:c:…`, `kg1:{realm}:c:…` | string | counter of a limit, expires |
//! | `kg1:{realm}:m:…` | hash | name → memo of a shelf |
//! | `kg1:{realm}:n:…` | sorted set | names of `:m:…`, in byte order |
//! | `kg1:d:…` | string | what a digest leads to |
//! | `kg1:p:realm/…` | string | the account that a key id belongs to |
//! | `kg1:r:realm` | sorted set | accounts of a realm, in byte order |
//! | `kg1:ring` | string | mark of the server secret |
//! | `kg1:probe` | none | where it is tried what the user may do |
//! | `kg1:barrier` | string | what is written last, to see that replicas have all that was written before |

use crate::{
    app::ports::MemoId,
    domain::{
        id::{AccountRef, KeyId, RealmName},
        key::Digest,
    },
};
use data_encoding::BASE64URL_NOPAD;

/// The mark of the server secret that the store's records are sealed with.
pub(super) const RING: &str = "kg1:ring";
/// What all names begin with.
pub(super) const PREFIX: &str = "kg1:";
/// Where it is tried what the user may do; nothing stands there.
pub(super) const PROBE: &str = "kg1:probe";
/// What is written to see that replicas have all that was written before.
pub(super) const BARRIER: &str = "kg1:barrier";

/// The names of what belongs to one account.
pub(super) struct AccountKeys {
    home: String,
}

impl AccountKeys {
    pub(super) fn new(owner: &AccountRef) -> Self {
        Self { home: format!("kg1:{{{}/{}}}:", owner.realm, owner.account) }
    }

    pub(super) fn record(&self) -> String {
        self.part("a")
    }

    pub(super) fn live(&self) -> String {
        self.part("k")
    }

    pub(super) fn ended(&self) -> String {
        self.part("h")
    }

    pub(super) fn live_ids(&self) -> String {
        self.part("i")
    }

    pub(super) fn ended_ids(&self) -> String {
        self.part("j")
    }

    pub(super) fn events(&self) -> String {
        self.part("l")
    }

    pub(super) fn uses(&self) -> String {
        self.part("u")
    }

    /// The field of the uses of one secret.
    pub(super) fn secret(key: KeyId, number: u32) -> Vec<u8> {
        [&key.as_bytes()[..], &number.to_be_bytes()].concat()
    }

    /// The field that counts them.
    pub(super) fn secret_count(key: KeyId, number: u32) -> Vec<u8> {
        [&Self::secret(key, number)[..], b"#"].concat()
    }

    pub(super) fn entries(&self) -> String {
        self.part("e")
    }

    pub(super) fn entry_names(&self) -> String {
        self.part("f")
    }

    pub(super) fn idempotency(&self, slot: &[u8; 32]) -> String {
        self.part(&format!("o:{}", BASE64URL_NOPAD.encode(slot)))
    }

    /// Stands when somebody else took the digest that was announced for this key.
    pub(super) fn bar(&self, key: KeyId, digest: &Digest) -> String {
        self.part(&format!("b:{}", BASE64URL_NOPAD.encode(&[&key.as_bytes()[..], digest.as_bytes()].concat())))
    }

    fn part(&self, name: &str) -> String {
        let mut key = String::with_capacity(self.home.len().saturating_add(name.len()));
        key.push_str(&self.home);
        key.push_str(name);
        key
    }
}

/// Where the account's record stands, without building the names of all the rest.
pub(super) fn account(owner: &AccountRef) -> Vec<u8> {
    tagged(&owner.realm, Some(owner.account.as_str()), b":a", &[])
}

/// A counter: `name` is the plan's own, which no two counters share.
pub(super) fn counter(realm: &RealmName, account: Option<&str>, name: &[u8]) -> Vec<u8> {
    tagged(realm, account, b":c:", name)
}

/// The memos of a shelf, and their names.
pub(super) fn memos(id: &MemoId<'_>) -> [String; 2] {
    let (realm, code) = (id.realm, id.shelf.code());
    [format!("kg1:{{{realm}}}:m:{code}"), format!("kg1:{{{realm}}}:n:{code}")]
}

/// What a digest leads to.
pub(super) fn lookup(digest: &Digest) -> String {
    format!("kg1:d:{}", BASE64URL_NOPAD.encode(digest.as_bytes()))
}

/// The account that a key id belongs to.
pub(super) fn pointer(realm: &RealmName, key: KeyId) -> String {
    format!("kg1:p:{realm}/{}", BASE64URL_NOPAD.encode(key.as_bytes()))
}

/// The accounts of a realm.
pub(super) fn accounts(realm: &RealmName) -> String {
    format!("kg1:r:{realm}")
}

fn tagged(realm: &RealmName, account: Option<&str>, kind: &[u8], name: &[u8]) -> Vec<u8> {
    let (slash, account): (&[u8], &str) = account.map_or((b"", ""), |account| (b"/", account));
    [b"kg1:{", realm.as_str().as_bytes(), slash, account.as_bytes(), b"}", kind, name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::AccountId;

    fn owner(realm: &str, account: &str) -> AccountRef {
        AccountRef { realm: RealmName::new(realm).unwrap(), account: AccountId::new(account).unwrap() }
    }

    /// What Redis Cluster hashes of a name: what stands between the first `{` and the next `}`.
    fn tag(name: &[u8]) -> &[u8] {
        let start = name.iter().position(|b| *b == b'{').unwrap() + 1;
        let length = name[start..].iter().position(|b| *b == b'}').unwrap();
        &name[start..start + length]
    }

    #[test]
    fn everything_of_an_account_shares_a_slot() {
        let owner = owner("recurr", "acme:42");
        let keys = AccountKeys::new(&owner);
        let odd = b"}{odd\0name";
        let names = [
            keys.record(),
            keys.live(),
            keys.ended(),
            keys.live_ids(),
            keys.ended_ids(),
            keys.events(),
            keys.uses(),
            keys.entries(),
            keys.entry_names(),
            keys.idempotency(&[7; 32]),
            keys.bar(KeyId::from_bytes([7; 16]), &Digest::from_bytes([7; 32])),
        ];
        for name in &names {
            assert_eq!(tag(name.as_bytes()), b"recurr/acme:42", "{name}");
        }
        assert_eq!(tag(&counter(&owner.realm, Some("acme:42"), odd)), b"recurr/acme:42");
        assert_eq!(tag(&counter(&owner.realm, None, odd)), b"recurr");
        assert_eq!(account(&owner), keys.record().into_bytes());
    }

    #[test]
    fn names_of_different_things_differ() {
        let (a, b) = (owner("a", "b"), owner("a", "b:c"));
        let mut names: Vec<Vec<u8>> = Vec::new();
        for owner in [&a, &b] {
            let keys = AccountKeys::new(owner);
            for name in [
                keys.record(),
                keys.live(),
                keys.ended(),
                keys.live_ids(),
                keys.ended_ids(),
                keys.events(),
                keys.uses(),
                keys.entries(),
                keys.entry_names(),
                keys.idempotency(&[0; 32]),
                keys.bar(KeyId::from_bytes([0; 16]), &Digest::from_bytes([0; 32])),
            ] {
                names.push(name.into_bytes());
            }
            names.push(counter(&owner.realm, Some(owner.account.as_str()), b"n"));
        }
        names.push(counter(&a.realm, None, b"n"));
        names.push(lookup(&Digest::from_bytes([0; 32])).into_bytes());
        names.push(pointer(&a.realm, KeyId::from_bytes([0; 16])).into_bytes());
        names.push(accounts(&a.realm).into_bytes());
        for name in [RING, PROBE, BARRIER] {
            names.push(name.as_bytes().to_vec());
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
