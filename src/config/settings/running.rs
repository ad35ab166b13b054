//! Which settings a running server takes over from a changed file, and which take a restart.

use super::{Settings, VaultSettings};

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
            read_only,
            journal_file,
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
            ("log", log == self.log),
            ("limits", limits == self.limits),
            ("recovery", journal_file == self.journal_file),
            ("audit", audit_export_file == self.audit_export_file),
            ("vault.release_on", release_on == self.vault.release_on),
        ];
        let take_restart = stays.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect();
        let vault = VaultSettings { release_on: self.vault.release_on.clone(), remember, keks };
        (Self { realms, secrets_file, routing, vault, read_only, check_every, ..self.clone() }, take_restart)
    }
}
