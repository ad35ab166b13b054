//! What is wrong with the server while it runs: everything that a new connection would be refused for, and what shows only in
//! time: how slow it is, how full, whether it can write.

use super::{
    Redis, check,
    check::{Demands, field},
    diagnose,
};
use crate::app::ports::{Problem, ProblemCode, StoreError};
use redis::{RedisError, cmd};
use std::time::Duration;

/// How often a short question is asked to see how long answers take; the middle one counts.
const PINGS: usize = 5;
/// Of a hundred: how full a server may be before it is told.
const NEARLY_FULL: u64 = 90;

impl Redis {
    pub(super) async fn look_over(&self) -> Vec<Problem> {
        let away = self.connection.problems();
        if !away.is_empty() {
            return away;
        }
        match self.connection.within(self.leisure(), self.findings()).await {
            Ok(problems) => problems,
            Err(StoreError::Deadline(waited)) => {
                let (place, waited) = (self.connection.place(), waited.as_millis());
                vec![Problem::grave(
                    ProblemCode::Silent,
                    format!("Redis at `{place}` gave no answer within {waited} ms"),
                    "see whether it hangs (`SLOWLOG GET`, its log, its disk) and whether the network lets it through",
                )]
            }
            Err(error) => {
                let remedy = "see that Redis runs there and lets this machine in";
                vec![Problem::grave(ProblemCode::Unreachable, error.to_string(), remedy)]
            }
        }
    }

    async fn findings(&self) -> Result<Vec<Problem>, StoreError> {
        let place = self.connection.place();
        let options = &self.terms.options;
        let mut took = Vec::with_capacity(PINGS);
        for _ in 0..PINGS {
            let asked = self.clock.ticks();
            self.connection.query(&cmd("TIME")).await?;
            took.push(self.clock.ticks().since(asked));
        }
        let slow = slow(took, options.deadline);
        let info = self.connection.query(cmd("INFO").arg("everything")).await;
        let tried = self.connection.tried(options.wait_replicas > 0).await?;
        let mut found: Vec<Problem> = slow.into_iter().collect();
        found.extend(check::secrets(&self.connection, &self.codec).await?);
        match info {
            Ok(info) => {
                let info: String = redis::from_redis_value(info).unwrap_or_default();
                // It was taken as it was; what was changed since does not stop what works still, but what is a replica now does.
                let changed = check::faults(&info, Demands::of(options)).into_iter();
                found.extend(changed.map(|fault| Problem { stops: fault.code == ProblemCode::Replica, ..fault }));
                found.extend(room(&info).into_iter().chain(copies(&info, options.wait_replicas)));
            }
            Err(error) if tried.missing.is_empty() => return Err(error),
            Err(_) => {}
        }
        found.extend(tried.problem());
        found.extend(tried.hindrances.iter().filter_map(|error| hindrance(place, error)));
        found.iter_mut().for_each(|problem| {
            if !problem.what.contains(place) {
                problem.what = format!("Redis at `{place}`: {}", problem.what);
            }
        });
        found.sort_by_key(|problem| (problem.code.name(), !problem.stops));
        found.dedup_by_key(|problem| problem.code);
        Ok(found)
    }
}

/// What is in the way of changes. A full server lets keys be ended and requests be judged that no limit counts.
fn hindrance(place: &str, error: &RedisError) -> Option<Problem> {
    if error.code() == Some("OOM") {
        return Some(Problem::slight(
            ProblemCode::Full,
            "it has reached its `maxmemory`: no limit is charged and no key is made",
            "raise `maxmemory`, or remove data that is not keygate's",
        ));
    }
    diagnose::known("Redis", place, error)
}

fn slow(mut took: Vec<Duration>, deadline: Duration) -> Option<Problem> {
    took.sort_unstable();
    let middle = *took.get(PINGS.div_euclid(2))?;
    (middle > deadline.div_f32(2.0)).then(|| {
        Problem::slight(
            ProblemCode::Slow,
            format!(
                "its answers take {:.1} ms of the {} ms that a decision has for all its steps",
                middle.as_secs_f64() * 1_000.0,
                deadline.as_millis()
            ),
            "put it nearer, see what keeps it busy (`SLOWLOG GET`, `INFO commandstats`), or raise `deadline`",
        )
    })
}

fn room(info: &str) -> Option<Problem> {
    let number = |name| field(info, name).parse::<u64>().unwrap_or_default();
    let (used, most) = (number("used_memory"), number("maxmemory"));
    let percent = used.saturating_mul(100).checked_div(most)?;
    (NEARLY_FULL..100).contains(&percent).then(|| {
        Problem::slight(
            ProblemCode::NearlyFull,
            format!("{percent} % of its `maxmemory` of {most} bytes are used; when it is full, no limit is charged and no key is made"),
            "raise `maxmemory`, or remove data that is not keygate's",
        )
    })
}

fn copies(info: &str, needed: u32) -> Option<Problem> {
    let online = info.lines().filter(|line| line.starts_with("slave") && line.contains("state=online")).count();
    (online < needed as usize).then(|| {
        Problem::slight(
            ProblemCode::Replicas,
            format!("{online} of the {needed} replicas that changes wait for are connected: no key is made, changed or ended"),
            "bring replicas back, or lower `wait_replicas`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_info_tells_of_room_and_copies_is_judged() {
        let codes = |info: &str, needed| -> Vec<&str> {
            room(info).into_iter().chain(copies(info, needed)).map(|problem| problem.code.name()).collect()
        };
        assert!(codes("used_memory:1\r\nmaxmemory:0\r\n", 0).is_empty());
        assert!(codes("used_memory:89\r\nmaxmemory:100\r\n", 0).is_empty());
        assert_eq!(codes("used_memory:90\r\nmaxmemory:100\r\n", 0), ["nearly-full"]);
        let replica = "slave0:ip=127.0.0.1,port=1,state=online,offset=1,lag=0\r\n";
        assert!(codes(replica, 1).is_empty());
        assert_eq!(codes(replica, 2), ["replicas"]);
        assert_eq!(codes(&replica.replace("online", "wait_bgsave"), 1), ["replicas"]);
    }

    #[test]
    fn answers_that_take_half_of_a_decisions_time_are_slow() {
        let all = |ms| vec![Duration::from_millis(ms); PINGS];
        assert_eq!(slow(all(25), Duration::from_millis(50)), None);
        assert_eq!(slow(all(26), Duration::from_millis(50)).map(|problem| problem.stops), Some(false));
    }
}
