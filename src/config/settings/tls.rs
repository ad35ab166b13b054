//! By which files a listener speaks TLS.

use super::{
    redis::{file, half_given},
    set,
};
use crate::config::reader::Table;
use std::path::{Path, PathBuf};

pub(super) const KEYS: &[&str] = &["certificate_file", "key_file", "client_ca_file", "client_certificates"];

/// By which files a listener speaks TLS. Without a certificate it speaks in plain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerTls {
    /// The certificate that is shown, and those between it and whoever its clients trust.
    pub certificate_file: Option<PathBuf>,
    /// Its private key.
    pub key_file: Option<PathBuf>,
    /// The authorities whose certificates clients show; absent: clients are asked for none.
    pub client_ca_file: Option<PathBuf>,
    /// Whether each has to, where they are asked.
    pub client_certificates: ClientCertificates,
}

/// Whether each client has to show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Each has to.
    #[default]
    Required,
    /// Whoever shows none is let in too; whoever shows a wrong one is not.
    Optional,
}

impl ListenerTls {
    /// Whether any file is named.
    #[must_use]
    pub fn is_set(&self) -> bool {
        [&self.certificate_file, &self.key_file, &self.client_ca_file].into_iter().any(Option::is_some)
    }

    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.certificate_file, &self.key_file, &self.client_ca_file].into_iter().flatten().map(PathBuf::as_path)
    }

    /// The files of the certificate and of its key, where TLS is spoken; nothing where it is not. `table` only serves in the
    /// message.
    ///
    /// # Errors
    /// When one is set without what it needs: a sentence.
    pub fn identity(&self, table: &str) -> Result<Option<(&Path, &Path)>, String> {
        match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) if self.client_ca_file.is_some() => Err(format!(
                "`{table}.client_ca_file` is set without `{table}.certificate_file`: clients are asked for certificates only where \
                 TLS is spoken"
            )),
            (None, None) => Ok(None),
            _ => Err(half_given(table)),
        }
    }
}

/// Reads the table `tls` of a listener.
pub(super) fn read(within: &Table<'_>, base: &Path, tls: &mut ListenerTls) {
    let Some(table) = within.table("tls", KEYS) else { return };
    set(&mut tls.certificate_file, file(&table, "certificate_file", base));
    set(&mut tls.key_file, file(&table, "key_file", base));
    set(&mut tls.client_ca_file, file(&table, "client_ca_file", base));
    let words = [("required", ClientCertificates::Required), ("optional", ClientCertificates::Optional)];
    set(&mut tls.client_certificates, table.get("client_certificates").and_then(|value| value.word(&words)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_go_together_is_told() {
        let files = |which: &str| {
            let file = |mark: char| which.contains(mark).then(|| PathBuf::from(mark.to_string()));
            ListenerTls {
                certificate_file: file('c'),
                key_file: file('k'),
                client_ca_file: file('a'),
                ..ListenerTls::default()
            }
        };
        let half = "of `tls.certificate_file` and `tls.key_file` one is set without the other";
        for (which, told) in [
            ("", Ok(None)),
            ("ck", Ok(Some((Path::new("c"), Path::new("k"))))),
            ("cka", Ok(Some((Path::new("c"), Path::new("k"))))),
            ("c", Err(half.to_owned())),
            ("k", Err(half.to_owned())),
            ("ca", Err(half.to_owned())),
            (
                "a",
                Err("`tls.client_ca_file` is set without `tls.certificate_file`: clients are asked for certificates only where TLS is \
                     spoken"
                    .to_owned()),
            ),
        ] {
            assert_eq!(files(which).identity("tls"), told, "{which}");
            assert_eq!(files(which).is_set(), !which.is_empty());
        }
    }
}
