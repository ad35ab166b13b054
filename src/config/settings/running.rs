//! Which settings a running server takes over from a changed file, and which take a restart.

use super::{LogSettings, Settings, TracesSettings, VaultSettings};

impl Settings {
    /// The settings that a server goes on with that runs with these and finds `read` in its files, and the names of those that
    /// it cannot take over.
    #[must_use]
    pub fn reloaded(&self, read: Self) -> (Self, Vec<&'static str>) {
        // Every field by its name: whoever adds one has to say here which kind it is of.
        let Self {
            listen,
            listen_operations,
            listen_unix,
            listen_unix_mode,
            drain_delay,
            audit_export_file,
            data_dir,
            realms,
            threads,
            store,
            secrets_file,
            operator_key_file,
            cache,
            log,
            limits,
            routing,
            vault: VaultSettings { release_on, remember, keks },
            traces,
            check_every,
        } = read;
        let stays = [
            ("listen", listen == self.listen),
            ("operations.listen", listen_operations == self.listen_operations),
            ("listen_unix", listen_unix == self.listen_unix),
            ("listen_unix_mode", listen_unix_mode == self.listen_unix_mode),
            ("drain_delay", drain_delay == self.drain_delay),
            ("data_dir", data_dir == self.data_dir),
            ("threads", threads == self.threads),
            ("store", store == self.store),
            ("operator", operator_key_file == self.operator_key_file),
            ("cache", cache == self.cache),
            ("log.format", log.format == self.log.format),
            ("traces", same_receiver(&traces, &self.traces)),
            ("limits", limits == self.limits),
            ("audit", audit_export_file == self.audit_export_file),
            ("vault.release_on", release_on == self.vault.release_on),
        ];
        let take_restart = stays.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect();
        let vault = VaultSettings { release_on: self.vault.release_on.clone(), remember, keks };
        let log = LogSettings { format: self.log.format, ..log };
        let TracesSettings { sample, sample_callers, .. } = traces;
        let traces = TracesSettings { sample, sample_callers, ..self.traces.clone() };
        (Self { realms, secrets_file, log, routing, vault, traces, check_every, ..self.clone() }, take_restart)
    }
}

/// Whether all but the sampling is the same.
fn same_receiver(read: &TracesSettings, present: &TracesSettings) -> bool {
    let TracesSettings { sample, sample_callers, .. } = *present;
    TracesSettings { sample, sample_callers, ..read.clone() } == *present
}
