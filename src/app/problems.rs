//! What is wrong with the store just now, for whoever asks: the log tells it when it changes, an operator may read it at any time.

use super::ports::Problem;
use parking_lot::Mutex;

/// What is wrong just now.
#[derive(Debug, Default)]
pub struct Problems(Mutex<Vec<Problem>>);

/// What changed since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// What was not so before.
    pub new: Vec<Problem>,
    /// What is so no more.
    pub gone: Vec<Problem>,
}

impl Problems {
    /// Everything that is wrong, the gravest first; nothing while all is well.
    #[must_use]
    pub fn now(&self) -> Vec<Problem> {
        self.0.lock().clone()
    }

    /// Takes what was found, and tells what changed. One kind of problem is told once, however its words change meanwhile: a number in
    /// them moves with every look.
    pub fn found(&self, mut problems: Vec<Problem>) -> Changed {
        problems.sort_by_key(|problem| !problem.stops);
        let mut before = self.0.lock();
        let in_none = |all: &[Problem], one: &Problem| !all.iter().any(|other| other.code == one.code);
        let new = problems.iter().filter(|one| in_none(&before, one)).cloned().collect();
        let gone = before.iter().filter(|one| in_none(&problems, one)).cloned().collect();
        *before = problems;
        Changed { new, gone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::ports::ProblemCode;

    #[test]
    fn a_problem_is_told_when_it_comes_and_when_it_goes_and_not_in_between() {
        let problems = Problems::default();
        let slow = |ms: u32| Problem::slight(ProblemCode::Slow, format!("answers take {ms} ms"), "look at it");
        let away = Problem::grave(ProblemCode::Unreachable, "it is away", "bring it back");
        assert_eq!(problems.found(vec![slow(30)]).new, [slow(30)]);
        assert_eq!(problems.found(vec![slow(31)]), Changed::default());
        assert_eq!(problems.found(vec![slow(32), away.clone()]).new, std::slice::from_ref(&away));
        assert_eq!(problems.now(), [away.clone(), slow(32)], "the gravest first");
        assert_eq!(problems.found(Vec::new()), Changed { new: Vec::new(), gone: vec![away, slow(32)] });
        assert!(problems.now().is_empty());
    }
}
