//! From settings to what a store is opened with.

use crate::{
    config::{RedisSettings, TlsSettings},
    store::redis::{RedisOptions, SentinelOptions, TlsFiles},
};

/// How Redis is used.
pub(super) fn redis(settings: &RedisSettings) -> RedisOptions {
    let sentinel = &settings.sentinel;
    let own = (sentinel.files != TlsSettings::default()).then(|| files(&sentinel.files));
    RedisOptions {
        url: settings.url.expose().to_owned(),
        password_file: settings.password_file.clone(),
        tls: files(&settings.tls),
        sentinel: SentinelOptions {
            user: sentinel.user.clone(),
            password_file: sentinel.password_file.clone(),
            tls: sentinel.tls,
            files: own,
        },
        deadline: settings.deadline,
        connect_timeout: settings.connect_timeout,
        allow_no_persistence: settings.allow_no_persistence,
        allow_eviction: settings.allow_eviction,
        wait_replicas: settings.wait_replicas,
        wait_timeout: settings.wait_timeout,
    }
}

fn files(settings: &TlsSettings) -> TlsFiles {
    TlsFiles {
        ca_file: settings.ca_file.clone(),
        identity: settings.certificate_file.clone().zip(settings.key_file.clone()),
        server_name: settings.server_name.clone(),
    }
}
