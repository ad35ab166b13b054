//! The first operator key: made at the first start, written to a file that only its owner may read, never to a log.

use super::{StartError, files};
use crate::{
    app::{house::App, keys::Bootstrap, ports::Store},
    domain::secret::Secret,
};
use std::path::Path;

/// Sees to it that there is an operator key. Tells whether this start made one.
///
/// The file is written before the key is made: a server that is killed in between finds the file at its next start and
/// makes that very key. There is never a key whose secret nobody has.
pub(super) async fn ensure<S: Store>(app: &App<S>, path: &Path, reissue: bool) -> Result<bool, StartError> {
    if !reissue && !app.lacks_operator().await.map_err(StartError::Operator)? {
        return Ok(false);
    }
    let written = if reissue { None } else { files::read(path)? };
    let given = written.and_then(|text| Secret::new(text.trim().to_owned()));
    let ours = given.is_none();
    let secret = match given {
        Some(secret) => secret,
        None => {
            let secret = app.new_operator_secret().map_err(StartError::Operator)?;
            files::write(path, &format!("{}\n", secret.expose()), reissue)?;
            secret
        }
    };
    match app.make_operator(&secret, reissue).await.map_err(StartError::Operator)? {
        Bootstrap::Made => Ok(true),
        Bootstrap::Present => {
            // Another server on the same store was faster: its file holds the key. What this one wrote holds nothing; what
            // was there before is not this start's to remove, and may be the same for all servers.
            if ours {
                std::fs::remove_file(path).map_err(StartError::file(path, "removed"))?;
            }
            Ok(false)
        }
    }
}
