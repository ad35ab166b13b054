//! What became of connections.

use super::Count;

/// Why the server ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing was asked for long.
    Idle,
    /// Answers were not taken.
    Unread,
    /// Half a frame came, and no more.
    Stalled,
    /// Nothing was ever asked, and somebody else came for its place.
    MadeRoom,
}

impl Ending {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Unread, Self::Stalled, Self::MadeRoom];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Unread => "unread",
            Self::Stalled => "stalled",
            Self::MadeRoom => "made_room",
        }
    }
}

/// Connections, counted by what became of them.
#[derive(Debug, Default)]
pub struct ConnectionsMeter {
    ended: [Count; Ending::ALL.len()],
    /// Those that were taken.
    pub taken: Count,
    /// Those that were closed because there was no place.
    pub refused: Count,
    /// Those whose client did not begin in time, or not with HTTP/2, or broke it later.
    pub broken: Count,
    /// Those on which no TLS was agreed on.
    pub not_agreed: Count,
    /// How often the frames of one were left unread for a while, since they moved nothing.
    pub slowed: Count,
}

impl ConnectionsMeter {
    /// The server ended one.
    pub fn ended(&self, why: Ending) {
        if let Some(count) = self.ended.get(why as usize) {
            count.one();
        }
    }

    /// How many the server ended for that reason.
    #[must_use]
    pub fn ended_count(&self, why: Ending) -> u64 {
        self.ended.get(why as usize).map_or(0, Count::get)
    }
}
