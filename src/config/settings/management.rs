//! Where something is managed, and whose certificates manage.

use super::{ListenerName, ManagementSettings, Settings, read::nowhere_or_address, set, tls};
use crate::{
    config::{caps, mistake::Mistake, reader::Table, text::quoted},
    domain::{
        certificate::CertificateName,
        id::Scope,
        realm::{Realm, Realms},
    },
};
use std::path::Path;

const KEYS: &[&str] = &["listen", "serve_on", "tls", "certificates", "read_only"];
const CERTIFICATE_KEYS: &[&str] = &["name", "roles"];

pub(super) fn management(root: &Table<'_>, base: &Path, management: &mut ManagementSettings) {
    let Some(table) = root.table("management", KEYS) else { return };
    set(&mut management.listen, table.get("listen").and_then(nowhere_or_address));
    tls::read(&table, base, &mut management.tls);
    set(&mut management.read_only, table.get("read_only").and_then(|value| value.truth()));
    let listeners = ListenerName::ALL.map(|listener| (listener.name(), listener));
    if let Some(items) = table.list("serve_on", listeners.len()) {
        management.serve_on = items.iter().filter_map(|item| item.word(&listeners)).collect();
    }
    for table in table.tables("certificates", caps::CERTIFICATES, CERTIFICATE_KEYS) {
        let name = table.need("name", &format!("must be {}", CertificateName::ALLOWED)).and_then(|value| {
            let name = value.parsed(|text| {
                CertificateName::new(text).ok_or_else(|| format!("must be {}", CertificateName::ALLOWED))
            })?;
            if management.certificates.iter().any(|(known, _)| *known == name) {
                value.wrong(format!("{} is used twice", quoted(name.as_str())), "each must be there once");
                return None;
            }
            Some(name)
        });
        let roles = table.need("roles", "a list of roles, such as [\"reader\"]").and_then(|value| {
            let items = value.list(caps::SCOPES)?;
            if items.is_empty() {
                value.wrong("is empty", "must be at least one role, such as \"reader\"");
            }
            let role = |text: &str| Scope::new(text).map_err(|error| format!("must be {error}"));
            Some(items.iter().filter_map(|item| item.parsed(role)).collect())
        });
        management.certificates.extend(name.zip(roles));
    }
}

/// What is wrong with whose certificates manage, beside these realms.
pub fn wrong_certificates(settings: &Settings, realms: &[(String, Realm)]) -> Vec<Mistake> {
    let told = |path: String, problem: String, allowed: String| Mistake {
        file: "settings".to_owned(),
        line: 0,
        column: 0,
        path,
        problem,
        allowed,
    };
    let management = &settings.management;
    let asks = |listener: &ListenerName| match listener {
        ListenerName::Listen => settings.tls.client_ca_file.is_some(),
        ListenerName::Management => management.listen.is_some() && management.tls.client_ca_file.is_some(),
        ListenerName::ListenUnix => false,
    };
    let mut found = Vec::new();
    if !management.certificates.is_empty() && !management.serve_on.iter().any(asks) {
        found.push(told(
            "management.certificates".to_owned(),
            "no listener of `management.serve_on` asks its clients for a certificate".to_owned(),
            "set `client_ca_file` of `[management.tls]` or of `[tls]`".to_owned(),
        ));
    }
    let built_in = realms.iter().find(|(_, realm)| realm.name.as_str() == Realms::BUILT_IN);
    let known = |role: &Scope| built_in.is_none_or(|(_, realm)| realm.scopes.knows(role));
    for (at, (_, roles)) in management.certificates.iter().enumerate() {
        for role in roles.iter().filter(|role| !known(role)) {
            found.push(told(
                format!("management.certificates[{at}].roles"),
                format!("{} is no role", quoted(role.as_str())),
                "allowed are `operator`, `key-manager`, `reader`, `revoker`, `minter` and `credential-manager`, all but the first \
                 also as `ROLE@REALM` for one realm of this server"
                    .to_owned(),
            ));
        }
    }
    found
}
