//! The counters of limits, in memory: a table of windows cut into shards, each under its own lock.
//!
//! A plan locks the shards of all its counters in the order of their index, so that it is charged as a whole and two plans
//! cannot wait for each other. The clock is read under the locks: no window ever sees time go back. A window that counts
//! nothing any more equals one that was never made; each new one looks at a few old ones and drops those, so that memory is
//! bounded by the subjects that are alive. After a restart every counter is empty.

use crate::{
    app::ports::Clock,
    domain::{
        limit::{Plan, PlanItem, Reading, Readings, Shape, Window},
        time::Ticks,
    },
};
use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::{Mutex, MutexGuard};
use smallvec::smallvec;
use std::{hash::BuildHasher, sync::Arc};

const SHARDS: usize = 256;
/// Old windows that each new one looks at.
const SWEPT_PER_INSERT: usize = 4;

pub(super) struct Counters {
    shards: Box<[Shard]>,
    hasher: DefaultHashBuilder,
    clock: Arc<dyn Clock>,
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
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let shards = (0..SHARDS).map(|_| Shard(Mutex::new(Table::default())));
        Self { shards: shards.collect(), hasher: DefaultHashBuilder::default(), clock }
    }

    /// Checks a plan and charges all of it or nothing; one reading for each item, in order.
    pub(super) fn charge(&self, plan: &Plan<'_>) -> Readings {
        match plan.items() {
            [] => Readings::new(),
            [item] => smallvec![self.charge_one(self.target(plan, item), plan)],
            _ => self.charge_many(plan),
        }
    }

    /// How many windows are remembered.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().counters.len()).sum()
    }

    fn charge_one(&self, target: Target<'_>, plan: &Plan<'_>) -> Reading {
        let Some(mut table) = self.lock(target.shard) else { return unused(target.item, target.item.cost) };
        let now = self.clock.ticks();
        let rule = target.item.rule;
        let Some(counter) = table.find(&target) else {
            let reading = unused(target.item, target.item.cost);
            return if reading.admits && plan.charges() {
                table.insert(&target, target.item.cost, now, &self.hasher)
            } else {
                reading
            };
        };
        let reading = counter.window.look(rule.shape, rule.limit, target.item.cost, now);
        if reading.admits && plan.charges() {
            counter.window.charge(rule.shape, target.item.cost, now)
        } else {
            reading
        }
    }

    fn charge_many(&self, plan: &Plan<'_>) -> Readings {
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
            return readings;
        }
        for (index, target) in targets.iter().enumerate() {
            // A counter that a plan names twice is charged once: twice would pass a limit that was checked once.
            let earlier = targets
                .iter()
                .take(index)
                .position(|earlier| earlier.hash == target.hash && earlier.name == target.name);
            let reading = match earlier.and_then(|earlier| readings.get(earlier)) {
                Some(earlier) => Some(*earlier),
                None => self.charge_admitted(&mut locked, target, readings.get(index), now),
            };
            if let (Some(slot), Some(reading)) = (readings.get_mut(index), reading) {
                *slot = reading;
            }
        }
        readings
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
        if !found?.admits || cost == 0 {
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

    /// Makes a window and charges it.
    fn insert(&mut self, target: &Target<'_>, cost: u32, now: Ticks, hasher: &DefaultHashBuilder) -> Reading {
        self.sweep(now, hasher);
        let rule = target.item.rule;
        let mut window = Window::new(NamedRing::new(rule.shape, target.name));
        window.look(rule.shape, rule.limit, cost, now);
        let reading = window.charge(rule.shape, cost, now);
        let counter = Counter { shape: rule.shape, window };
        self.counters.insert_unique(target.hash, counter, |counter| hasher.hash_one(counter.name()));
        reading
    }

    fn sweep(&mut self, now: Ticks, hasher: &DefaultHashBuilder) {
        for _ in 0..SWEPT_PER_INSERT {
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
    Reading { admits: cost <= item.rule.limit, used: 0, reset_us: 0, retry_us: None }
}

fn table<'l>(locked: &'l mut [(usize, MutexGuard<'_, Table>)], target: &Target<'_>) -> Option<&'l mut Table> {
    locked.iter_mut().find(|(shard, _)| *shard == target.shard).map(|(_, table)| &mut **table)
}
