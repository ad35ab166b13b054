//! What goes to Redis, for whoever follows the call: names of commands and scripts, and how often there and back. Never a key, never a
//! value.

use super::scripts;
use crate::app::ports::{
    StoreError,
    meter::StoreFault,
    trace::{self, Kind, Span},
};
use redis::{Arg, Cmd, Pipeline, Script};

/// Boxed: most calls are not followed.
pub(super) type Followed = Option<Box<Span>>;

/// One command.
pub(super) fn command(command: &Cmd) -> Followed {
    let here = trace::here()?;
    let name = name(command);
    let span = here.step(name.clone(), Kind::Client);
    note(&span, name, here.round_trip());
    Some(Box::new(span))
}

/// Commands that are sent together.
pub(super) fn pipeline(pipeline: &Pipeline) -> Followed {
    let here = trace::here()?;
    let span = here.step("PIPELINE", Kind::Client);
    note(&span, "PIPELINE".to_owned(), here.round_trip());
    span.note("db.operation.batch.size", i64::try_from(pipeline.len()).unwrap_or(i64::MAX));
    Some(Box::new(span))
}

/// A command that calls a script.
pub(super) fn script(command: &Cmd, script: &Script) -> Followed {
    let here = trace::here()?;
    let (name, called) = (name(command), scripts::name_of(script));
    let span = here.step(format!("{name} {called}"), Kind::Client);
    note(&span, name, here.round_trip());
    span.note("db.stored_procedure.name", called);
    Some(Box::new(span))
}

fn note(span: &Span, name: String, round_trip: u32) {
    span.note("db.system.name", "redis");
    span.note("db.operation.name", name);
    span.note("keygate.round_trip", i64::from(round_trip));
    // Until there is an answer: whoever waits may give up.
    span.ended(Some("unanswered"));
}

/// The first word, which is the command's name. What follows may be anything.
fn name(command: &Cmd) -> String {
    match command.args_iter().next() {
        Some(Arg::Simple(word)) => String::from_utf8_lossy(word).into_owned(),
        _ => String::new(),
    }
}

/// Tells how it ended.
pub(super) fn ended<T>(span: Followed, done: &Result<T, StoreError>) {
    if let Some(span) = span {
        span.ended(done.as_ref().err().map(|error| StoreFault::from(error).name()));
    }
}
