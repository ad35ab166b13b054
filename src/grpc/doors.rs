//! The doors to the desk where acts of management are done: one for acts that end something, which is open longest; one for
//! acts that read or write much at a time, which closes first; and one for all others.

use super::turnstile::{self, Kind, Ticket, Turnstile};
use crate::app::{meter::Meter, ports::Clock};
use std::sync::Arc;
use tonic::Status;

/// Places beyond all others for acts that end something.
const RESERVE: usize = 32;
/// Of so many places one is for acts that read or write much.
const BULK_SHARE: usize = 16;

/// How much an act matters while there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// It ends something that works: a key, an account.
    Ends,
    /// Neither.
    Usual,
    /// It reads or writes much at a time.
    Bulk,
}

impl Urgency {
    /// Of an act, by its name.
    pub(super) fn of(act: &str) -> Self {
        match act {
            "delete_credential" | "leave_organization" | "remove_member" | "revoke" | "revoke_account"
            | "set_account_status" => Self::Ends,
            "import" | "list" | "list_credentials" | "list_dead_letters" | "list_members" | "redeliver"
            | "rewrap_credentials" | "survey_secrets" => Self::Bulk,
            _ => Self::Usual,
        }
    }
}

/// The doors, the same for all workers.
pub struct Doors {
    acts: Arc<Turnstile>,
    reserve: Arc<Turnstile>,
    bulk: Arc<Turnstile>,
}

/// An act in work.
pub(super) struct Inside {
    _tickets: [Option<Ticket>; 2],
}

impl Doors {
    /// For so many acts at a time.
    #[must_use]
    pub fn new(acts: usize) -> Self {
        let made = |most| Arc::new(Turnstile::new(most));
        Self { acts: made(acts), reserve: made(RESERVE), bulk: made((acts / BULK_SHARE).max(1)) }
    }

    /// What counts the acts in work.
    #[must_use]
    pub fn acts(&self) -> &Arc<Turnstile> {
        &self.acts
    }

    /// Lets an act in until it is over, unless there are too many.
    pub(super) fn enter(&self, urgency: Urgency, clock: &dyn Clock, meter: &Meter) -> Result<Inside, Status> {
        let refused = |kind, of: &Turnstile| turnstile::refused(kind, of.most(), clock, meter);
        let first = match urgency {
            Urgency::Bulk => Some(self.bulk.enter().ok_or_else(|| refused(Kind::Bulk, &self.bulk))?),
            Urgency::Usual | Urgency::Ends => None,
        };
        let mut ticket = self.acts.enter();
        if ticket.is_none() && urgency == Urgency::Ends {
            ticket = self.reserve.enter();
        }
        let ticket = ticket.ok_or_else(|| refused(Kind::Act, &self.acts))?;
        Ok(Inside { _tickets: [first, Some(ticket)] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::time::Ticks, grpc::ACTS};

    struct Still;

    impl Clock for Still {
        fn now(&self) -> crate::domain::time::Timestamp {
            crate::domain::time::Timestamp::from_micros(0)
        }

        fn ticks(&self) -> Ticks {
            Ticks::from_micros(0)
        }

        fn observe(&self, _: crate::domain::time::Timestamp) {}
    }

    #[test]
    fn acts_that_end_something_go_on_when_the_others_are_refused() {
        let (doors, meter) = (Doors::new(32), Meter::on());
        let enter = |urgency| doors.enter(urgency, &Still, &meter);
        let bulk: Vec<_> = (0..2).map(|_| enter(Urgency::Bulk).unwrap()).collect();
        assert!(enter(Urgency::Bulk).is_err());
        let usual: Vec<_> = (0..30).map(|_| enter(Urgency::Usual).unwrap()).collect();
        assert!(enter(Urgency::Usual).is_err());
        let urgent: Vec<_> = (0..RESERVE).map(|_| enter(Urgency::Ends).unwrap()).collect();
        assert!(enter(Urgency::Ends).is_err());
        drop(bulk);
        assert!(enter(Urgency::Usual).is_ok() && enter(Urgency::Bulk).is_ok());
        drop((usual, urgent));
        assert_eq!(doors.acts.in_work().count(), 0);
        assert_eq!(meter.shed.each_ref().map(crate::app::meter::Count::get)[..3], [0, 2, 1]);
    }

    #[test]
    fn what_matters_more_or_less_is_an_act_that_exists() {
        let known = |urgency: Urgency| ACTS.iter().filter(|act| Urgency::of(act) == urgency).count();
        assert_eq!((known(Urgency::Ends), known(Urgency::Bulk)), (6, 8));
    }
}
