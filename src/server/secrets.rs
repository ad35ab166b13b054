//! The server secrets: a file with one line for each version, `VERSION HEX`, made at the first start.

use super::{StartError, files};
use crate::{
    app::ports::Entropy,
    domain::key::{SecretRing, ServerSecret},
};
use data_encoding::HEXLOWER_PERMISSIVE;
use std::path::Path;
use zeroize::Zeroizing;

const HEADER: &str = "# keygate server secrets: `VERSION SECRET` a line, the secret as 64 hexadecimal digits.
# All keys and records hang on them. Keep a copy in a safe place; every server on the same store needs the same file.
";

/// Reads the secrets, or makes the first one where there is no file. `data` is the file of the embedded store, if that is
/// used: where it exists the secrets existed too, and a new one would open nothing.
pub(super) fn load(path: &Path, data: Option<&Path>, entropy: &dyn Entropy) -> Result<SecretRing, StartError> {
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
    parse(path, &text)
}

/// Reads the secrets of a server that was started before; makes none.
pub(super) fn existing(path: &Path) -> Result<SecretRing, StartError> {
    let text = files::read(path)?.ok_or_else(|| StartError::SecretsMissing { path: path.to_owned() })?;
    parse(path, &text)
}

/// Reads the secrets again, for a server that runs with `before`: nothing of that may be lost.
pub(super) fn reread(path: &Path, before: &SecretRing) -> Result<SecretRing, StartError> {
    let ring = existing(path)?;
    let versions = ring.lacks(before);
    if versions.is_empty() { Ok(ring) } else { Err(StartError::SecretsLost { path: path.to_owned(), versions }) }
}

fn first(path: &Path, entropy: &dyn Entropy) -> Result<Zeroizing<String>, StartError> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    entropy
        .fill(&mut *bytes)
        .map_err(|error| StartError::file(path, "made")(std::io::Error::other(error.to_string())))?;
    Ok(Zeroizing::new(format!("{HEADER}1 {}\n", *Zeroizing::new(HEXLOWER_PERMISSIVE.encode(&*bytes)))))
}

fn parse(path: &Path, text: &str) -> Result<SecretRing, StartError> {
    let wrong = |line: usize, problem| StartError::Secrets { path: path.to_owned(), line, problem };
    let mut versions = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index.saturating_add(1);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let secret = read_line(line).ok_or_else(|| {
            wrong(line_number, "must be `VERSION SECRET`: a number from 1, a space, 64 hexadecimal digits")
        })?;
        versions.push(secret);
    }
    let problem = "must hold at least one secret, and each version once";
    SecretRing::new(versions).ok_or_else(|| wrong(text.lines().count(), problem))
}

fn read_line(line: &str) -> Option<ServerSecret> {
    let (version, hex) = line.split_once(' ')?;
    let version = version.parse().ok().filter(|version| *version > 0)?;
    let decoded = Zeroizing::new(HEXLOWER_PERMISSIVE.decode(hex.trim().as_bytes()).ok()?);
    let bytes = <[u8; 32]>::try_from(decoded.as_slice()).ok()?;
    Some(ServerSecret::new(version, Zeroizing::new(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::entropy::SystemEntropy;

    #[test]
    fn a_new_secret_is_written_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/secrets");
        let made = load(&path, None, &SystemEntropy).map(|ring| ring.fingerprint()).unwrap();
        assert_eq!(load(&path, None, &SystemEntropy).map(|ring| ring.fingerprint()).unwrap(), made);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_told_by_its_line_and_never_shown() {
        let path = Path::new("secrets");
        let good = format!("1 {}", "ab".repeat(32));
        for (text, line) in
            [("", 0), ("# only a comment\n", 1), (&*format!("{good}\n{good}"), 2), (&*format!("{good}\n2 dead"), 2)]
        {
            let error = parse(path, text).err().unwrap().to_string();
            assert!(
                error.contains(&format!("line {line}")) && !error.contains("dead") && !error.contains("abab"),
                "{error}"
            );
        }
    }
}
