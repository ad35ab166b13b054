//! The steps that led to a decision, kept only when somebody asked for them.

/// One step: what was looked at and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was looked at.
    pub stage: &'static str,
    /// What was found. Never holds a secret.
    pub finding: String,
}

/// The steps so far; nothing is kept unless somebody asked.
#[derive(Debug)]
pub(super) struct Steps(Option<Vec<Step>>);

impl Steps {
    pub(super) fn new(wanted: bool) -> Self {
        Self(wanted.then(Vec::new))
    }

    /// Notes a step. The text is only made when somebody asked.
    pub(super) fn note(&mut self, stage: &'static str, finding: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.0 {
            steps.push(Step { stage, finding: finding() });
        }
    }

    pub(super) fn into_vec(self) -> Vec<Step> {
        self.0.unwrap_or_default()
    }
}
