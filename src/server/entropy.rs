//! Random bytes from the operating system.

use crate::app::ports::{Entropy, EntropyError};

/// The operating system's generator.
pub(super) struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "the source of randomness itself")]
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(buffer).map_err(|error| EntropyError(error.to_string()))
    }
}
