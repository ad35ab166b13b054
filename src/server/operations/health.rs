//! Whether the server is well, and what is wrong if it is not.

use crate::{
    app::ports::{Problem, ProblemCode},
    tokens::IssuerState,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

/// How the server stands, as its watches found it last.
#[derive(Debug, Default)]
pub(in crate::server) struct Health {
    /// What the store said: nothing yet, that it is well, or what is wrong.
    store: Mutex<Option<Result<(), String>>>,
    /// What is wrong with it beside that.
    problems: Mutex<Vec<Problem>>,
    leaving: AtomicBool,
}

impl Health {
    /// What the store answered, and what was found wrong with it beside.
    pub(in crate::server) fn store(&self, answer: Result<(), String>, problems: Vec<Problem>) {
        *self.store.lock() = Some(answer);
        *self.problems.lock() = problems;
    }

    /// The server was told to end.
    pub(in crate::server) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether the store answered last.
    pub(super) fn store_answers(&self) -> bool {
        matches!(&*self.store.lock(), Some(Ok(())))
    }

    /// What may be wrong with the store, by code, and whether it is.
    pub(super) fn store_problems(&self) -> Vec<(&'static str, bool)> {
        let problems = self.problems.lock();
        let is_so = |code| problems.iter().any(|problem| problem.code == code);
        ProblemCode::ALL.iter().map(|&code| (code.name(), is_so(code))).collect()
    }

    /// Whether requests should come here.
    pub(super) fn is_ready(&self) -> bool {
        self.store_answers()
            && !self.problems.lock().iter().any(|problem| problem.stops)
            && !self.leaving.load(Ordering::Relaxed)
    }

    /// The process lives, or it would not answer.
    pub(super) fn live(&self) -> Value {
        json!({ "live": true, "leaving": self.leaving.load(Ordering::Relaxed) })
    }

    /// Whether requests should come here, with everything that is wrong. What does not keep the server from deciding is told and
    /// does not count.
    pub(super) fn ready(&self, issuers: Vec<IssuerState>) -> (bool, Value) {
        let check = |name: &str, needed: bool, problem: Option<String>| match problem {
            None => json!({ "name": name, "ok": true, "needed": needed }),
            Some(problem) => json!({ "name": name, "ok": false, "needed": needed, "problem": problem }),
        };
        let store = match &*self.store.lock() {
            Some(Ok(())) => None,
            Some(Err(problem)) => Some(problem.clone()),
            None => Some("the store was not asked yet".to_owned()),
        };
        let leaving = self.leaving.load(Ordering::Relaxed);
        let leaving = leaving.then(|| "the server was told to end".to_owned());
        let ready = self.is_ready();
        let mut checks = vec![check("store", true, store), check("staying", true, leaving)];
        let problems = self.problems.lock();
        checks.extend(problems.iter().map(|Problem { code, what, remedy, stops }| {
            check(code.name(), *stops, Some(format!("{what}; {remedy}")))
        }));
        drop(problems);
        for issuer in issuers {
            let problem =
                (!issuer.usable).then(|| "its keys are not known, or too old: its tokens cannot be judged".to_owned());
            let mut told = check("issuer", false, problem);
            if let Value::Object(fields) = &mut told {
                fields.insert("realm".to_owned(), issuer.realm.as_str().into());
                fields.insert("issuer".to_owned(), (*issuer.issuer).into());
            }
            checks.push(told);
        }
        (ready, json!({ "ready": ready, "checks": checks }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_who_has_a_store_and_stays() {
        let health = Health::default();
        assert!(!health.ready(Vec::new()).0);
        health.store(Ok(()), vec![Problem::slight(ProblemCode::Slow, "it is slow", "look why")]);
        let (ready, told) = health.ready(Vec::new());
        assert!(ready && health.is_ready() && told.to_string().contains("it is slow; look why"), "{told}");
        health.store(Ok(()), vec![Problem::grave(ProblemCode::Eviction, "it evicts keys", "set `noeviction`")]);
        let (ready, told) = health.ready(Vec::new());
        assert!(!ready && health.store_answers() && told.to_string().contains("evicts"), "{told}");
        health.store(Err("it is away".to_owned()), Vec::new());
        let (ready, told) = health.ready(Vec::new());
        assert!(!ready && told.to_string().contains("it is away"), "{told}");
        health.store(Ok(()), Vec::new());
        health.leave();
        assert!(!health.ready(Vec::new()).0 && !health.is_ready() && health.store_answers());
    }
}
