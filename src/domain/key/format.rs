//! The text form of keys: prefix, random body, checksum; and what may be shown of a key afterwards.
//!
//! A key is `prefix` + random base-62 characters + 6 characters of checksum. The checksum is the CRC-32 (ISO-HDLC, as in
//! gzip) of everything before it, in base 62 with the digits `0-9 A-Z a-z`, most significant first, padded with `0`. A
//! scanner can so tell a key from a look-alike without asking anyone.

use super::{DigestScheme, HashAlgorithm, HashedPart};
use crate::domain::secret::Secret;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CHECKSUM_LENGTH: usize = 6;

/// The form of one environment's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFormat {
    prefix: String,
    body_length: usize,
}

/// Why a format is not legal: says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The prefix is not legal.
    #[error("must be 2 to 32 of `a-z A-Z 0-9 _ -` and end in `_` or `-`")]
    Prefix,
    /// The body is too short to be safe, or too long.
    #[error("must be 28 to 128: at least 22 random characters (131 bits) and 6 of checksum")]
    BodyLength,
    /// A legacy format's length range is not legal.
    #[error("must be two numbers, 16 to 256, the smaller first")]
    LegacyLength,
}

impl KeyFormat {
    /// A format. `body_length` counts the random characters and the checksum.
    ///
    /// # Errors
    /// When the prefix has odd characters or the body holds fewer than 128 random bits.
    pub fn new(prefix: &str, body_length: usize) -> Result<Self, FormatError> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !(2..=32).contains(&prefix.len()) || !prefix.bytes().all(legal) || !prefix.ends_with(['_', '-']) {
            return Err(FormatError::Prefix);
        }
        if !(22 + CHECKSUM_LENGTH..=128).contains(&body_length) {
            return Err(FormatError::BodyLength);
        }
        Ok(Self { prefix: prefix.to_owned(), body_length })
    }

    /// What every key of this format begins with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Makes a key. `fill` fills a buffer with random bytes.
    ///
    /// # Errors
    /// Passes on the failure of `fill`.
    pub fn generate<E>(&self, mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Secret, E> {
        let wanted = self.prefix.len().saturating_add(self.body_length);
        let mut text = String::with_capacity(wanted);
        text.push_str(&self.prefix);
        let random_end = wanted.saturating_sub(CHECKSUM_LENGTH);
        let mut pool = zeroize::Zeroizing::new([0u8; 64]);
        while text.len() < random_end {
            fill(&mut *pool)?;
            // 248 is the largest multiple of 62 in a byte: what lies above would favour the first digits.
            let missing = random_end.saturating_sub(text.len());
            text.extend(
                pool.iter().filter(|byte| **byte < 248).map(|byte| char::from(digit(u32::from(*byte)))).take(missing),
            );
        }
        let sum = crc32fast::hash(text.as_bytes());
        text.extend(checksum(sum).map(char::from));
        Ok(Secret::generated(text))
    }

    /// Whether `text` has this form, its checksum included.
    #[must_use]
    pub fn recognizes(&self, text: &str) -> bool {
        let Some(body) = text.strip_prefix(self.prefix.as_str()) else { return false };
        if body.len() != self.body_length || !body.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return false;
        }
        let Some((covered, sum)) = text.split_at_checked(text.len().saturating_sub(CHECKSUM_LENGTH)) else {
            return false;
        };
        sum.as_bytes() == checksum(crc32fast::hash(covered.as_bytes()))
    }
}

/// The last base-62 digit of a number.
fn digit(value: u32) -> u8 {
    BASE62.get((value % 62) as usize).copied().unwrap_or(b'0')
}

/// 62^6 is larger than 2^32: six digits always suffice.
fn checksum(sum: u32) -> [u8; CHECKSUM_LENGTH] {
    let (mut digits, mut rest) = ([b'0'; CHECKSUM_LENGTH], sum);
    for place in digits.iter_mut().rev() {
        *place = digit(rest);
        rest /= 62;
    }
    digits
}

/// Keys that were made elsewhere and that a realm goes on accepting once they are imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyFormat {
    prefix: String,
    shortest: usize,
    longest: usize,
    schemes: Vec<DigestScheme>,
}

impl LegacyFormat {
    /// A format: keys of `shortest` to `longest` characters in all that begin with `prefix` (which may be empty).
    /// `hashes` lists the hashes that may be imported; raw keys always may.
    ///
    /// # Errors
    /// When the range of lengths is not legal.
    pub fn new(
        prefix: &str,
        (shortest, longest): (usize, usize),
        hashes: &[(HashAlgorithm, HashedPart)],
    ) -> Result<Self, FormatError> {
        if !(16..=256).contains(&shortest) || !(shortest..=256).contains(&longest) {
            return Err(FormatError::LegacyLength);
        }
        let schemes = hashes.iter().map(|(algorithm, part)| DigestScheme::Imported(*algorithm, *part)).collect();
        Ok(Self { prefix: prefix.to_owned(), shortest, longest, schemes })
    }

    /// What every key of this format begins with; may be empty.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The hashes that a key of this format may be stored under.
    #[must_use]
    pub fn schemes(&self) -> &[DigestScheme] {
        &self.schemes
    }

    /// Whether `text` has this form.
    #[must_use]
    pub fn recognizes(&self, text: &str) -> bool {
        (self.shortest..=self.longest).contains(&text.len())
            && text.starts_with(&self.prefix)
            && text.bytes().all(|b| b.is_ascii_graphic())
    }
}

/// The form in which a realm recognized a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextForm<'r> {
    /// Index of the environment in the realm.
    pub environment: usize,
    /// The prefix that the key begins with.
    pub prefix: &'r str,
    /// Absent: keygate's own format. Else the hashes that the key may be stored under.
    pub legacy: Option<&'r [DigestScheme]>,
}

/// What may be shown of a key after its creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HintStyle {
    /// Nothing.
    None,
    /// `rk_live_…x4f2`: the prefix and the last four characters.
    PrefixLast4,
    /// `rcv_live_8t…f3a2`: the prefix, two characters, and the last four.
    Prefix2Last4,
}

impl HintStyle {
    /// Every style.
    pub const ALL: [Self; 3] = [Self::None, Self::PrefixLast4, Self::Prefix2Last4];

    /// The name used in a realm's configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::PrefixLast4 => "prefix-last4",
            Self::Prefix2Last4 => "prefix-2-last4",
        }
    }
}

/// What may be shown of `key`, which begins with `prefix`.
#[must_use]
pub fn hint(style: HintStyle, prefix: &str, key: &str) -> String {
    let body = key.strip_prefix(prefix).unwrap_or_default();
    let tail = || body.len().checked_sub(4).and_then(|at| body.get(at..)).unwrap_or_default();
    match style {
        HintStyle::None => String::new(),
        HintStyle::PrefixLast4 => format!("{prefix}…{}", tail()),
        HintStyle::Prefix2Last4 => format!("{prefix}{}…{}", body.get(..2).unwrap_or_default(), tail()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn format() -> KeyFormat {
        KeyFormat::new("rk_live_", 28).unwrap()
    }

    fn key(seed: u8) -> String {
        let mut next = seed;
        let fill = |pool: &mut [u8]| {
            pool.iter_mut().for_each(|b| {
                next = next.wrapping_mul(113).wrapping_add(41);
                *b = next;
            });
            Ok::<_, Infallible>(())
        };
        let Ok(secret) = format().generate(fill);
        secret.expose().to_owned()
    }

    #[test]
    fn a_generated_key_is_recognized_and_no_single_change_to_it_is() {
        let key = key(7);
        assert!(key.starts_with("rk_live_") && key.len() == 36);
        assert!(format().recognizes(&key));
        for at in 0..key.len() {
            for replacement in ['0', 'z', '-', '\u{e4}'] {
                let changed: String =
                    key.chars().enumerate().map(|(i, c)| if i == at { replacement } else { c }).collect();
                assert!(changed == key || !format().recognizes(&changed), "{changed}");
            }
        }
        assert!(
            !format().recognizes(&key[..35]) && !format().recognizes(&format!("{key}0")) && !format().recognizes("")
        );
    }

    #[test]
    fn the_checksum_is_the_documented_one() {
        // CRC-32 of "123456789" is 0xCBF43926 by the algorithm's definition: 3421780262 in base 62.
        assert_eq!(checksum(0xCBF4_3926), *b"3jZRME");
    }

    #[test]
    fn unsafe_formats_are_refused() {
        assert_eq!(KeyFormat::new("rk_live_", 27), Err(FormatError::BodyLength));
        assert_eq!(KeyFormat::new("rk_live", 28), Err(FormatError::Prefix));
        assert_eq!(KeyFormat::new("r k_", 28), Err(FormatError::Prefix));
    }

    #[test]
    fn hints_show_what_their_style_says() {
        assert_eq!(hint(HintStyle::None, "rk_", "rk_abcdefgh"), "");
        assert_eq!(hint(HintStyle::PrefixLast4, "rk_", "rk_abcdefgh"), "rk_…efgh");
        assert_eq!(hint(HintStyle::Prefix2Last4, "rk_", "rk_abcdefgh"), "rk_ab…efgh");
    }
}
