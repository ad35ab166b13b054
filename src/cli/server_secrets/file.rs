//! The commands that look at a `secrets` file, or change it. They ask no server.

use super::show;
use crate::{
    cli::{
        exit::{Exit, help},
        failure::Failure,
        output::Output,
        serve::not_started,
        values,
    },
    domain::time::Timestamp,
    proto::google,
    server::{self, When},
};
use std::{path::PathBuf, time::Duration};

/// The file.
#[derive(Debug, clap::Args)]
struct Place {
    /// The file with the server secrets
    #[arg(long, value_name = "FILE", env = "KEYGATE_SECRETS_FILE", default_value = "./keygate-data/secrets")]
    file: PathBuf,
}

/// Add a new version of the server secret to its file
///
/// It is written with the time from which it is used, so that every server reads the file before one of them uses it. Servers
/// take the file over while they run, and turn to the new version by themselves. With several servers, write one file and
/// copy it to all of them before that time. The file is replaced as a whole; mode and owner stay.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate secrets rotate
  keygate secrets rotate --use-from 1h --retire-after 90d
  keygate secrets rotate --use-from now"
))]
pub struct RotateArgs {
    #[command(flatten)]
    place: Place,
    /// When the new version is used: a span from now, a time, or `now` for a single server
    #[arg(long, value_name = "SPAN|TIME|now", default_value = "10m", value_parser = parse_when)]
    use_from: When,
    /// Retire the versions that it takes the place of so long after that
    #[arg(long, value_name = "SPAN", value_parser = values::parse_span)]
    retire_after: Option<Duration>,
}

/// Show the versions of the server secret that a file holds, never the secrets
///
/// The state is that of this moment, by the clock of this machine. The same fingerprint is the same secret.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate secrets show --file /etc/keygate/secrets"))]
pub struct ShowArgs {
    #[command(flatten)]
    place: Place,
}

/// Say in the file when a version of the server secret retires
///
/// From then on no key is found that is still stored under it, and no embed token holds that it signed. Records that it sealed are
/// still read, so its line stays in the file. `keygate secrets status` tells how many keys that would be.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate secrets retire 1 --at 2030-01-31
  keygate secrets retire 1 --at never"))]
pub struct RetireArgs {
    #[command(flatten)]
    place: Place,
    /// The version
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    version: u32,
    /// The day (from its beginning in UTC), the time, a span from now, `now`, or `never` to take it back
    #[arg(long, value_name = "DATE|TIME|SPAN|now|never", value_parser = parse_end)]
    at: End,
}

/// When a version retires, if ever.
#[derive(Debug, Clone, Copy)]
struct End(Option<When>);

const ALLOWED: &str = "allowed are a span such as `10m`, a time such as `2030-01-31T12:00:00Z`, or `now`";

fn parse_when(text: &str) -> Result<When, String> {
    if text == "now" {
        return Ok(When::In(Duration::ZERO));
    }
    if let Ok(span) = values::parse_span(text) {
        return Ok(When::In(span));
    }
    let time = values::parse_instant(text).ok().and_then(timestamp);
    time.map(When::At).ok_or_else(|| ALLOWED.to_owned())
}

fn parse_end(text: &str) -> Result<End, String> {
    if text == "never" {
        return Ok(End(None));
    }
    let day = values::parse_instant(&format!("{text}T00:00:00Z")).ok().and_then(timestamp).map(When::At);
    let when = day.map_or_else(|| parse_when(text), Ok);
    let also = ", a day such as `2030-01-31`, or `never`";
    when.map(|when| End(Some(when))).map_err(|_| format!("{ALLOWED}{also}"))
}

fn timestamp(time: google::Timestamp) -> Option<Timestamp> {
    let seconds = u64::try_from(time.seconds).ok()?.checked_mul(1_000_000)?;
    let micros = seconds.checked_add(u64::try_from(time.nanos).ok()?.div_ceil(1_000))?;
    Some(Timestamp::from_micros(micros)).filter(|time| *time <= Timestamp::MAX)
}

/// A time as the file has it.
pub(super) fn instant(time: Timestamp) -> String {
    let (seconds, micros) = (time.as_micros() / 1_000_000, time.as_micros() % 1_000_000);
    values::instant(&google::Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(micros.saturating_mul(1_000)).unwrap_or_default(),
    })
}

impl RotateArgs {
    pub(super) fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let states = server::rotate_secrets(&self.place.file, self.use_from, self.retire_after);
        show(&states.map_err(|error| not_started(&error))?, output)
    }
}

impl ShowArgs {
    pub(super) fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        show(&server::show_secrets(&self.place.file).map_err(|error| not_started(&error))?, output)
    }
}

impl RetireArgs {
    pub(super) fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let states = server::retire_secret(&self.place.file, self.version, self.at.0);
        show(&states.map_err(|error| not_started(&error))?, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spans_instants_days_or_words() {
        let at = |text: &str| When::At(timestamp(values::parse_instant(text).unwrap()).unwrap());
        assert_eq!(parse_when("now"), Ok(When::In(Duration::ZERO)));
        assert_eq!(parse_when("10m"), Ok(When::In(Duration::from_secs(600))));
        assert_eq!(parse_when("2030-01-31T12:00:00+02:00"), Ok(at("2030-01-31T10:00:00Z")));
        assert_eq!(parse_end("2030-01-31").unwrap().0, Some(at("2030-01-31T00:00:00Z")));
        assert_eq!(parse_end("never").unwrap().0, None);
        assert_eq!(instant(Timestamp::from_micros(1_893_456_000_000_000)), "2030-01-01T00:00:00Z");
        for odd in ["", "tomorrow", "2030-01-31", "1969-12-31T23:59:59Z", "never", "-1h"] {
            assert_eq!(parse_when(odd), Err(ALLOWED.to_owned()), "{odd}");
        }
        assert!(parse_end("2030-02-31").is_err_and(|said| said.contains("`2030-01-31`, or `never`")));
    }
}
