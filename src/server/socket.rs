//! The Unix socket: bound where nobody else listens, open to whom the settings say, and removed at the end.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// A socket's file, removed with this value unless somebody put another one in its place.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number of the file that was made.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            // A file that stays is found to be stale by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Who may connect: whoever may write to the socket's file.
pub(super) struct Access<'a> {
    pub(super) mode: u32,
    /// A user's name or number; absent: the server's own.
    pub(super) owner: Option<&'a str>,
    /// A group's.
    pub(super) group: Option<&'a str>,
}

impl Access<'_> {
    fn give(&self, path: &Path) -> io::Result<()> {
        let unknown =
            |what: &str, name: &str| io::Error::other(format!("there is no {what} `{}`", name.escape_debug()));
        let number = |name: &str| name.parse::<u32>().ok();
        let user = |name: &str| {
            let found = number(name).or_else(|| Some(uzers::get_user_by_name(name)?.uid()));
            found.ok_or_else(|| unknown("user", name))
        };
        let group = |name: &str| {
            let found = number(name).or_else(|| Some(uzers::get_group_by_name(name)?.gid()));
            found.ok_or_else(|| unknown("group", name))
        };
        let (owner, group) = (self.owner.map(user).transpose()?, self.group.map(group).transpose()?);
        // The mode last: nobody else may write to the file before it is theirs.
        chown(path, owner, group)?;
        fs::set_permissions(path, fs::Permissions::from_mode(self.mode))
    }
}

/// Binds a socket at `path` with that access. A socket that nobody listens on any more is replaced; nothing else is.
pub(super) fn bind(path: &Path, access: &Access<'_>) -> io::Result<(UnixListener, SocketFile)> {
    remove_stale(path)?;
    // Under a name that nobody knows until its access is right; and a link never takes another file's place.
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = Path::new(&draft);
    let listener = UnixListener::bind(draft)?;
    let placed = access.give(draft).and_then(|()| fs::hard_link(draft, path));
    let removed = fs::remove_file(draft);
    placed.and(removed)?;
    let made = fs::symlink_metadata(path)?;
    listener.set_nonblocking(true)?;
    Ok((listener, SocketFile { path: path.to_owned(), identity: (made.dev(), made.ino()) }))
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no socket lies there"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(mode: u32) -> Access<'static> {
        Access { mode, owner: None, group: None }
    }

    #[test]
    fn it_is_given_to_whom_the_settings_name_or_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let made = fs::metadata(directory.path()).unwrap();
        let (owner, group) = (made.uid().to_string(), made.gid().to_string());
        let own = Access { mode: 0o660, owner: Some(&owner), group: Some(&group) };
        let (_listener, file) = bind(&path, &own).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid()), (made.uid(), made.gid()));
        drop(file);
        let user = Access { mode: 0o660, owner: Some("no such user"), group: None };
        assert_eq!(bind(&path, &user).err().unwrap().to_string(), "there is no user `no such user`");
        let group = Access { mode: 0o660, owner: None, group: Some("nobody\n") };
        assert_eq!(bind(&path, &group).err().unwrap().to_string(), "there is no group `nobody\\n`");
        // Only root may give files away; whoever may not is told, and no file stays.
        let given = Access { mode: 0o660, owner: Some("root"), group: Some("65534") };
        match bind(&path, &given) {
            Ok((_listener, file)) => {
                let found = fs::metadata(&path).unwrap();
                assert_eq!((found.uid(), found.gid()), (0, 65_534));
                drop(file);
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_a_socket_that_nobody_listens_on_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (listener, file) = bind(&path, &of(0o600)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(bind(&path, &of(0o600)).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();

        // A server that was killed leaves its file.
        std::mem::forget(file);
        drop(listener);
        let (_listener, file) = bind(&path, &of(0o660)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        drop(file);
        assert!(!path.exists());

        fs::write(&path, "a file").unwrap();
        assert_eq!(bind(&path, &of(0o660)).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
    }

    #[test]
    fn a_socket_that_took_the_place_of_ours_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (_first, file) = bind(&path, &of(0o600)).unwrap();
        fs::rename(&path, directory.path().join("aside")).unwrap();
        let (_second, _kept) = bind(&path, &of(0o600)).unwrap();
        drop(file);
        assert!(path.exists());
    }
}
