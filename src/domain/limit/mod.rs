//! Rate limits: the rules, the sliding window that never over-admits, and the plan of what one request is charged.

mod descriptor;
mod model;
mod outcome;
mod plan;
mod rule;
mod window;

pub use descriptor::{DescriptorPattern, EntryPattern, ValuePattern, encode as encode_descriptor, selected};
pub use model::WindowModel;
pub use outcome::{Charged, LimitOutcome, Readings};
pub use plan::{MissingPart, Plan, PlanItem, Subject};
pub use rule::{LimitRule, OnStoreFailure, Part, RuleError, Shape};
pub use window::{Reading, Window};

/// The largest cost of one request, and the largest limit.
pub const MAX_COST: u32 = 1_000_000_000;
