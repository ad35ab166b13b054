//! The sliding window.
//!
//! Time is cut into buckets of equal length. What was admitted in the current bucket and in the N full buckets before it
//! counts whole. Every window that ends now lies inside those N + 1 buckets, so no schedule of requests is ever admitted
//! more than the limit in any window; the price is a sustained rate of at least 1/(1 + 1/N) of the limit.

use super::Shape;
use crate::domain::time::Ticks;

/// The cost admitted lately under one counter. `R` is where its buckets are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window<R> {
    /// Index of the current bucket. Never goes back.
    index: u64,
    /// Sum over the ring.
    used: u32,
    /// Admitted cost by bucket index modulo the ring's length, N + 1.
    ring: R,
}

/// What a look at a window found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Whether the cost fits beside what already counts.
    pub admits: bool,
    /// Cost that counts now.
    pub used: u32,
    /// Microseconds until the last counted cost leaves; 0 when none counts.
    pub reset_us: u64,
    /// Microseconds until the cost would fit; absent when it fits now or can never fit.
    pub retry_us: Option<u64>,
    /// False when the store has no room for the counter, so that nothing can be counted; the rest says nothing then.
    pub kept: bool,
}

impl Reading {
    /// Of a counter that the store has no room for.
    pub const UNKEPT: Self = Self { admits: true, used: 0, reset_us: 0, retry_us: None, kept: false };
}

impl<R: AsRef<[u32]> + AsMut<[u32]>> Window<R> {
    /// An empty window whose buckets are kept in `ring`: [`Shape::ring_length`] zeros.
    #[must_use]
    pub fn new(ring: R) -> Self {
        Self { index: 0, used: 0, ring }
    }

    /// Where its buckets are kept.
    #[must_use]
    pub fn ring(&self) -> &R {
        &self.ring
    }

    /// Moves to `now` and tells whether `cost` fits under `limit`. Charges nothing.
    pub fn look(&mut self, shape: Shape, limit: u32, cost: u32, now: Ticks) -> Reading {
        self.advance(shape.bucket_at(now));
        let admits = self.used.checked_add(cost).is_some_and(|total| total <= limit);
        Reading {
            admits,
            used: self.used,
            reset_us: self.reset_us(shape, now),
            retry_us: if admits { None } else { self.retry_us(shape, limit, cost, now) },
            kept: true,
        }
    }

    /// Counts `cost` in the current bucket. Only after [`Window::look`] admitted it at the same instant.
    pub fn charge(&mut self, shape: Shape, cost: u32, now: Ticks) -> Reading {
        let slot = self.slot(self.index);
        if let Some(bucket) = self.ring.as_mut().get_mut(slot) {
            *bucket = bucket.saturating_add(cost);
            self.used = self.used.saturating_add(cost);
        }
        Reading { admits: true, used: self.used, reset_us: self.reset_us(shape, now), retry_us: None, kept: true }
    }

    /// The instant after which nothing counts any more and the window may be forgotten.
    #[must_use]
    pub fn empty_from(&self, shape: Shape) -> Ticks {
        Ticks::from_micros(self.index.saturating_mul(shape.bucket_us()).saturating_add(shape.lifetime_us()))
    }

    fn slot(&self, index: u64) -> usize {
        // A ring is never empty, so there always is a remainder.
        index.checked_rem(self.ring.as_ref().len() as u64).unwrap_or_default() as usize
    }

    fn advance(&mut self, index: u64) {
        let steps = index.saturating_sub(self.index);
        if steps >= self.ring.as_ref().len() as u64 {
            self.ring.as_mut().fill(0);
            self.used = 0;
        } else {
            for step in 1..=steps {
                let slot = self.slot(self.index.saturating_add(step));
                if let Some(bucket) = self.ring.as_mut().get_mut(slot) {
                    self.used = self.used.saturating_sub(std::mem::take(bucket));
                }
            }
        }
        self.index = self.index.max(index);
    }

    fn reset_us(&self, shape: Shape, now: Ticks) -> u64 {
        if self.used == 0 {
            return 0;
        }
        let mut age = 0;
        while age < u64::from(shape.buckets()) && self.bucket(age) == 0 {
            age = age.saturating_add(1);
        }
        self.leaves_in(shape, age, now)
    }

    fn retry_us(&self, shape: Shape, limit: u32, cost: u32, now: Ticks) -> Option<u64> {
        if cost > limit {
            return None;
        }
        let mut excess = self.used.saturating_add(cost).saturating_sub(limit);
        for age in (0..=u64::from(shape.buckets())).rev() {
            let bucket = self.bucket(age);
            if bucket >= excess {
                return Some(self.leaves_in(shape, age, now));
            }
            excess = excess.saturating_sub(bucket);
        }
        None
    }

    /// The cost admitted `age` buckets ago.
    fn bucket(&self, age: u64) -> u32 {
        let Some(index) = self.index.checked_sub(age) else { return 0 };
        self.ring.as_ref().get(self.slot(index)).copied().unwrap_or_default()
    }

    /// Microseconds until the bucket of that age no longer counts.
    fn leaves_in(&self, shape: Shape, age: u64, now: Ticks) -> u64 {
        let start = self.index.saturating_sub(age).saturating_mul(shape.bucket_us());
        start.saturating_add(shape.lifetime_us()).saturating_sub(now.as_micros())
    }
}
