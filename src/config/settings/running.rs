//! Which settings a running server takes over from a changed file, and which take a restart.

use super::{ListenerTls, LogSettings, ManagementSettings, Settings, TracesSettings, VaultSettings};

impl Settings {
    /// The settings that a server goes on with that runs with these and finds `read` in its files, and the names of those that
    /// it cannot take over.
    #[must_use]
    pub fn reloaded(&self, read: Self) -> (Self, Vec<&'static str>) {
        // Every field by its name: whoever adds one has to say here which kind it is of.
        let Self {
            listen,
            tls,
            listen_operations,
            operations_tls,
            listen_unix,
            listen_unix_mode,
            listen_unix_owner,
            listen_unix_group,
            drain_delay,
            audit_export_file,
            data_dir,
            realms,
            threads,
            store,
            management,
            secrets_file,
            operator_key_file,
            cache,
            log,
            limits,
            routing,
            vault: VaultSettings { release_on, remember, keks },
            traces,
            journal_file,
            check_every,
        } = read;
        let stays = [
            ("listen", listen == self.listen),
            ("tls", tls.is_set() == self.tls.is_set()),
            ("operations.listen", listen_operations == self.listen_operations),
            ("operations.tls", operations_tls.is_set() == self.operations_tls.is_set()),
            ("management.listen", management.listen == self.management.listen),
            ("management.tls", management.tls.is_set() == self.management.tls.is_set()),
            ("management.serve_on", management.serve_on == self.management.serve_on),
            ("listen_unix", listen_unix == self.listen_unix),
            ("listen_unix_mode", listen_unix_mode == self.listen_unix_mode),
            ("listen_unix_owner", listen_unix_owner == self.listen_unix_owner),
            ("listen_unix_group", listen_unix_group == self.listen_unix_group),
            ("drain_delay", drain_delay == self.drain_delay),
            ("data_dir", data_dir == self.data_dir),
            ("threads", threads == self.threads),
            ("store", store == self.store),
            ("operator", operator_key_file == self.operator_key_file),
            ("cache", cache == self.cache),
            ("log.format", log.format == self.log.format),
            ("traces", same_receiver(&traces, &self.traces)),
            ("limits", limits == self.limits),
            ("recovery", journal_file == self.journal_file),
            ("audit", audit_export_file == self.audit_export_file),
            ("vault.release_on", release_on == self.vault.release_on),
        ];
        let take_restart = stays.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect();
        let vault = VaultSettings { release_on: self.vault.release_on.clone(), remember, keks };
        // Other files are taken over. Whether TLS is spoken at all is not: a table that got lost would open a listener to everybody.
        let files =
            |read: ListenerTls, now: &ListenerTls| if read.is_set() == now.is_set() { read } else { now.clone() };
        let (tls, operations_tls) = (files(tls, &self.tls), files(operations_tls, &self.operations_tls));
        let management = ManagementSettings {
            tls: files(management.tls, &self.management.tls),
            certificates: management.certificates,
            read_only: management.read_only,
            ..self.management.clone()
        };
        let log = LogSettings { format: self.log.format, ..log };
        let TracesSettings { sample, sample_callers, .. } = traces;
        let traces = TracesSettings { sample, sample_callers, ..self.traces.clone() };
        let taken = Self {
            tls,
            operations_tls,
            management,
            realms,
            secrets_file,
            log,
            routing,
            vault,
            traces,
            check_every,
            ..self.clone()
        };
        (taken, take_restart)
    }
}

/// Whether all but the sampling is the same.
fn same_receiver(read: &TracesSettings, present: &TracesSettings) -> bool {
    let TracesSettings { sample, sample_callers, .. } = *present;
    TracesSettings { sample, sample_callers, ..read.clone() } == *present
}
