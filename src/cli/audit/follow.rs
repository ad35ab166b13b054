//! `keygate audit follow`.

use super::{client::Reader, record};
use crate::cli::{
    client::Management,
    exit::{Exit, help},
    failure::Failure,
    output,
    output::Output,
};

/// Show events of an account as they come, until it is stopped
///
/// One line an event; with `--output json` one JSON object a line. Ends with exit code 1 when the server goes down or is
/// out of reach, and says with which `--after` it goes on without a gap.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate audit follow --realm recurr --account acme
  keygate audit follow --realm recurr --account acme --after 0 --output json"
))]
pub struct Args {
    #[command(flatten)]
    management: Management,
    /// The account
    #[arg(long, value_name = "ID")]
    account: String,
    /// Begin behind the event with this number; 0: with the first. Without: with what comes from now on
    #[arg(long, value_name = "N")]
    after: Option<u64>,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let mut reader = Reader::open(self.management).await?;
        let mut stream = reader.follow(self.account, self.after).await?;
        let mut last = self.after;
        while !output.closed() {
            let next = stream.message().await.map_err(|status| Failure::from_status(&status));
            let event = match next {
                Ok(Some(message)) => message.event.ok_or_else(Failure::odd_answer)?,
                Ok(None) => return Err(goes_on(Failure::odd_answer(), last)),
                Err(failure) => return Err(goes_on(failure, last)),
            };
            last = Some(event.sequence);
            if output.is_json() {
                output.line(&record::event(&event).to_string())?;
            } else {
                let [sequence, at, act, rest @ ..] = &record::cells(&event)[..] else { continue };
                let rest = rest.iter().map(|cell| output::shown(cell)).collect::<Vec<_>>().join("  ");
                output.line(&format!("{sequence:>6}  {at}  {act:<15}  {rest}"))?;
            }
        }
        Ok(Exit::Success)
    }
}

/// The failure, and how to miss nothing.
fn goes_on(failure: Failure, last: Option<u64>) -> Failure {
    match last {
        Some(last) => failure.after(&format!("`--after {last}` goes on from here")),
        None => failure,
    }
}
