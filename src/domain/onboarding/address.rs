//! Addresses that codes are sent to: e-mail addresses in ASCII, as one form for each mailbox.

use std::fmt;

/// An e-mail address, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// What is allowed, in words.
    pub const ALLOWED: &'static str = "an e-mail address such as `agent@example.com`, in ASCII and at most 254 bytes";
    const BYTES: usize = 254;
    const LOCAL_BYTES: usize = 64;
    const LABEL_BYTES: usize = 63;

    /// Reads an address. Blanks around it and the case of its letters are dropped; nothing else is, since what a mail server
    /// takes for the same mailbox is its own affair.
    ///
    /// # Errors
    /// Says what is allowed.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let text = text.trim_matches(' ').to_ascii_lowercase();
        let legal = text.len() <= Self::BYTES
            && text.rsplit_once('@').is_some_and(|(local, domain)| is_local(local) && is_domain(domain));
        if legal { Ok(Self(text)) } else { Err(Self::ALLOWED) }
    }

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Dots between atoms, as RFC 5321 has it; no quoted ones, which could hold anything.
fn is_local(text: &str) -> bool {
    let atom = |atom: &str| {
        !atom.is_empty() && atom.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
    };
    text.len() <= Address::LOCAL_BYTES && text.split('.').all(atom)
}

/// At least two labels, the last of them no number: an address literal is no domain.
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=Address::LABEL_BYTES).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let last = text.rsplit_once('.').map(|(_, last)| last);
    text.split('.').all(label) && last.is_some_and(|last| last.bytes().any(|b| b.is_ascii_alphabetic()))
}
