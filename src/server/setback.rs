//! A store that went back in time: looked for when the server starts and while it runs, told, and mended as far as it can be.

use super::beat::Beat;
use crate::app::{
    error::AppError,
    house::App,
    ports::{Problem, ProblemCode, Store},
    recovery::Setback,
};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// How often the account of the latest act is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// What was found since the start.
#[derive(Debug, Default)]
pub(super) struct Setbacks(Mutex<Setback>);

impl Setbacks {
    /// Tells what was found, and keeps it.
    pub(super) fn found(&self, setback: Setback) {
        if setback.accounts == 0 {
            return;
        }
        tracing::error!(accounts = setback.accounts, keys = setback.keys, "{}", what(&setback));
        self.0.lock().add(setback);
    }

    /// What is wrong with the store because of it.
    pub(super) fn problem(&self) -> Option<Problem> {
        let setback = self.0.lock();
        (setback.accounts > 0).then(|| problem(&setback))
    }
}

/// What is told of a setback.
pub(super) fn problem(setback: &Setback) -> Problem {
    let remedy = "find out what put it back: acts that were done since are lost, and must be done again. Keys that were ended stay dead";
    Problem::slight(ProblemCode::WentBack, what(setback), remedy)
}

fn what(setback: &Setback) -> String {
    let Setback { accounts, keys, example } = setback;
    let example = example.as_ref().map(|owner| format!(", such as `{}` of realm `{}`", owner.account, owner.realm));
    let example = example.unwrap_or_default();
    format!(
        "the store went back in time: accounts that are behind what this server wrote down of them: {accounts}{example}; keys that \
         were ended or held back, worked again, and no longer do: {keys}"
    )
}

/// Looks at the store once as a whole, and then each second at the account of the latest act.
pub(super) async fn watch<S: Store>(
    mut app: App<S>,
    setbacks: Arc<Setbacks>,
    serving: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
) {
    let mut beat = Beat::new(PERIOD, stop);
    let mut whole = true;
    while beat.next().await {
        if !*serving.borrow() {
            continue;
        }
        app = app.as_of_now();
        let round = async {
            if whole || !app.store_stands().await? {
                setbacks.found(app.recover(false).await?);
            }
            Ok::<_, AppError>(())
        };
        match beat.unless_stopped(round).await {
            Some(Ok(())) => whole = false,
            Some(Err(error)) => tracing::warn!(%error, "whether the store went back in time could not be looked into"),
            None => return,
        }
    }
}
