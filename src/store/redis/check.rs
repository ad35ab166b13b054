//! What a Redis must be before keygate rests on it, checked on every new connection: new enough, a primary, durable, not
//! evicting, and sealed with the same server secret. Must never change a setting of the server.

use super::{RedisOptions, connection::Connection, keyspace, permissions, scripts};
use crate::{
    app::ports::{Problem, ProblemCode, StoreError},
    store::{
        marks::{self, Verdict},
        record::RecordCodec,
    },
};
use redis::{RedisError, Value, aio::MultiplexedConnection, cmd};

/// The oldest version that has everything the scripts use.
const OLDEST: (u64, u64) = (6, 2);

/// Checks a server that was just connected.
pub(super) struct Greeter {
    demands: Demands,
    ring: RingMark,
}

/// What may be waived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demands {
    allow_no_persistence: bool,
    allow_eviction: bool,
    wait_replicas: u32,
}

impl Demands {
    pub(super) fn of(options: &RedisOptions) -> Self {
        Self {
            allow_no_persistence: options.allow_no_persistence,
            allow_eviction: options.allow_eviction,
            wait_replicas: options.wait_replicas,
        }
    }
}

impl Greeter {
    pub(super) fn new(options: &RedisOptions, codec: RecordCodec) -> Self {
        Self { demands: Demands::of(options), ring: RingMark { codec } }
    }

    /// Says everything that is wrong, and how to mend it.
    pub(super) async fn greet(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Result<(), Vec<Problem>>, RedisError> {
        let mut faults = permissions::missing(connection, self.demands.wait_replicas > 0).await?;
        if faults.is_empty() {
            let info: String = cmd("INFO").query_async(connection).await?;
            faults = self::faults(&info, self.demands);
        }
        if faults.is_empty() {
            faults.extend(self.ring.check(connection).await?);
        }
        Ok(if faults.is_empty() { Ok(()) } else { Err(faults) })
    }
}

/// What tells servers that they do not share their secrets: see [`marks`].
struct RingMark {
    codec: RecordCodec,
}

/// How often it is tried to write down a version while others write down theirs.
const ATTEMPTS: usize = 8;

/// Writes down the current version of a ring; it must know all that are written down.
pub(super) async fn mark(connection: &Connection, codec: &RecordCodec) -> Result<(), StoreError> {
    for _ in 0..ATTEMPTS {
        let stored = stored(connection).await?;
        match marks::judge(codec, stored.as_deref(), false) {
            Verdict::Known => return Ok(()),
            Verdict::Note(noted) => {
                let done = match stored {
                    Some(stored) => scripts::replace(connection, keyspace::RING, &stored, Some(&noted)).await?,
                    None => {
                        let mut command = cmd("SET");
                        command.arg(keyspace::RING).arg(noted).arg("NX");
                        connection.query(&command).await? != Value::Nil
                    }
                };
                if done {
                    return Ok(());
                }
            }
            Verdict::Lost(versions) => return Err(StoreError::Corrupt(marks::loss(&versions))),
            Verdict::Foreign => {
                return Err(StoreError::Corrupt(
                    "Redis is marked with a server secret that this server does not have".to_owned(),
                ));
            }
        }
    }
    Err(StoreError::Unavailable("others keep writing down their server secrets".to_owned()))
}

/// What is wrong with the secrets of a server that runs, if anything: others may have gone on without it.
pub(super) async fn secrets(connection: &Connection, codec: &RecordCodec) -> Result<Option<Problem>, StoreError> {
    let stored = stored(connection).await?;
    Ok(stored.and_then(|stored| problem(&marks::judge(codec, Some(&stored), false))))
}

async fn stored(connection: &Connection) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(match connection.query(cmd("GET").arg(keyspace::RING)).await? {
        Value::BulkString(stored) => Some(stored),
        _ => None,
    })
}

fn problem(verdict: &Verdict) -> Option<Problem> {
    match verdict {
        Verdict::Known | Verdict::Note(_) => None,
        Verdict::Lost(versions) => Some(Problem::grave(ProblemCode::Secret, marks::loss(versions), marks::REMEDY)),
        Verdict::Foreign => Some(Problem::grave(
            ProblemCode::Secret,
            "its records are sealed with a server secret that this server does not have",
            "give every server that uses this Redis the same versions of the server secret, or use another database of it",
        )),
    }
}

impl RingMark {
    async fn check(&self, connection: &mut MultiplexedConnection) -> Result<Option<Problem>, RedisError> {
        for _ in 0..ATTEMPTS {
            // Read first: a full server refuses even a write that would change nothing.
            let stored: Option<Vec<u8>> = cmd("GET").arg(keyspace::RING).query_async(connection).await?;
            let noted = match marks::judge(&self.codec, stored.as_deref(), false) {
                Verdict::Note(noted) => noted,
                verdict => return Ok(problem(&verdict)),
            };
            let done = match &stored {
                Some(stored) => scripts::replace_raw(connection, keyspace::RING, stored, &noted).await?,
                None => {
                    let mut command = cmd("SET");
                    command.arg(keyspace::RING).arg(noted).arg("NX");
                    command.query_async::<Value>(connection).await? != Value::Nil
                }
            };
            if done {
                return Ok(None);
            }
        }
        let what = "several servers write down other versions of the server secret at the same time";
        Ok(Some(Problem::grave(ProblemCode::Secret, what, "give all of them the same `secrets` file")))
    }
}

/// A field of what `INFO` tells.
pub(super) fn field<'i>(info: &'i str, name: &str) -> &'i str {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':')).unwrap_or_default()
}

/// What is wrong with how a server is set up.
pub(super) fn faults(info: &str, demands: Demands) -> Vec<Problem> {
    let mut faults = Vec::new();
    let mut fault = |code, what: String, remedy: String| faults.push(Problem::grave(code, what, remedy));
    let version = field(info, "redis_version");
    if parse_version(version).is_none_or(|version| version < OLDEST) {
        let (major, minor) = OLDEST;
        fault(
            ProblemCode::Version,
            format!("its version is `{version}`"),
            format!("use Redis {major}.{minor} or newer, or Valkey"),
        );
    }
    if field(info, "cluster_enabled") == "1" {
        fault(
            ProblemCode::Cluster,
            "it runs in cluster mode, which this version of keygate does not support".to_owned(),
            "use a single primary, with sentinels if it shall be replaced by itself".to_owned(),
        );
    }
    let role = field(info, "role");
    if role != "master" {
        fault(
            ProblemCode::Replica,
            format!("its role is `{role}`"),
            "give the address of the primary, or of sentinels".to_owned(),
        );
    }
    let policy = field(info, "maxmemory_policy");
    if policy != "noeviction" && !demands.allow_eviction {
        fault(
            ProblemCode::Eviction,
            format!("its `maxmemory-policy` is `{policy}`, so it may drop keys and counters without a word"),
            "set `maxmemory-policy noeviction`, or allow eviction in keygate's configuration".to_owned(),
        );
    }
    if field(info, "aof_enabled") != "1" && !demands.allow_no_persistence {
        fault(
            ProblemCode::Persistence,
            "it keeps no append-only file, so a crash loses keys and revocations that were acknowledged".to_owned(),
            "set `appendonly yes`, or allow running without persistence in keygate's configuration".to_owned(),
        );
    }
    faults
}

fn parse_version(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n\
                        # Persistence\r\naof_enabled:1\r\n# Replication\r\nrole:master\r\n# Cluster\r\ncluster_enabled:0\r\n";
    const STRICT: Demands = Demands { allow_no_persistence: false, allow_eviction: false, wait_replicas: 0 };

    fn only(change: (&str, &str), demands: Demands) -> Vec<String> {
        assert!(GOOD.contains(change.0));
        faults(&GOOD.replace(change.0, change.1), demands).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_server_has_no_faults() {
        assert_eq!(faults(GOOD, STRICT), Vec::new());
        assert_eq!(only(("7.0.15", "6.2.0"), STRICT), Vec::<String>::new());
        assert_eq!(only(("7.0.15", "10.0.1"), STRICT), Vec::<String>::new());
    }

    #[test]
    fn every_fault_is_named_with_its_remedy() {
        for (change, wrong, remedy) in [
            (("7.0.15", "6.0.16"), "`6.0.16`", "6.2 or newer"),
            (("7.0.15", "unstable"), "`unstable`", "6.2 or newer"),
            (("cluster_enabled:0", "cluster_enabled:1"), "cluster mode", "single primary"),
            (("role:master", "role:slave"), "`slave`", "address of the primary"),
            (("noeviction", "allkeys-lru"), "`allkeys-lru`", "`maxmemory-policy noeviction`"),
            (("aof_enabled:1", "aof_enabled:0"), "append-only", "`appendonly yes`"),
        ] {
            let faults = only(change, STRICT);
            assert!(matches!(&faults[..], [fault] if fault.contains(wrong) && fault.contains(remedy)), "{faults:?}");
        }
        assert_eq!(faults("", STRICT).len(), 4);
    }

    #[test]
    fn eviction_and_missing_persistence_can_be_allowed() {
        let lax = Demands { allow_no_persistence: true, allow_eviction: true, ..STRICT };
        assert_eq!(only(("noeviction", "allkeys-lru"), lax), Vec::<String>::new());
        assert_eq!(only(("aof_enabled:1", "aof_enabled:0"), lax), Vec::<String>::new());
        assert_eq!(only(("7.0.15", "5.0.0"), lax).len(), 1);
    }
}
