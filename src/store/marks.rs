//! Which versions of the server secret a store was ever sealed with: it remembers their fingerprints, so that a server that lacks
//! one of them is told which, and told before it reads anything.
//!
//! What a store holds of it: a head by which servers of before know the secret (fingerprint of the version that wrote it and its
//! seal, 16 bytes each), then 20 bytes for each version: its number, big-endian, and its fingerprint. A version is written down
//! before anything is sealed with it, and stays. Must never know where it is kept.

use super::record::RecordCodec;
use crate::domain::key::{SecretMark, SecretPhase};

/// The field that the seal of the head covers beside the fingerprint.
const PLACE: [&[u8]; 1] = [b"ring"];
const FINGERPRINT: usize = 16;
const HEAD: usize = 32;
const ENTRY: usize = 20;

/// What a store's marks say to a server with certain secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has all of them, and its current one is among them.
    Known,
    /// It has all of them. Before it seals anything this must stand in their place.
    Note(Vec<u8>),
    /// It lacks these versions, or has other secrets under their numbers.
    Lost(Vec<u32>),
    /// It has none of them.
    Foreign,
}

/// Judges what stands in a store. Nothing: it is new. `before`: it is not, though it remembers nothing, and is known to be sealed
/// with a version that this server has; then every version that may have been used counts.
pub(super) fn judge(codec: &RecordCodec, stored: Option<&[u8]>, before: bool) -> Verdict {
    let states = codec.secrets();
    let mine: Vec<SecretMark> = states.iter().map(|state| state.mark).collect();
    let used = |phase| if before { phase != SecretPhase::Pending } else { phase == SecretPhase::Current };
    let first = || states.iter().filter(|state| used(state.phase)).map(|state| state.mark).collect();
    let Some(stored) = stored else { return Verdict::Note(write(codec, first())) };
    let Some((head, entries)) = stored.split_at_checked(HEAD) else { return Verdict::Foreign };
    if entries.is_empty() {
        // As servers of before left it: they wrote down one version alone.
        let (fingerprint, seal) = head.split_at_checked(FINGERPRINT).unwrap_or_default();
        let knows = codec.knows_mark(&PLACE, fingerprint, seal);
        return if knows && !before { judge(codec, None, true) } else { Verdict::Foreign };
    }
    let Some(marks) = read(entries) else { return Verdict::Foreign };
    let lost: Vec<u32> = marks.iter().filter(|mark| !mine.contains(mark)).map(|mark| mark.version).collect();
    if lost.len() == marks.len() {
        return Verdict::Foreign;
    }
    if !lost.is_empty() {
        return Verdict::Lost(lost);
    }
    let current = states.iter().find(|state| state.phase == SecretPhase::Current).map(|state| state.mark);
    match current.filter(|current| !marks.contains(current)) {
        None => Verdict::Known,
        Some(current) => Verdict::Note(write(codec, marks.into_iter().chain([current]).collect())),
    }
}

fn read(entries: &[u8]) -> Option<Vec<SecretMark>> {
    let entry = |bytes: &[u8]| {
        let (version, fingerprint) = bytes.split_at_checked(ENTRY.checked_sub(FINGERPRINT)?)?;
        let version = u32::from_be_bytes(version.try_into().ok()?);
        Some(SecretMark { version, fingerprint: fingerprint.try_into().ok()? })
    };
    entries.chunks(ENTRY).map(entry).collect()
}

fn write(codec: &RecordCodec, mut marks: Vec<SecretMark>) -> Vec<u8> {
    marks.sort_by_key(|mark| mark.version);
    let (fingerprint, seal) = codec.ring_mark(&PLACE);
    let entry = |mark: &SecretMark| [&mark.version.to_be_bytes()[..], &mark.fingerprint].concat();
    [&fingerprint[..], &seal].into_iter().map(<[u8]>::to_vec).chain(marks.iter().map(entry)).flatten().collect()
}

/// What is lost with those versions, in words.
pub(super) fn loss(versions: &[u32]) -> String {
    let list: Vec<String> = versions.iter().map(ToString::to_string).collect();
    let (versions, is, their) = match versions {
        [_] => ("version", "is missing, or is not the secret that it was", "it"),
        _ => ("versions", "are missing, or are not the secrets that they were", "them"),
    };
    format!(
        "server secret {versions} {} {is}: keys and records that were made with {their}, audit events among them, cannot be read \
         without {their}",
        list.join(", ")
    )
}

/// What to do about it.
pub(super) const REMEDY: &str = "put the line back into the `secrets` file from your copy";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        key::{SecretRing, ServerSecret},
        time::Timestamp,
    };

    /// Versions, each with its secret; those from 100 on are not used yet.
    fn codec(versions: &[(u32, u8)]) -> RecordCodec {
        let secret = |(version, byte): &(u32, u8)| {
            let later = (*version >= 100).then(|| Timestamp::from_micros(9));
            ServerSecret::new(*version, [*byte; 32].into()).between(later, None)
        };
        RecordCodec::new(&SecretRing::new(versions.iter().map(secret).collect()).unwrap())
    }

    fn noted(codec: &RecordCodec, stored: Option<&[u8]>) -> Vec<u8> {
        match judge(codec, stored, false) {
            Verdict::Note(noted) => noted,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_version_that_sealed_is_remembered_and_missed() {
        let first = noted(&codec(&[(1, 1), (100, 9)]), None);
        assert_eq!(judge(&codec(&[(1, 1)]), Some(&first), false), Verdict::Known);
        let both = noted(&codec(&[(1, 1), (2, 2)]), Some(&first));
        assert_eq!(judge(&codec(&[(1, 1), (2, 2), (100, 9)]), Some(&both), false), Verdict::Known);
        for (versions, verdict) in [
            (&[(2, 2)][..], Verdict::Lost(vec![1])),
            (&[(1, 1)], Verdict::Lost(vec![2])),
            (&[(1, 7), (2, 2)], Verdict::Lost(vec![1])),
            (&[(1, 1), (3, 3)], Verdict::Lost(vec![2])),
            (&[(1, 2), (2, 1)], Verdict::Foreign),
            (&[(3, 3)], Verdict::Foreign),
        ] {
            assert_eq!(judge(&codec(versions), Some(&both), false), verdict, "{versions:?}");
        }
    }

    #[test]
    fn what_servers_of_before_left_is_taken_over_with_every_version_that_may_have_been_used() {
        let old = codec(&[(1, 1)]);
        let (fingerprint, seal) = old.ring_mark(&PLACE);
        let left = [fingerprint, seal].concat();
        let now = codec(&[(1, 1), (2, 2), (100, 9)]);
        let taken = noted(&now, Some(&left));
        assert_eq!(judge(&codec(&[(2, 2)]), Some(&taken), false), Verdict::Lost(vec![1]));
        assert_eq!(judge(&codec(&[(1, 1), (2, 2)]), Some(&taken), false), Verdict::Known);
        assert_eq!(judge(&codec(&[(2, 2)]), Some(&left), false), Verdict::Foreign);
        // Those servers look at the head alone.
        assert_eq!(taken[..FINGERPRINT], now.ring_mark(&PLACE).0);
    }

    #[test]
    fn garbage_is_foreign() {
        let codec = codec(&[(1, 1)]);
        let good = noted(&codec, None);
        for garbage in [&b""[..], b"garbage", &good[..good.len() - 1], &[&good[..], &[0]].concat(), &[0; HEAD]] {
            assert_ne!(judge(&codec, Some(garbage), false), Verdict::Known, "{garbage:?}");
        }
        assert_eq!(judge(&codec, Some(b"garbage"), false), Verdict::Foreign);
    }

    #[test]
    fn the_loss_is_told_in_plain_words() {
        assert_eq!(
            loss(&[1]),
            "server secret version 1 is missing, or is not the secret that it was: keys and records that were made with it, \
             audit events among them, cannot be read without it"
        );
        assert!(loss(&[1, 3]).starts_with("server secret versions 1, 3 are missing"));
    }
}
