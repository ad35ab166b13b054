//! Where the command line takes keys from. A key never appears in an error.

use super::failure::Failure;
use std::{
    env,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Where the management key lies when nothing else is said: where `keygate serve` puts it.
const DEFAULT_KEY_FILE: &str = "./keygate-data/operator.key";
/// The most that is read of a file or of standard input that should hold a key.
const MAX_BYTES: usize = 16 * 1024;

/// A key as it was given. Wiped when dropped; judged by whoever it is sent to.
pub type GivenKey = Zeroizing<String>;

/// The key to be judged: from the argument, from standard input, or from `KEYGATE_API_KEY`.
///
/// # Errors
/// When standard input cannot be read or holds no key.
pub fn judged_key(argument: Option<String>, from_stdin: bool) -> Result<Option<GivenKey>, Failure> {
    if let Some(key) = argument {
        return Ok(Some(Zeroizing::new(key)));
    }
    if from_stdin {
        return one_line("standard input", io::stdin()).map(Some);
    }
    variable("KEYGATE_API_KEY")
}

/// The access token to be judged: from standard input, or from `KEYGATE_ACCESS_TOKEN` where no key is named.
///
/// # Errors
/// When standard input cannot be read or holds no token.
pub fn judged_token(from_stdin: bool, key_is_named: bool) -> Result<Option<GivenKey>, Failure> {
    match (from_stdin, key_is_named) {
        (true, _) => one_line("standard input", io::stdin()).map(Some),
        (false, true) => Ok(None),
        (false, false) => variable("KEYGATE_ACCESS_TOKEN"),
    }
}

/// The key that authenticates management: from `--key-file`, from `KEYGATE_KEY`, or from the default file.
///
/// # Errors
/// When there is none, or the file cannot be read or holds no key.
pub fn management_key(file: Option<&Path>) -> Result<GivenKey, Failure> {
    let path = match file {
        Some(path) => path.to_path_buf(),
        None => match variable("KEYGATE_KEY")? {
            Some(key) => return Ok(key),
            None => PathBuf::from(DEFAULT_KEY_FILE),
        },
    };
    if file.is_none() && !path.exists() {
        return Err(Failure::usage(format!(
            "no management key: set KEYGATE_KEY, or name a file with `--key-file` (`{DEFAULT_KEY_FILE}` does not exist)"
        )));
    }
    let name = format!("the key file `{}`", path.display());
    let file = File::open(&path).map_err(|error| Failure::io(&format!("cannot open {name}"), &error))?;
    one_line(&name, file)
}

/// A provider's credential: from a file, else from standard input. There is no argument and no variable for it.
///
/// # Errors
/// When the file or standard input cannot be read or does not hold one line.
pub fn deposited(file: Option<&Path>) -> Result<GivenKey, Failure> {
    let Some(path) = file else { return one_line("standard input", io::stdin()) };
    let name = format!("the file `{}`", path.display());
    let file = File::open(path).map_err(|error| Failure::io(&format!("cannot open {name}"), &error))?;
    one_line(&name, file)
}

fn variable(name: &str) -> Result<Option<GivenKey>, Failure> {
    match env::var(name) {
        Ok(key) if key.is_empty() => Ok(None),
        Ok(key) => Ok(Some(Zeroizing::new(key))),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => {
            Err(Failure::usage(format!("{name} does not hold a key: it is not UTF-8")))
        }
    }
}

/// Reads the only line of `source`.
fn one_line(name: &str, source: impl Read) -> Result<GivenKey, Failure> {
    let wrong = || Failure::usage(format!("{name} does not hold a key: allowed is one line of text, at most 16 KiB"));
    // Room for everything from the start: a string that grows leaves copies behind that nobody wipes.
    let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES.saturating_add(64)));
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let read = source.take(limit).read_to_string(&mut text);
    read.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => wrong(),
        _ => Failure::io(&format!("cannot read {name}"), &error),
    })?;
    let key = text.trim();
    if key.is_empty() || key.lines().count() > 1 || text.len() > MAX_BYTES {
        return Err(wrong());
    }
    Ok(Zeroizing::new(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_only_line_of_its_file() {
        let read = |text: &[u8]| one_line("it", text).map(|key| key.to_string());
        assert_eq!(read(b"abc\r\n").as_deref(), Ok("abc"));
        assert_eq!(read(b"abc").as_deref(), Ok("abc"));
        for wrong in [&b""[..], b"\n", b"secret1\nsecret2\n", b"secret\xff", &[b's'; 20_000]] {
            let failure = read(wrong).unwrap_err();
            assert!(!failure.lines().concat().contains("secret"), "{failure:?}");
        }
    }

    #[test]
    fn a_named_key_file_must_exist() {
        let failure = management_key(Some(Path::new("/nowhere/x.key"))).unwrap_err();
        assert!(failure.lines()[0].contains("`/nowhere/x.key`"));
    }
}
