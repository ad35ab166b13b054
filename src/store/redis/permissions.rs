//! May keygate's user do what keygate does? Every command is tried, in a way that changes nothing: Redis looks at what a user
//! may do before it looks at anything else but the number of words. What it may not do is told by name.

use super::keyspace::{PREFIX, PROBE};
use crate::app::ports::{Problem, ProblemCode};
use redis::{
    ErrorKind, Pipeline, RedisError, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cmd, pipe,
};

/// Commands as Redis' lists of what a user may do name them, each with words that do nothing.
const TRIALS: [(&str, &[&str]); 20] = [
    ("info", &["INFO", "server"]),
    ("time", &["TIME"]),
    ("get", &["GET", PROBE]),
    // Both at once is a mistake, which shows only after the user was looked at; so do the numbers that are none below.
    ("set", &["SET", PROBE, "1", "NX", "XX"]),
    ("del", &["DEL", PROBE]),
    ("getrange", &["GETRANGE", PROBE, "0", "0"]),
    ("setrange", &["SETRANGE", PROBE, "0", ""]),
    ("hget", &["HGET", PROBE, "f"]),
    ("hmget", &["HMGET", PROBE, "f"]),
    ("hset", &["HSET", PROBE, "f", "v", "odd"]),
    ("hdel", &["HDEL", PROBE, "f"]),
    ("hexists", &["HEXISTS", PROBE, "f"]),
    ("hincrby", &["HINCRBY", PROBE, "f", "none"]),
    ("zadd", &["ZADD", PROBE, "none", "m"]),
    ("zrem", &["ZREM", PROBE, "m"]),
    ("zrangebylex", &["ZRANGEBYLEX", PROBE, "[a", "[b"]),
    ("lrange", &["LRANGE", PROBE, "0", "0"]),
    ("evalsha", &["EVALSHA", "0000000000000000000000000000000000000000", "0"]),
    ("script|load", &["SCRIPT", "LOAD", "return 1"]),
    ("wait", &["WAIT", "0", "1"]),
];

/// The one that cannot be tried without being done, and what undoes it.
const LIST: (&str, [&[&str]; 2]) = ("rpush", [&["RPUSH", PROBE, "1"], &["DEL", PROBE]]);

/// What came of trying.
#[derive(Default)]
pub(super) struct Tried {
    /// What the user may not do.
    pub(super) missing: Vec<&'static str>,
    /// Whether the names that keygate uses are closed to it.
    pub(super) names_closed: bool,
    /// What else is in the way of a change.
    pub(super) hindrances: Vec<RedisError>,
}

/// What the user may not do, as a problem; `waits`: it has to wait for replicas too.
pub(super) async fn missing(connection: &mut MultiplexedConnection, waits: bool) -> Result<Vec<Problem>, RedisError> {
    Ok(tried(connection, waits, true).await?.problem().into_iter().collect())
}

/// Tries everything; `fully`: also what has to be undone.
pub(super) async fn tried(
    connection: &mut MultiplexedConnection,
    waits: bool,
    fully: bool,
) -> Result<Tried, RedisError> {
    let mut pipeline = pipe();
    let mut names = Vec::new();
    for (name, words) in TRIALS.iter().filter(|(name, _)| waits || *name != "wait") {
        names.push(*name);
        add(&mut pipeline, words);
    }
    if fully {
        let (name, words) = LIST;
        names.extend([name, "del"]);
        words.iter().for_each(|words| add(&mut pipeline, words));
    }
    let replies = connection.req_packed_commands(&pipeline, 0, names.len()).await?;
    let mut tried = Tried::default();
    for (name, reply) in names.into_iter().zip(replies) {
        let Value::ServerError(error) = reply else { continue };
        let error = RedisError::from(error);
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoPerm) if of_names(&error) => tried.names_closed = true,
            ErrorKind::Server(ServerErrorKind::NoPerm) if !tried.missing.contains(&name) => tried.missing.push(name),
            ErrorKind::Server(
                ServerErrorKind::ReadOnly | ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown,
            ) => {
                tried.hindrances.push(error);
            }
            _ if ["MISCONF", "OOM", "NOAUTH"].contains(&error.code().unwrap_or_default()) => {
                tried.hindrances.push(error)
            }
            _ => {}
        }
    }
    Ok(tried)
}

impl Tried {
    /// What keygate's user must be given.
    pub(super) fn problem(&self) -> Option<Problem> {
        let commands: Vec<String> = self.missing.iter().map(|name| format!("+{name}")).collect();
        let names = self.names_closed.then(|| format!("~{PREFIX}*"));
        let missing: Vec<String> = names.into_iter().chain(commands).collect();
        (!missing.is_empty()).then(|| {
            Problem::grave(
                ProblemCode::Permission,
                format!("its user may not do all that keygate does: it lacks `{}`", missing.join(" ")),
                "give it that with `ACL SETUSER`, and in the file that `aclfile` names: `deploy/redis/users.acl` has it all",
            )
        })
    }
}

fn add(pipeline: &mut Pipeline, words: &[&str]) {
    let mut words = words.iter();
    if let Some(name) = words.next() {
        let mut command = cmd(name);
        command.arg(words.as_slice());
        pipeline.add_command(command);
    }
}

/// Whether it is names that the user may not touch, and not a command that it may not run.
fn of_names(error: &RedisError) -> bool {
    let text = error.detail().unwrap_or_default();
    text.contains("access") && text.contains("key")
}
