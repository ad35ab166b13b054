//! A secret that cannot be printed, cloned or serialized, and is wiped when dropped.

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
