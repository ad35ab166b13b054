//! The slow and obvious model of one limit: a list of everything that was admitted. The embedded counters and the Redis
//! script are compared with it on random input; nothing in production uses it.

use super::{Reading, Shape};
use crate::domain::time::Ticks;

/// Remembers every admitted cost with the bucket that it was admitted in.
#[derive(Debug, Clone)]
pub struct WindowModel {
    shape: Shape,
    limit: u32,
    admitted: Vec<(u64, u32)>,
}

impl WindowModel {
    /// A limit under which nothing was admitted yet.
    #[must_use]
    pub fn new(shape: Shape, limit: u32) -> Self {
        Self { shape, limit, admitted: Vec::new() }
    }

    /// Changes the limit and keeps what was admitted.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Tells whether `cost` fits at `now`, and counts it when `charge` is set and it does.
    /// `used` and `reset_us` of the reading are those after the charge.
    pub fn decide(&mut self, cost: u32, charge: bool, now: Ticks) -> Reading {
        let used = self.used_at(now.as_micros());
        let admits = u64::from(cost).saturating_add(used) <= u64::from(self.limit);
        if admits && charge && cost > 0 {
            self.admitted.push((self.shape.bucket_at(now), cost));
        }
        let retry_us = if admits || cost > self.limit {
            None
        } else {
            let mut leaving: Vec<u64> = self.admitted.iter().map(|(bucket, _)| self.leaves(*bucket)).collect();
            leaving.sort_unstable();
            let fits = |at: &u64| self.used_at(*at).saturating_add(u64::from(cost)) <= u64::from(self.limit);
            leaving
                .into_iter()
                .filter(|at| *at > now.as_micros())
                .find(fits)
                .map(|at| at.saturating_sub(now.as_micros()))
        };
        Reading {
            admits,
            used: u32::try_from(self.used_at(now.as_micros())).unwrap_or(u32::MAX),
            reset_us: self.reset_us(now),
            retry_us,
            kept: true,
        }
    }

    fn used_at(&self, at_us: u64) -> u64 {
        self.admitted.iter().filter(|(bucket, _)| self.leaves(*bucket) > at_us).map(|(_, cost)| u64::from(*cost)).sum()
    }

    fn reset_us(&self, now: Ticks) -> u64 {
        let last = self.admitted.iter().map(|(bucket, _)| self.leaves(*bucket)).max().unwrap_or_default();
        last.saturating_sub(now.as_micros())
    }

    /// The instant at which a bucket stops to count.
    fn leaves(&self, bucket: u64) -> u64 {
        bucket.saturating_mul(self.shape.bucket_us()).saturating_add(self.shape.lifetime_us())
    }
}
