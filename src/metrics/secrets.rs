//! The versions of the server secret.

use super::{
    Scene,
    page::{Family, Kind, Page, seconds},
};
use crate::domain::key::SecretPhase;

const PHASE: Family = Family {
    name: "keygate_server_secret_phase",
    kind: Kind::Gauge,
    labels: &["version", "phase"],
    help: "1 for the phase that a version of the server secret is in; 0 for the others.",
};
const RETIRES: Family = Family {
    name: "keygate_server_secret_retires_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &["version"],
    help: "When a version of the server secret retires, or has; 0: never.",
};
const KEYS: Family = Family {
    name: "keygate_server_secret_keys",
    kind: Kind::Gauge,
    labels: &["version"],
    help: "Keys that hang on a version of the server secret, as last counted; NaN while they are not counted.",
};

pub(super) fn write(page: &mut Page, scene: &Scene<'_>) {
    let states = || scene.now.secrets.iter().map(|state| (state.mark.version.to_string(), state));
    let mut phases = page.family(&PHASE);
    for (version, state) in states() {
        for phase in SecretPhase::ALL {
            phases.add(&[&version, phase.name()], u8::from(phase == state.phase));
        }
    }
    let mut retires = page.family(&RETIRES);
    for (version, state) in states() {
        retires.add(&[&version], seconds(state.retires_at.map_or(0, |end| end.as_micros())));
    }
    let mut keys = page.family(&KEYS);
    for (version, state) in states() {
        match scene.meter.secrets.keys(state.mark.version) {
            Some(count) => keys.add(&[&version], count),
            None => keys.add(&[&version], f64::NAN),
        };
    }
}
