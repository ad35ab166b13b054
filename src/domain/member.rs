//! Members: the people of an account, in whose name keys are issued.

use super::{
    id::{KeyId, MemberRole},
    time::Timestamp,
};

/// A member of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What the member may do, in their order.
    pub roles: Vec<MemberRole>,
    /// Since when.
    pub added_at: Timestamp,
    /// The keys that were issued in the member's name and did not end, in their order.
    pub keys: Vec<KeyId>,
}
