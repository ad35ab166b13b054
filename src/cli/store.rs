//! `keygate serve --check-store`: what is wrong with the store, without serving.

use super::{exit::Exit, failure::Failure, output::Output, serve::not_started};
use crate::{
    config::Settings,
    server::{self, StoreProblem},
};
use serde_json::{Value, json};

/// Looks at the store that the settings name, and shows what is wrong with it.
///
/// # Errors
/// When it cannot be opened, or the answer not be written.
pub(super) fn check(out: &mut Output, settings: &Settings) -> Result<Exit, Failure> {
    let report = server::check_store(settings).map_err(|error| not_started(&error))?;
    if out.is_json() {
        let problems: Value = report.problems.iter().map(as_json).collect();
        out.json(&json!({ "store": report.store, "problems": problems }))?;
    } else if report.problems.is_empty() {
        out.line(&format!("{}: nothing is wrong with it", report.store))?;
    } else {
        out.table(&["PROBLEM", "SERVES", "WHAT", "WHAT TO DO"], report.problems.iter().map(as_row))?;
    }
    Ok(if report.problems.is_empty() { Exit::Success } else { Exit::Failure })
}

fn as_json(problem: &StoreProblem) -> Value {
    let StoreProblem { code, what, remedy, stops } = problem;
    json!({ "problem": code, "what": what, "remedy": remedy, "serves": !stops })
}

fn as_row(problem: &StoreProblem) -> Vec<String> {
    let StoreProblem { code, what, remedy, stops } = problem;
    vec![(*code).to_owned(), if *stops { "no" } else { "yes" }.to_owned(), what.clone(), remedy.clone()]
}
