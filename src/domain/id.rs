//! Typed identifiers. Each is checked where it is made and can be trusted ever after.

use smol_str::SmolStr;
use std::fmt;

/// Why a text is not a legal identifier: says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub &'static str);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:ident, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(SmolStr);

        impl $name {
            /// What is allowed, in words.
            pub const ALLOWED: &'static str = $allowed;

            /// Checks `text`.
            ///
            /// # Errors
            /// Says what is allowed when `text` is not legal.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                if $check(text) { Ok(Self(SmolStr::new(text))) } else { Err(InvalidId(Self::ALLOWED)) }
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// The name of a realm: one guarded API product.
    RealmName,
    is_lower_name,
    "a lower-case letter, then up to 31 of `a-z 0-9 -`"
);
text_id!(
    /// The name of an environment inside a realm, such as `live` or `test`.
    Environment,
    is_lower_name,
    "a lower-case letter, then up to 31 of `a-z 0-9 -`"
);
text_id!(
    /// A tenant of a realm.
    AccountId,
    is_account,
    "1 to 128 of `A-Z a-z 0-9 . _ - @ : ~`"
);
text_id!(
    /// A scope that a key may carry.
    Scope,
    is_scope,
    "1 to 64 of `A-Z a-z 0-9 . _ - : @ *`"
);

text_id!(
    /// A member of an account.
    MemberId,
    is_member,
    "1 to 128 of `A-Z a-z 0-9 . _ - @ : ~ | +`"
);
text_id!(
    /// What a member of an account may do.
    MemberRole,
    is_lower_name,
    "a lower-case letter, then up to 31 of `a-z 0-9 -`"
);
text_id!(
    /// The name of an entry among those of its kind.
    EntryName,
    is_entry,
    "1 to 256 printable ASCII characters"
);

text_id!(
    /// A provider behind a realm, whose credentials the realm's accounts deposit.
    ProviderName,
    is_lower_name,
    "a lower-case letter, then up to 31 of `a-z 0-9 -`"
);
text_id!(
    /// The name of a key-encryption key.
    KekName,
    is_lower_name,
    "a lower-case letter, then up to 31 of `a-z 0-9 -`"
);

impl From<&MemberId> for EntryName {
    fn from(member: &MemberId) -> Self {
        // Every legal member id is a legal name.
        Self(member.0.clone())
    }
}

fn is_lower_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 32
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_account(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@:~".contains(&b))
}

fn is_member(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@:~|+".contains(&b))
}

fn is_entry(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_scope(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:@*".contains(&b))
}

/// Whether a call may be known by this id: 1 to 128 printable ASCII characters, no spaces.
#[must_use]
pub fn is_request_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// An account of a realm: the unit of consistency. Everything that must change together belongs to one of these.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountRef {
    /// The realm that the account belongs to.
    pub realm: RealmName,
    /// The account's id inside the realm.
    pub account: AccountId,
}

/// A key's stable id: 48 bits of creation time in milliseconds, then 80 random bits, so that ids sort by creation.
/// The text form is `key_` and 26 characters of Crockford's base 32, as in the ULID specification.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 16]);

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl KeyId {
    /// What is allowed, in words.
    pub const ALLOWED: &'static str = "`key_` and 26 characters, as given when the key was created";
    const PREFIX: &'static str = "key_";
    const DIGITS: usize = 26;

    /// Makes an id from the time of creation and random bits.
    #[must_use]
    pub fn new(now: super::time::Timestamp, random: [u8; 10]) -> Self {
        let mut id = [0; 16];
        let millis = (now.as_micros() / 1_000).to_be_bytes();
        id[..6].copy_from_slice(&millis[2..]);
        id[6..].copy_from_slice(&random);
        Self(id)
    }

    /// The id as stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id from its stored form.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads the text form; letters of either case.
    ///
    /// # Errors
    /// Says what is allowed when `text` is not an id.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        const WRONG: InvalidId = InvalidId(KeyId::ALLOWED);
        let digits = text.strip_prefix(Self::PREFIX).ok_or(WRONG)?;
        if digits.len() != Self::DIGITS {
            return Err(WRONG);
        }
        let mut value: u128 = 0;
        for (place, byte) in digits.bytes().enumerate() {
            let digit = CROCKFORD.iter().position(|c| *c == byte.to_ascii_uppercase()).ok_or(WRONG)?;
            // 26 digits carry 130 bits: the first may only use three of its five.
            if place == 0 && digit > 7 {
                return Err(WRONG);
            }
            value = value << 5 | digit as u128;
        }
        Ok(Self(value.to_be_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = u128::from_be_bytes(self.0);
        let mut text = [0u8; Self::DIGITS];
        for slot in text.iter_mut().rev() {
            *slot = CROCKFORD.get((value & 31) as usize).copied().unwrap_or_default();
            value >>= 5;
        }
        f.write_str(Self::PREFIX)?;
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn key_ids_survive_their_text_form_and_sort_by_creation() {
        let early = KeyId::new(Timestamp::from_micros(1_000_000), [255; 10]);
        let late = KeyId::new(Timestamp::from_micros(1_001_000), [0; 10]);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(KeyId::parse(&early.to_string()), Ok(early));
        assert_eq!(KeyId::parse(&late.to_string().to_lowercase().replace("KEY_", "key_")), Ok(late));
    }

    #[test]
    fn odd_key_ids_are_refused() {
        for text in [
            "",
            "key_",
            "key_8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "key_0000000000000000000000000U",
            "kex_00000000000000000000000000",
        ] {
            assert_eq!(KeyId::parse(text), Err(InvalidId(KeyId::ALLOWED)), "{text}");
        }
    }

    #[test]
    fn identifiers_accept_only_their_alphabet() {
        assert!(RealmName::new("recurr").is_ok() && RealmName::new("Recurr").is_err() && RealmName::new("").is_err());
        assert!(AccountId::new("acme.co:42@x~y_z-1").is_ok());
        for text in ["", "a/b", "a{b", "a b", "ä", &"x".repeat(129)] {
            assert!(AccountId::new(text).is_err(), "{text}");
        }
        assert!(Scope::new("key-manager@recurr").is_ok() && Scope::new("a,b").is_err());
    }
}
