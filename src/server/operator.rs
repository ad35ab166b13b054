//! The first operator key: made at the first start, written to a file that only its owner may read, never to a log.

use super::{StartError, files};
use crate::{
    app::{house::App, keys::Bootstrap, ports::Store},
    domain::secret::Secret,
};
use std::path::Path;
use zeroize::Zeroizing;

/// Sees to it that there is an operator key. Tells whether this start made one.
///
/// The file is written before the key is made: a server that is killed in between finds the file at its next start and
/// makes that very key. There is never a key whose secret nobody has.
pub(super) async fn ensure<S: Store>(app: &App<S>, path: &Path, reissue: bool) -> Result<bool, StartError> {
    if reissue {
        return self::reissue(app, path).await.map(|()| true);
    }
    if !app.lacks_operator().await.map_err(StartError::Operator)? {
        return Ok(false);
    }
    let mut wrote = false;
    let secret = match read(path)? {
        Some(secret) => secret,
        None => {
            let secret = app.new_operator_secret().map_err(StartError::Operator)?;
            wrote = files::write(path, &line(&secret), false)?;
            // Of servers that start at the same time with one file, all make the key that the first wrote.
            if wrote { secret } else { read(path)?.unwrap_or(secret) }
        }
    };
    match app.make_operator(&secret, false).await.map_err(StartError::Operator)? {
        Bootstrap::Made => Ok(true),
        Bootstrap::Present => {
            // Another server on the same store was faster, and its file holds the key. What this start wrote is no key; a
            // file that somebody else wrote may be anything.
            if wrote {
                std::fs::remove_file(path).map_err(StartError::file(path, "removed"))?;
            }
            Ok(false)
        }
    }
}

/// Makes one more operator key. The file keeps the old one until the new one is a key: until then the new one lies beside it.
async fn reissue<S: Store>(app: &App<S>, path: &Path) -> Result<(), StartError> {
    let secret = app.new_operator_secret().map_err(StartError::Operator)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = Path::new(&draft);
    files::write(draft, &line(&secret), true)?;
    // Where this fails, nobody knows whether the key was made: then the file beside the old one may hold it.
    app.make_operator(&secret, true).await.map_err(StartError::Operator)?;
    files::rename(draft, path)
}

fn line(secret: &Secret) -> Zeroizing<String> {
    Zeroizing::new(format!("{}\n", secret.expose()))
}

fn read(path: &Path) -> Result<Option<Secret>, StartError> {
    Ok(files::read(path)?.and_then(|text| Secret::new(text.trim().to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::{house::House, manager::Shown},
        config,
        domain::key::{SecretRing, ServerSecret},
        server::{clock::SystemClock, entropy::SystemEntropy},
        store::embedded::Embedded,
    };
    use std::{fs, sync::Arc};

    fn server(directory: &Path) -> App<Embedded> {
        let ring = SecretRing::new(vec![ServerSecret::new(1, Zeroizing::new([7; 32]))]).unwrap();
        let clock = Arc::new(SystemClock::new());
        let store = Embedded::open(directory, &ring, clock.clone(), 1_000).unwrap();
        let realms = config::load(&config::Settings::default()).unwrap();
        App::new(Arc::new(House::new(&realms, &ring, clock, Arc::new(SystemEntropy))), store)
    }

    async fn is_key(app: &App<Embedded>, path: &Path) -> bool {
        let Some(secret) = read(path).unwrap() else { return false };
        let header = format!("Bearer {}", secret.expose());
        app.manager(Shown::in_headers(vec![("authorization", &header)])).await.is_ok()
    }

    fn lone_file(directory: &Path) -> bool {
        fs::read_dir(directory).unwrap().count() == 1
    }

    #[tokio::test]
    async fn servers_that_start_together_with_one_file_keep_it() {
        let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (app, path) = (server(data.path()), files.path().join("operator.key"));
        let all = tokio::join!(ensure(&app, &path, false), ensure(&app, &path, false), ensure(&app, &path, false));
        assert!([all.0, all.1, all.2].map(Result::unwrap).contains(&true));
        assert!(is_key(&app, &path).await && lone_file(files.path()));
    }

    #[tokio::test]
    async fn servers_that_start_together_with_a_file_each_leave_the_one_that_holds_the_key() {
        let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (app, one, two) = (server(data.path()), files.path().join("one"), files.path().join("two"));
        let (first, second) = tokio::join!(ensure(&app, &one, false), ensure(&app, &two, false));
        assert_ne!(first.unwrap(), second.unwrap());
        assert!(is_key(&app, &one).await != is_key(&app, &two).await);
        assert!(lone_file(files.path()));
    }

    #[tokio::test]
    async fn whoever_asks_for_a_new_key_gets_one_also_when_others_ask_at_the_same_time() {
        let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (app, paths) = (server(data.path()), ["one", "two"].map(|name| files.path().join(name)));
        ensure(&app, &paths[0], false).await.unwrap();
        let old = read(&paths[0]).unwrap().unwrap();
        let (first, second) = tokio::join!(ensure(&app, &paths[0], true), ensure(&app, &paths[1], true));
        assert!(first.unwrap() && second.unwrap());
        assert!(is_key(&app, &paths[0]).await && is_key(&app, &paths[1]).await);
        assert_ne!(read(&paths[0]).unwrap().unwrap().expose(), old.expose());
        assert_eq!(fs::read_dir(files.path()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_new_operator_is_made_also_when_the_account_changes_in_between() {
        let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let app = server(data.path());
        ensure(&app, &files.path().join("operator.key"), false).await.unwrap();
        let secrets = [(); 3].map(|()| app.new_operator_secret().unwrap());
        let [a, b, c] = &secrets;
        let made = tokio::join!(app.make_operator(a, true), app.make_operator(b, true), app.make_operator(c, true));
        assert_eq!([made.0, made.1, made.2].map(Result::unwrap), [Bootstrap::Made, Bootstrap::Made, Bootstrap::Made]);
        for secret in &secrets {
            let header = format!("Bearer {}", secret.expose());
            assert!(app.manager(Shown::in_headers(vec![("authorization", &header)])).await.is_ok());
        }
    }
}
