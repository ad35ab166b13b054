//! Onboarding: how somebody without a credential obtains a first key. A signup waits in one of a fixed number of places until
//! its code comes back, so abandoned ones take no more room than there are places: each is taken again once it is over.

mod address;

pub use address::Address;

use super::{
    id::{AccountId, EntryName, InvalidId, Scope},
    key::Repeatable,
    secret::Secret,
    time::Timestamp,
};
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// What a realm says of onboarding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnboardingRules {
    /// How codes reach whoever signed up.
    pub delivery: Delivery,
    /// What codes are made of.
    pub code: CodeFormat,
    /// How long a code works.
    pub lifetime: Duration,
    /// How often a code may be tried.
    pub attempts: u32,
    /// Index of the environment of the first key.
    pub environment: usize,
    /// Scopes of the first key; none: the realm's default scopes.
    pub scopes: Vec<Scope>,
    /// What the ids of accounts begin with that come to exist so.
    pub account_prefix: String,
    /// Limits that a signup is charged to, by name.
    pub signup_limits: Vec<Arc<str>>,
    /// Limits that a verification is charged to, by name.
    pub verify_limits: Vec<Arc<str>>,
}

/// How codes reach whoever signed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// They are written to the log: for development.
    Log,
    /// They are handed to a service that sends them on.
    Webhook {
        /// Where it takes them.
        url: String,
        /// The file with what they are signed with; a relative one lies in the data directory.
        secret_file: PathBuf,
    },
}

/// What codes are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeFormat {
    alphabet: String,
    length: usize,
}

impl CodeFormat {
    /// So many different codes there must be at least: with 10 attempts, one guess of 100,000 hits.
    pub const LEAST_CODES: u128 = 1_000_000;
    /// The longest code.
    pub const MAX_LENGTH: usize = 64;

    /// Codes of that many letters of an alphabet.
    ///
    /// # Errors
    /// Says what is allowed.
    pub fn new(alphabet: &str, length: usize) -> Result<Self, &'static str> {
        let mut letters: Vec<u8> = alphabet.bytes().collect();
        letters.sort_unstable();
        letters.dedup();
        if letters.len() != alphabet.len() || letters.len() < 2 || !letters.iter().all(u8::is_ascii_alphanumeric) {
            return Err("must be 2 to 62 different letters of `A-Z a-z 0-9`");
        }
        let codes = u32::try_from(length).ok().map(|length| (letters.len() as u128).saturating_pow(length));
        if length > Self::MAX_LENGTH || codes.is_none_or(|codes| codes < Self::LEAST_CODES) {
            return Err("must make at least 1,000,000 different codes of at most 64 letters");
        }
        Ok(Self { alphabet: alphabet.to_owned(), length })
    }

    /// What somebody typed, as codes are written: where the alphabet has letters of one case alone, case tells nothing.
    #[must_use]
    pub fn as_written(&self, typed: &str) -> Zeroizing<String> {
        let has = |case: fn(&u8) -> bool| self.alphabet.as_bytes().iter().any(case);
        Zeroizing::new(match (has(u8::is_ascii_uppercase), has(u8::is_ascii_lowercase)) {
            (true, false) => typed.to_ascii_uppercase(),
            (false, true) => typed.to_ascii_lowercase(),
            _ => typed.to_owned(),
        })
    }

    /// A new code. `random` gives bytes that nobody can guess; every code is as likely as every other.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub fn generate<E>(&self, mut random: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Secret, E> {
        let letters = self.alphabet.as_bytes();
        // Bytes from here on would favour the first letters.
        let fair = 256_usize.checked_rem(letters.len()).map_or(256, |rest| 256_usize.saturating_sub(rest));
        let mut code = String::with_capacity(self.length);
        while code.len() < self.length {
            let mut byte = [0; 1];
            random(&mut byte)?;
            let at = usize::from(byte[0]);
            let letter = at.checked_rem(letters.len()).filter(|_| at < fair).and_then(|at| letters.get(at));
            code.extend(letter.map(|letter| char::from(*letter)));
        }
        Ok(Secret::generated(code))
    }
}

/// Names a signup: its place, and 14 random bytes that tell it from whatever was in the place before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignupId {
    place: u16,
    random: [u8; 14],
}

impl SignupId {
    /// What is allowed, in words.
    pub const ALLOWED: &'static str = "`su_` and 32 characters, as `Signup` answered";
    /// Accounts among which the places are divided, so that signups seldom wait for each other.
    const HOMES: u16 = 16;

    /// An id from random bytes.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        let [high, low, rest @ ..] = random;
        Self { place: u16::from_be_bytes([high, low]), random: rest }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// Says what is allowed.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let digits = text.strip_prefix("su_").ok_or(InvalidId(Self::ALLOWED))?;
        let bytes = data_encoding::HEXLOWER.decode(digits.as_bytes()).ok();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self::new).ok_or(InvalidId(Self::ALLOWED))
    }

    /// The account whose entries hold the place. Nobody has a key there.
    ///
    /// # Errors
    /// Never, in fact: the text is a legal id.
    pub fn home(&self) -> Result<AccountId, InvalidId> {
        AccountId::new(&format!("onboarding~{:x}", self.place.checked_rem(Self::HOMES).unwrap_or_default()))
    }

    /// The place among the entries of [`SignupId::home`].
    ///
    /// # Errors
    /// Never, in fact: the text is a legal name.
    pub fn place(&self) -> Result<EntryName, InvalidId> {
        EntryName::new(&format!("{:03x}", self.place.checked_div(Self::HOMES).unwrap_or_default()))
    }
}

impl fmt::Display for SignupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "su_{:04x}{}", self.place, data_encoding::HEXLOWER.encode(&self.random))
    }
}

impl fmt::Debug for SignupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A signup that waits for its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signup {
    /// Which one.
    pub random: [u8; 14],
    /// A keyed hash of its code.
    pub code: [u8; 32],
    /// Where the code went.
    pub address: String,
    /// What the key will be called.
    pub name: String,
    /// When the code stops to work.
    pub expires_at: Timestamp,
    /// How often a code was tried.
    pub attempts: u32,
}

impl Signup {
    /// A signup that begins now.
    #[must_use]
    pub fn begin(
        id: SignupId,
        code: &Repeatable,
        address: &Address,
        name: &str,
        rules: &OnboardingRules,
        now: Timestamp,
    ) -> Self {
        Self {
            random: id.random,
            code: *code.fingerprint(),
            address: address.to_string(),
            name: name.to_owned(),
            expires_at: now.after(rules.lifetime),
            attempts: 0,
        }
    }

    /// Whether the place may be taken by another signup.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// Whether it is the one of that id.
    #[must_use]
    pub fn is(&self, id: SignupId) -> bool {
        self.random.ct_eq(&id.random).into()
    }

    /// Whether it is the one that is asked for, and its code may still be tried.
    #[must_use]
    pub fn is_open(&self, id: SignupId, rules: &OnboardingRules, now: Timestamp) -> bool {
        self.is(id) && !self.is_over(now) && self.attempts < rules.attempts
    }

    /// One more try with that code: whether it is the right one, and what becomes of the signup; nothing: it is gone. A try
    /// counts before anybody hears what came of it.
    #[must_use]
    pub fn tried(&self, code: &Repeatable, rules: &OnboardingRules) -> (bool, Option<Self>) {
        let attempts = self.attempts.saturating_add(1);
        let right = code.fingerprints().any(|hash| bool::from(hash.ct_eq(&self.code)));
        // A right one stays until its key is made: a server may end in between.
        let stays = right || attempts < rules.attempts;
        (right, stays.then(|| Self { attempts, ..self.clone() }))
    }
}

#[cfg(test)]
mod tests;
