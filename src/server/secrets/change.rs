//! Changing the `secrets` file: a new version, or an end of an old one. Whole or not at all, and one at a time.

use super::{
    super::{StartError, clock::SystemClock, dumps, entropy::SystemEntropy, files},
    lines::{self, Line},
};
use crate::{
    app::ports::{Clock, Entropy},
    domain::{key::SecretState, time::Timestamp},
};
use std::{path::Path, time::Duration};
use zeroize::Zeroizing;

/// From when something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// So long from now.
    In(Duration),
    /// From that instant on, which must not be over.
    At(Timestamp),
}

/// No version waits longer for its use.
const LONGEST_WAIT: Duration = Duration::from_secs(366 * 86_400);

/// What a `secrets` file says of its versions, the newest first.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn show_secrets(path: &Path) -> Result<Vec<SecretState>, StartError> {
    dumps::forbid()?;
    let text = files::read(path)?.ok_or_else(|| StartError::SecretsMissing { path: path.to_owned() })?;
    states(path, &text, SystemClock::new().now())
}

/// Adds a new version to a `secrets` file, to be used from then on; `retire_after`: the others retire so long after that.
/// Gives what the file says afterwards.
///
/// # Errors
/// When the file cannot be read or written, or a version waits for its use already. Then it stays as it was.
pub fn rotate_secrets(
    path: &Path,
    use_from: When,
    retire_after: Option<Duration>,
) -> Result<Vec<SecretState>, StartError> {
    change(path, |text, versions, now| {
        let from =
            use_from.instant(now).ok_or("the time to use the new version from is over; name one to come, or `now`")?;
        if from.since(now) > LONGEST_WAIT {
            return Err("a new version has to be used within a year".to_owned());
        }
        if let Some((waiting, begin)) =
            versions.iter().find_map(|line| Some((line.version, line.from?))).filter(|(_, begin)| *begin > now)
        {
            let begin = lines::told(begin);
            return Err(format!("version {waiting} waits to be used from {begin} on; rotate again after that"));
        }
        let newest = versions.iter().map(|line| line.version).max().unwrap_or_default();
        let next = newest.checked_add(1).ok_or("there is no number left for another version")?;
        let mut secret = Zeroizing::new([0u8; 32]);
        SystemEntropy.fill(&mut *secret).map_err(|error| error.to_string())?;
        let mut changed = Zeroizing::new(text.to_owned());
        if let Some(end) = retire_after.map(|after| whole_seconds(from.after(after))) {
            for line in versions.iter().filter(|line| line.until.is_none()) {
                changed = lines::ending(&changed, line, Some(end));
            }
        }
        let mut all = Zeroizing::new(String::with_capacity(changed.len().saturating_add(256)));
        all.push_str(&changed);
        if !all.is_empty() && !all.ends_with('\n') {
            all.push('\n');
        }
        all.push_str(&lines::written(next, &secret, Some(from)));
        Ok(all)
    })
}

/// Says in a `secrets` file when a version retires; without a time: never. Gives what the file says afterwards.
///
/// # Errors
/// When the file cannot be read or written, there is no such version, or no other has taken its place by then. Then the file
/// stays as it was.
pub fn retire_secret(path: &Path, version: u32, at: Option<When>) -> Result<Vec<SecretState>, StartError> {
    change(path, |text, versions, now| {
        let until = match at {
            Some(at) => Some(at.instant(now).ok_or("the time to retire it at is over; name one to come, or `now`")?),
            None => None,
        };
        let known: Vec<String> = versions.iter().map(|line| line.version.to_string()).collect();
        let line = versions.iter().find(|line| line.version == version);
        let line = line.ok_or_else(|| format!("holds no version {version}; it holds {}", known.join(", ")))?;
        Ok(lines::ending(text, line, until))
    })
}

/// Changes a file under a lock. What is not a `secrets` file afterwards is not written.
fn change(
    path: &Path,
    with: impl FnOnce(&str, &[Line], Timestamp) -> Result<Zeroizing<String>, String>,
) -> Result<Vec<SecretState>, StartError> {
    dumps::forbid()?;
    let held = files::Held::take(path)?;
    let path = held.path();
    let text = files::read(path)?.ok_or_else(|| StartError::SecretsMissing { path: path.to_owned() })?;
    let now = SystemClock::new().now();
    let (versions, _) = lines::parse(path, &text)?;
    let refused = |problem| StartError::SecretsChange { path: path.to_owned(), problem };
    let changed = with(&text, &versions, now).map_err(refused)?;
    let found = states(path, &changed, now)?;
    held.replace(&changed)?;
    Ok(found)
}

fn states(path: &Path, text: &str, now: Timestamp) -> Result<Vec<SecretState>, StartError> {
    Ok(lines::parse(path, text)?.1.at(now).states())
}

impl When {
    /// The instant, in whole seconds; nothing when it is over.
    fn instant(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            // What holds from now on held from the beginning of this second.
            Self::In(Duration::ZERO) => {
                Some(Timestamp::from_micros((now.as_micros() / 1_000_000).saturating_mul(1_000_000)))
            }
            Self::In(span) => Some(whole_seconds(now.after(span))),
            Self::At(at) => (at >= now).then_some(at),
        }
    }
}

/// People read these times: nobody needs fractions of a second.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_micros(time.as_secs_ceil().saturating_mul(1_000_000)).min(Timestamp::MAX)
}
