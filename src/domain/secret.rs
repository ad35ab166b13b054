//! Secrets that cannot be printed or serialized: one that is owned and wiped when dropped, one that is borrowed.

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
        assert_eq!([Probe::<SecretRef<'_>>::DEBUG, Probe::<SecretRef<'_>>::DISPLAY], [false, false]);
    }
}
