//! What a server says of itself while it works: logs, and traces of the calls that it follows. Secrets cannot get here, because no
//! type that holds one can be formatted.
//!
//! May use the port that calls are followed by, and connections to others. Must never know what is decided, nor for whom.

mod log;
pub mod traces;

pub use log::{Format, set_level, start};
