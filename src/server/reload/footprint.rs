//! Whether files say something else than before: by their contents alone. That survives whatever way they are changed in, be it
//! written in place, replaced by a rename, or swapped by a symbolic link above them.

use crate::config::{self, RealmFiles};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// No file of a configuration is larger.
const FILE_BYTES: u64 = 16 * 1_024 * 1_024;

/// The files of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) settings: Option<PathBuf>,
    pub(super) realms: RealmFiles,
    pub(super) others: Vec<PathBuf>,
}

/// What they say, as a hash. It also covers secrets, so it is shown to nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::server) struct Footprint([u8; 32]);

impl Footprint {
    /// Of no files.
    pub(super) const NONE: Self = Self([0; 32]);

    /// Of these files. One that is not there, or not to be read, is a state like any other.
    pub(in crate::server) fn of(files: impl Iterator<Item = impl AsRef<Path>>) -> Self {
        let mut hash = Sha256::new();
        for path in files {
            let path = path.as_ref();
            hash.update((path.as_os_str().len() as u64).to_be_bytes());
            hash.update(path.as_os_str().as_bytes());
            hash.update(content(path));
        }
        Self(hash.finalize().into())
    }
}

impl Watched {
    /// Reads them all.
    pub(super) fn footprint(&self) -> Footprint {
        let realms = config::realm_files(&self.realms);
        Footprint::of(self.settings.iter().chain(&realms).chain(&self.others))
    }
}

fn content(path: &Path) -> [u8; 32] {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES).read_to_end(&mut bytes));
    let hash = match read {
        Ok(_) => Sha256::new_with_prefix([1]).chain_update(&bytes),
        Err(error) => Sha256::new_with_prefix([0]).chain_update(error.kind().to_string()),
    };
    zeroize::Zeroize::zeroize(&mut bytes);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn every_way_of_changing_a_file_shows_and_none_shows_where_nothing_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // As Kubernetes lays it out.
        for (data, text) in [("one", "a = 1"), ("two", "a = 2"), ("same", "a = 1")] {
            fs::create_dir(at(data)).unwrap();
            fs::write(at(data).join("realm.toml"), text).unwrap();
        }
        symlink("one", at("..data")).unwrap();
        symlink("..data/realm.toml", at("realm.toml")).unwrap();
        let watched = Watched {
            settings: Some(at("keygate.toml")),
            realms: RealmFiles::Paths(vec![folder.path().to_owned()]),
            others: vec![at("secrets")],
        };
        let swap = |data: &str| {
            symlink(data, at("..new")).unwrap();
            fs::rename(at("..new"), at("..data")).unwrap();
            watched.footprint()
        };
        let first = watched.footprint();
        assert!(watched.footprint() == first && swap("same") == first);
        assert!(swap("two") != first && swap("one") == first);
        let mut seen = vec![first];
        let steps: [&dyn Fn(); 6] = [
            &|| fs::write(at("one/realm.toml"), "a = 3").unwrap(),
            &|| fs::write(at("secrets"), "").unwrap(),
            &|| fs::write(at("secrets"), "x").unwrap(),
            &|| fs::write(at("keygate.toml"), "x").unwrap(),
            &|| fs::write(at("further.toml"), "").unwrap(),
            &|| fs::remove_file(at("realm.toml")).unwrap(),
        ];
        for step in steps {
            step();
            let now = watched.footprint();
            assert!(!seen.contains(&now), "step {} shows nothing", seen.len());
            seen.push(now);
        }
    }
}
