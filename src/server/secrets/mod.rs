//! The server secrets: a file with one line for each version, made at the first start.

mod change;
mod lines;

pub use change::{When, retire_secret, rotate_secrets, show_secrets};

use super::{StartError, files};
use crate::{
    app::ports::Entropy,
    domain::{key::SecretRing, time::Timestamp},
};
use std::path::Path;
use zeroize::Zeroizing;

const HEADER: &str = "# keygate server secrets: `VERSION SECRET` a line, the secret as 64 hexadecimal digits.
# `keygate secrets rotate` adds a version, used from its time on (`from=`); `keygate secrets retire` ends one (`until=`).
# All keys and records hang on them. Keep a copy in a safe place; every server on the same store needs the same file.
";

/// Reads the secrets, or makes the first one where there is no file. `data` is the file of the embedded store, if that is
/// used: where it exists the secrets existed too, and a new one would open nothing.
pub(super) fn load(
    path: &Path,
    data: Option<&Path>,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<SecretRing, StartError> {
    let text = match files::read(path)? {
        Some(text) => text,
        None => {
            if let Some(data) = data.filter(|data| data.exists()) {
                return Err(StartError::SecretsGone { path: path.to_owned(), data: data.to_owned() });
            }
            if files::write(path, &first(path, entropy)?, false)? {
                tracing::info!(file = %path.display(), "made a new server secret: keep a copy of it in a safe place");
            }
            // Of servers that start at the same time on one directory, all read what the first wrote.
            files::read(path)?.unwrap_or_default()
        }
    };
    parse(path, &text, now)
}

/// Reads the secrets of a server that was started before; makes none.
pub(super) fn existing(path: &Path, now: Timestamp) -> Result<SecretRing, StartError> {
    let text = files::read(path)?.ok_or_else(|| StartError::SecretsMissing { path: path.to_owned() })?;
    parse(path, &text, now)
}

/// Reads the secrets again, for a server that runs with `before`: nothing of that may be lost.
pub(super) fn reread(path: &Path, before: &SecretRing, now: Timestamp) -> Result<SecretRing, StartError> {
    let ring = existing(path, now)?;
    let versions = ring.lacks(before);
    if versions.is_empty() { Ok(ring) } else { Err(StartError::SecretsLost { path: path.to_owned(), versions }) }
}

fn first(path: &Path, entropy: &dyn Entropy) -> Result<Zeroizing<String>, StartError> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    entropy
        .fill(&mut *bytes)
        .map_err(|error| StartError::file(path, "made")(std::io::Error::other(error.to_string())))?;
    Ok(Zeroizing::new(format!("{HEADER}{}", *lines::written(1, &bytes, None))))
}

fn parse(path: &Path, text: &str, now: Timestamp) -> Result<SecretRing, StartError> {
    Ok(lines::parse(path, text)?.1.at(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::entropy::SystemEntropy;

    #[test]
    fn a_new_secret_is_written_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/secrets");
        let made = load(&path, None, &SystemEntropy, Timestamp::default()).map(|ring| ring.fingerprint()).unwrap();
        assert_eq!(
            load(&path, None, &SystemEntropy, Timestamp::default()).map(|ring| ring.fingerprint()).unwrap(),
            made
        );
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
