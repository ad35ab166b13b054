//! The gate before every service: lets in as many calls as the server takes on, the most important ones first, and gives each
//! a time in which its request must have arrived. Knows nothing of what is asked but its path.
//!
//! Health is always answered. Whatever decides, and whatever manages, has places of its own; an act gets its place at the
//! desk, which knows whether it ends something ([`super::doors`]).

use super::{
    arriving::{Anteroom, Arriving, Place, Standing},
    authorization::{AUTHENTICATE, CHECK},
    turnstile::{Kind, Ticket, Turnstile},
};
use crate::app::{meter::Meter, ports::Clock};
use std::{sync::Arc, time::Duration};
use tonic::Status;

/// Whatever a desk does, which lets it in itself.
const DESKS: [&str; 5] =
    ["/keygate.v1.Directory/", "/keygate.v1.Vault/", "/keygate.v1.Webhooks/", "/keygate.v1.Secrets/", MINT];
const MINT: &str = "/keygate.v1.EmbedTokens/Mint";
const MANAGE_KEYS: &str = "/keygate.v1.Authorization/ManageKeys";
/// Whatever reads as the audit log is read.
const READINGS: [&str; 2] = ["/keygate.v1.AuditLog/", "/keygate.v1.Backup/"];
/// Whoever asks for health is always let in: a server that is busy is not one that is ill.
const HEALTH: &str = "/grpc.health.v1.Health/";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECTION: &str = "/grpc.reflection.";

/// Requests on their way, on all workers, and bytes of them, at most.
const ARRIVING: usize = 1_024;
const ARRIVING_BYTES: usize = 16 * 1_024 * 1_024;
/// Streams that tell health, and streams of reflection, on all workers, at most.
const WATCHES: usize = 1_024;
const REFLECTIONS: usize = 64;

/// The gate of one worker.
pub struct Gate {
    watches: Arc<Turnstile>,
    reflections: Arc<Turnstile>,
    room: Arc<Anteroom>,
}

/// What a gate takes on.
pub struct GateLoad {
    /// Counts every call but acts, readings of the audit log and backups.
    pub decisions: Arc<Turnstile>,
    /// Counts these.
    pub acts: Arc<Turnstile>,
    /// A request has to arrive within that time.
    pub arrival: Duration,
    /// Bytes of the largest message that is legal.
    pub largest: usize,
    /// How many workers share what all take on.
    pub workers: usize,
}

/// How a call is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Counted(Place),
    Desk,
    Watch,
    Reflection,
    Free,
}

impl Way {
    fn of(path: &str) -> Self {
        match path {
            // The most frequent first.
            AUTHENTICATE | CHECK => Self::Counted(Place::Decision),
            WATCH => Self::Watch,
            path if path.starts_with(HEALTH) => Self::Free,
            path if path == MANAGE_KEYS || DESKS.iter().any(|desk| path.starts_with(desk)) => Self::Desk,
            path if path.starts_with(REFLECTION) => Self::Reflection,
            path if READINGS.iter().any(|reading| path.starts_with(reading)) => Self::Counted(Place::Act),
            _ => Self::Counted(Place::Decision),
        }
    }
}

/// A call that was let in.
pub(super) struct Entered<'g> {
    /// Dropped when the call is answered.
    _ticket: Option<Ticket<&'g Turnstile>>,
    /// Of a call whose answer is a stream, to whose end it keeps this.
    pub(super) stream: Option<Ticket>,
    standing: Standing,
}

impl Gate {
    /// A gate that takes on `load`.
    #[must_use]
    pub fn new(load: GateLoad, clock: Arc<dyn Clock>, meter: Arc<Meter>) -> Self {
        let GateLoad { decisions, acts, arrival, largest, workers } = load;
        let share = |most: usize| most.div_ceil(workers.max(1));
        // One message of the largest size always fits, twice: while it grows it is copied.
        let bytes = share(ARRIVING_BYTES).max(largest.saturating_mul(2));
        let room = Anteroom::new((decisions, acts), (share(ARRIVING), bytes), arrival, (clock, meter));
        Self {
            watches: Arc::new(Turnstile::new(share(WATCHES))),
            reflections: Arc::new(Turnstile::new(share(REFLECTIONS))),
            room: Arc::new(room),
        }
    }

    /// Lets a call in until the ticket is dropped, unless there are too many.
    pub(super) fn enter(&self, path: &str) -> Result<Entered<'_>, Status> {
        let place = match Way::of(path) {
            Way::Counted(place) => place,
            Way::Desk => return Ok(Entered::without(Standing::Later)),
            Way::Watch => return self.stream(&self.watches),
            Way::Reflection => return self.stream(&self.reflections),
            Way::Free => return Ok(Entered::without(Standing::Free)),
        };
        let turnstile: &Turnstile = self.room.turnstile(place);
        let ticket = Ticket::to(turnstile).ok_or_else(|| self.room.refused(place.kind(), turnstile.most()))?;
        Ok(Entered { _ticket: Some(ticket), stream: None, standing: Standing::Ticket(place) })
    }

    fn stream(&self, turnstile: &Arc<Turnstile>) -> Result<Entered<'_>, Status> {
        let ticket = turnstile.enter().ok_or_else(|| self.room.refused(Kind::Stream, turnstile.most()))?;
        Ok(Entered { _ticket: None, stream: Some(ticket), standing: Standing::Keeps })
    }

    /// The refusal of a call because too many answers wait for its client.
    pub(super) fn untaken(&self) -> Status {
        self.room.refused(Kind::Untaken, 0)
    }

    /// The body of a request of that connection, which has to arrive in time.
    pub(super) fn arriving<B>(&self, body: B, entered: &Entered<'_>, connection: u64) -> Arriving<B> {
        Arriving::new(body, Arc::clone(&self.room), entered.standing, connection)
    }
}

impl Entered<'_> {
    const fn without(standing: Standing) -> Self {
        Self { _ticket: None, stream: None, standing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::DESCRIPTORS;
    use prost::Message;
    use prost_types::FileDescriptorSet;

    /// Whatever takes a place of those who ask whether a request may pass; whatever else is ours manages.
    const DECISIONS: [&str; 7] = [
        "/keygate.v1.Authorization/Authenticate",
        "/keygate.v1.Authorization/CheckRateLimit",
        "/keygate.v1.EmbedTokens/KeySet",
        // Strangers, who have places of their own behind these.
        "/keygate.v1.Onboarding/Signup",
        "/keygate.v1.Onboarding/Verify",
        "/keygate.v1.Realms/RenderError",
        "/nobody.knows/This",
    ];

    #[test]
    fn whatever_manages_takes_no_place_of_a_decision() {
        let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let ours = set.file.iter().filter(|file| file.package() == "keygate.v1");
        let mut methods = Vec::new();
        for service in ours.flat_map(|file| &file.service) {
            let path = |method: &str| format!("/keygate.v1.{}/{method}", service.name());
            methods.extend(service.method.iter().map(|method| path(method.name())));
        }
        assert!(methods.len() > 25, "{methods:?}");
        for path in methods.iter().map(String::as_str).chain(DECISIONS) {
            let way = Way::of(path);
            let expected = match path {
                path if DECISIONS.contains(&path) => Way::Counted(Place::Decision),
                path if path.contains("AuditLog") || path.contains("Backup") => Way::Counted(Place::Act),
                _ => Way::Desk,
            };
            assert_eq!(way, expected, "{path}");
        }
    }

    #[test]
    fn health_is_free_and_streams_that_stay_have_places_of_their_own() {
        assert_eq!(Way::of("/grpc.health.v1.Health/Check"), Way::Free);
        assert_eq!(Way::of("/grpc.health.v1.Health/Watch"), Way::Watch);
        assert_eq!(Way::of("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"), Way::Reflection);
    }
}
