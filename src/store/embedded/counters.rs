//! The counters of limits, in memory: a table of windows cut into shards, each under its own lock.
//!
//! A plan locks the shards of all its counters in the order of their index, so that it is charged as a whole and two plans
//! cannot wait for each other. The clock is read under the locks: no window ever sees time go back. A window that counts
//! nothing any more equals one that was never made; each new one looks at a few old ones and drops those, so that memory
//! follows the subjects that are alive. After a restart every counter is empty.
//!
//! Callers may invent subjects, so the number of windows is bounded. One that still counts never makes room for another:
//! forgetting it would admit its cost once more. Where there is no room, a new one is not made, which is a failure of the
//! store; those that are kept go on as before.

use super::room::Room;
use crate::{
    app::ports::{Clock, StoreError},
    domain::{
        limit::{LimitRule, Plan, PlanItem, Reading, Readings, Shape, Window},
        time::Ticks,
    },
};
use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::{Mutex, MutexGuard};
use smallvec::smallvec;
use std::{
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

const SHARDS: usize = 256;
/// Old windows that each new one looks at.
const SWEPT_PER_INSERT: usize = 4;
/// Old windows that each new one looks at where there is no room for it: so many of its own shard, and of another.
const SWEPT_WHEN_FULL: usize = 64;

pub(super) struct Counters {
    shards: Box<[Shard]>,
    hasher: DefaultHashBuilder,
    clock: Arc<dyn Clock>,
    room: Room,
    /// The shard that is swept next when another one found no room.
    swept: AtomicUsize,
}

/// Apart from its neighbours, so that cores that use different shards do not disturb each other.
#[repr(align(128))]
struct Shard(Mutex<Table>);

#[derive(Default)]
struct Table {
    counters: HashTable<Counter>,
    /// The bucket of the table that the sweep looks at next.
    cursor: usize,
}

struct Counter {
    shape: Shape,
    window: Window<NamedRing>,
}

/// The buckets of a window, and behind them the name of its counter: both in one piece of memory, since looking one up
/// waits for memory more than for anything else.
struct NamedRing {
    words: Box<[u32]>,
    name_at: usize,
    name_bytes: usize,
}

/// One item of a plan with the hash of its counter's name.
#[derive(Clone, Copy)]
struct Target<'p> {
    item: &'p PlanItem<'p>,
    name: &'p [u8],
    hash: u64,
    shard: usize,
}

impl Counters {
    /// Counters of which at most `most` are remembered.
    pub(super) fn new(clock: Arc<dyn Clock>, most: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Shard(Mutex::new(Table::default())));
        let (hasher, room) = (DefaultHashBuilder::default(), Room::new(most));
        Self { shards: shards.collect(), hasher, clock, room, swept: AtomicUsize::new(0) }
    }

    /// Checks a plan and charges all of it or nothing; one reading for each item, in order.
    pub(super) fn charge(&self, plan: &Plan<'_>) -> Result<Readings, StoreError> {
        match plan.items() {
            [] => Ok(Readings::new()),
            [item] => Ok(smallvec![self.charge_one(self.target(plan, item), plan)?]),
            _ => self.charge_many(plan),
        }
    }

    /// How many windows are remembered.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().counters.len()).sum()
    }

    fn charge_one(&self, target: Target<'_>, plan: &Plan<'_>) -> Result<Reading, StoreError> {
        let Some(mut table) = self.lock(target.shard) else { return Ok(unused(target.item, target.item.cost)) };
        let now = self.clock.ticks();
        let rule = target.item.rule;
        let Some(counter) = table.find(&target) else {
            let reading = unused(target.item, target.item.cost);
            return Ok(if !reading.admits || !plan.charges() {
                reading
            } else if self.make_room(&mut table, rule, now)? {
                table.insert(&target, target.item.cost, now, &self.hasher)
            } else {
                Reading::UNKEPT
            });
        };
        let reading = counter.window.look(rule.shape, rule.limit, target.item.cost, now);
        Ok(if reading.admits && plan.charges() {
            counter.window.charge(rule.shape, target.item.cost, now)
        } else {
            reading
        })
    }

    fn charge_many(&self, plan: &Plan<'_>) -> Result<Readings, StoreError> {
        let targets: Vec<Target<'_>> = plan.items().iter().map(|item| self.target(plan, item)).collect();
        let mut shards: Vec<usize> = targets.iter().map(|target| target.shard).collect();
        shards.sort_unstable();
        shards.dedup();
        let mut locked: Vec<(usize, MutexGuard<'_, Table>)> =
            shards.into_iter().filter_map(|shard| Some((shard, self.lock(shard)?))).collect();
        let now = self.clock.ticks();

        let mut readings = Readings::with_capacity(targets.len());
        for target in &targets {
            let rule = target.item.rule;
            let counter = table(&mut locked, target).and_then(|table| table.find(target));
            readings.push(match counter {
                Some(counter) => counter.window.look(rule.shape, rule.limit, target.item.cost, now),
                None => unused(target.item, target.item.cost),
            });
        }
        let denied = targets.iter().zip(&readings).any(|(target, reading)| !reading.admits && !target.item.rule.shadow);
        if denied || !plan.charges() {
            return Ok(readings);
        }
        self.make_room_for_all(&mut locked, &targets, &mut readings, now)?;
        for (index, target) in targets.iter().enumerate() {
            // A counter that a plan names twice is charged once: twice would pass a limit that was checked once.
            let reading = match named_before(&targets, index, target).and_then(|earlier| readings.get(earlier)) {
                Some(earlier) => Some(*earlier),
                None => self.charge_admitted(&mut locked, target, readings.get(index), now),
            };
            if let (Some(slot), Some(reading)) = (readings.get_mut(index), reading) {
                *slot = reading;
            }
        }
        Ok(readings)
    }

    /// Takes the room that the new counters of an admitted plan need, or none of it. Marks those that are passed over.
    fn make_room_for_all(
        &self,
        locked: &mut [(usize, MutexGuard<'_, Table>)],
        targets: &[Target<'_>],
        readings: &mut Readings,
        now: Ticks,
    ) -> Result<(), StoreError> {
        let mut taken: usize = 0;
        for (index, (target, reading)) in targets.iter().zip(readings).enumerate() {
            let Some(table) = table(locked, target) else { continue };
            let is_charged = reading.admits && target.item.cost > 0;
            if !is_charged || named_before(targets, index, target).is_some() || table.find(target).is_some() {
                continue;
            }
            match self.make_room(table, target.item.rule, now) {
                Ok(true) => taken = taken.saturating_add(1),
                Ok(false) => *reading = Reading::UNKEPT,
                Err(error) => {
                    self.room.give_back(taken);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes room for one new window of this shard; false when there is none and its limit may be passed over.
    fn make_room(&self, table: &mut Table, rule: &LimitRule, now: Ticks) -> Result<bool, StoreError> {
        self.room.give_back(table.sweep(SWEPT_PER_INSERT, now, &self.hasher));
        if self.room.take() {
            return Ok(true);
        }
        self.room.give_back(table.sweep(SWEPT_WHEN_FULL, now, &self.hasher));
        let next = self.swept.fetch_add(1, Ordering::Relaxed) % SHARDS;
        // Never waited for: whoever holds it may wait for the one that is held here.
        if let Some(mut other) = self.shards.get(next).and_then(|shard| shard.0.try_lock()) {
            self.room.give_back(other.sweep(SWEPT_WHEN_FULL, now, &self.hasher));
        }
        if self.room.take() {
            Ok(true)
        } else if rule.may_be_passed_over() {
            Ok(false)
        } else {
            Err(StoreError::Full(format!("there is no room for a new counter of the limit `{}`", rule.name)))
        }
    }

    /// Charges one counter that was found to admit the cost; a shadow limit may be here that does not.
    fn charge_admitted(
        &self,
        locked: &mut [(usize, MutexGuard<'_, Table>)],
        target: &Target<'_>,
        found: Option<&Reading>,
        now: Ticks,
    ) -> Option<Reading> {
        let cost = target.item.cost;
        if !found.is_some_and(|found| found.admits && found.kept) || cost == 0 {
            return None;
        }
        let table = table(locked, target)?;
        Some(match table.find(target) {
            Some(counter) => counter.window.charge(target.item.rule.shape, cost, now),
            None => table.insert(target, cost, now, &self.hasher),
        })
    }

    fn target<'p>(&self, plan: &'p Plan<'_>, item: &'p PlanItem<'p>) -> Target<'p> {
        let name = plan.counter(item);
        let hash = self.hasher.hash_one(name);
        // The table itself uses the lowest bits and the highest.
        Target { item, name, hash, shard: (hash >> 32) as usize % SHARDS }
    }

    fn lock(&self, shard: usize) -> Option<MutexGuard<'_, Table>> {
        self.shards.get(shard).map(|shard| shard.0.lock())
    }
}

impl Table {
    fn find(&mut self, target: &Target<'_>) -> Option<&mut Counter> {
        self.counters.find_mut(target.hash, |counter| counter.name() == target.name)
    }

    /// Makes a window, for which room was taken, and charges it.
    fn insert(&mut self, target: &Target<'_>, cost: u32, now: Ticks, hasher: &DefaultHashBuilder) -> Reading {
        let rule = target.item.rule;
        let mut window = Window::new(NamedRing::new(rule.shape, target.name));
        window.look(rule.shape, rule.limit, cost, now);
        let reading = window.charge(rule.shape, cost, now);
        let counter = Counter { shape: rule.shape, window };
        self.counters.insert_unique(target.hash, counter, |counter| hasher.hash_one(counter.name()));
        reading
    }

    /// Looks at so many of the next buckets, and tells how many windows were over and dropped.
    fn sweep(&mut self, buckets: usize, now: Ticks, hasher: &DefaultHashBuilder) -> usize {
        let before = self.counters.len();
        for _ in 0..buckets.min(self.counters.num_buckets()) {
            let counter = self.counters.get_bucket(self.cursor);
            let idle = counter.is_some_and(|counter| counter.window.empty_from(counter.shape) <= now);
            if idle && let Ok(entry) = self.counters.get_bucket_entry(self.cursor) {
                entry.remove();
            }
            self.cursor = self.cursor.saturating_add(1);
            if self.cursor >= self.counters.num_buckets() {
                self.cursor = 0;
                let room = self.counters.len().saturating_mul(2);
                if room < self.counters.capacity() / 4 {
                    self.counters.shrink_to(room, |counter| hasher.hash_one(counter.name()));
                }
            }
        }
        before.saturating_sub(self.counters.len())
    }
}

impl Counter {
    fn name(&self) -> &[u8] {
        self.window.ring().name()
    }
}

impl NamedRing {
    fn new(shape: Shape, name: &[u8]) -> Self {
        let name_at = shape.ring_length();
        let mut words = vec![0; name_at.saturating_add(name.len().div_ceil(4))].into_boxed_slice();
        let behind = words.get_mut(name_at..).unwrap_or_default();
        if let Some(place) = bytemuck::cast_slice_mut(behind).get_mut(..name.len()) {
            place.copy_from_slice(name);
        }
        Self { words, name_at, name_bytes: name.len() }
    }

    fn name(&self) -> &[u8] {
        let behind = self.words.get(self.name_at..).unwrap_or_default();
        bytemuck::cast_slice(behind).get(..self.name_bytes).unwrap_or_default()
    }
}

impl AsRef<[u32]> for NamedRing {
    fn as_ref(&self) -> &[u32] {
        self.words.get(..self.name_at).unwrap_or_default()
    }
}

impl AsMut<[u32]> for NamedRing {
    fn as_mut(&mut self) -> &mut [u32] {
        self.words.get_mut(..self.name_at).unwrap_or_default()
    }
}

/// What a look at a counter finds that nothing was charged to lately.
fn unused(item: &PlanItem<'_>, cost: u32) -> Reading {
    Reading { admits: cost <= item.rule.limit, used: 0, reset_us: 0, retry_us: None, kept: true }
}

/// Where a plan names the same counter before.
fn named_before(targets: &[Target<'_>], index: usize, target: &Target<'_>) -> Option<usize> {
    targets.iter().take(index).position(|earlier| earlier.hash == target.hash && earlier.name == target.name)
}

fn table<'l>(locked: &'l mut [(usize, MutexGuard<'_, Table>)], target: &Target<'_>) -> Option<&'l mut Table> {
    locked.iter_mut().find(|(shard, _)| *shard == target.shard).map(|(_, table)| &mut **table)
}
