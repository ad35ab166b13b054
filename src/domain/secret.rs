//! Secrets that cannot be printed or serialized: one that is owned and wiped when dropped, one that is borrowed.

use super::id::InvalidId;
use zeroize::Zeroizing;

/// A full API key. There is no `Debug`, `Display` or `Clone`; the only way out is [`Secret::expose`].
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The longest secret that is accepted, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Takes `text` over, or gives nothing when it is longer than [`Secret::MAX_BYTES`].
    #[must_use]
    pub fn new(text: String) -> Option<Self> {
        let text = Zeroizing::new(text);
        (text.len() <= Self::MAX_BYTES).then_some(Self(text))
    }

    /// A key that the domain made itself: a format bounds its length far below [`Secret::MAX_BYTES`].
    pub(in crate::domain) fn generated(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself: for hashing it, and for the one reply that shows it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A credential that an account deposited for a provider. There is no `Debug`, `Display` or `Clone`; the only way out is
/// [`ProviderCredential::expose`].
pub struct ProviderCredential(Zeroizing<String>);

impl ProviderCredential {
    /// The longest one, in bytes.
    pub const MAX_BYTES: usize = 4_096;
    /// What is allowed, in words.
    pub const ALLOWED: &'static str = "1 to 4,096 visible ASCII characters without blanks";

    /// Takes `text` over.
    ///
    /// # Errors
    /// When it could not stand in a header: says what is allowed.
    pub fn new(text: Zeroizing<String>) -> Result<Self, InvalidId> {
        let legal = (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if legal { Ok(Self(text)) } else { Err(InvalidId(Self::ALLOWED)) }
    }

    /// The credential itself: for sealing it, and for the one header that carries it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A header's value that carries a provider's credential. There is no `Debug`, `Display` or `Clone`; the only way out is
/// [`ReleasedValue::expose`].
pub struct ReleasedValue(Zeroizing<String>);

impl ReleasedValue {
    /// The credential between what stands before and behind it.
    #[must_use]
    pub fn new(before: &str, credential: &ProviderCredential, after: &str) -> Self {
        // With room for all of it, so that no half of it is left behind when the text grows.
        let parts = [before, credential.expose(), after];
        let mut value = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
        parts.iter().for_each(|part| value.push_str(part));
        Self(value)
    }

    /// The value itself: for the one answer that hands it on.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A presented key, in the buffer where it arrived. There is no `Debug` and no `Display`; the only way out is
/// [`SecretRef::expose`].
#[derive(Clone, Copy)]
pub struct SecretRef<'a>(&'a str);

impl<'a> SecretRef<'a> {
    /// Takes a text for a secret from here on.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The secret itself: for hashing it.
    #[must_use]
    pub const fn expose(self) -> &'a str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        key::ServerSecret,
        seal::{DataKey, KeyEncryptionKey},
        webhook::SigningSecret,
    };
    use std::{
        fmt::{Debug, Display},
        marker::PhantomData,
    };

    struct Probe<T>(PhantomData<T>);

    trait Otherwise {
        const DEBUG: bool = false;
        const DISPLAY: bool = false;
    }

    impl<T> Otherwise for Probe<T> {}

    // What a type has itself goes before what a trait gives it.
    impl<T: Debug> Probe<T> {
        const DEBUG: bool = true;
    }

    impl<T: Display> Probe<T> {
        const DISPLAY: bool = true;
    }

    #[test]
    fn no_secret_can_be_formatted() {
        assert_eq!([Probe::<&str>::DEBUG, Probe::<&str>::DISPLAY], [true, true]);
        assert_eq!([Probe::<Secret>::DEBUG, Probe::<Secret>::DISPLAY], [false, false]);
        assert_eq!([Probe::<ProviderCredential>::DEBUG, Probe::<ProviderCredential>::DISPLAY], [false, false]);
        assert_eq!([Probe::<ReleasedValue>::DEBUG, Probe::<ReleasedValue>::DISPLAY], [false, false]);
        assert_eq!([Probe::<SecretRef<'_>>::DEBUG, Probe::<SecretRef<'_>>::DISPLAY], [false, false]);
        assert_eq!([Probe::<ServerSecret>::DEBUG, Probe::<ServerSecret>::DISPLAY], [false, false]);
        assert_eq!([Probe::<SigningSecret>::DEBUG, Probe::<SigningSecret>::DISPLAY], [false, false]);
        assert_eq!([Probe::<DataKey>::DEBUG, Probe::<DataKey>::DISPLAY], [false, false]);
        assert_eq!([Probe::<KeyEncryptionKey>::DEBUG, Probe::<KeyEncryptionKey>::DISPLAY], [false, false]);
    }
}
