//! What a request says of itself: which credential it presents, which operation it is, and what it acts on.

use super::Attempt;
use crate::{
    app::{
        authenticate::Presented,
        error::{AppError, Violation},
        ports::Store,
    },
    domain::{
        credential::{self, Accepts, Taken},
        deny::DenyReason,
        id::AccountId,
        key::TextForm,
        realm::{Matched, ParameterSource},
        request::ParameterError,
        secret::SecretRef,
    },
};

/// A credential of which only the text is known.
pub(super) struct Claim<'a, 'g> {
    pub(super) text: SecretRef<'a>,
    pub(super) form: TextForm<'g>,
    /// Absent: the request named none. A reason: it matched none.
    pub(super) operation: Result<Option<Matched<'g, 'a>>, DenyReason>,
    pub(super) target: Target,
}

/// What the request itself says that it acts on.
#[derive(Default)]
pub(super) struct Target {
    pub(super) account: Option<AccountId>,
    pub(super) organization: Option<AccountId>,
}

impl<'a, 'g, S: Store> Attempt<'a, 'g, S> {
    /// Whether the request says what it wants to do.
    pub(super) fn asks(&self) -> bool {
        self.request.operation.is_some() || self.request.request.line().is_some()
    }

    /// Whether the service that asks wants more than the operation does: then a caller must be known all the same.
    pub(super) fn demands_a_caller(&self) -> bool {
        let request = self.request;
        let named = request.account.is_some() || request.organization.is_some() || request.environment.is_some();
        named || !request.required_scopes.is_empty()
    }

    pub(super) fn take_credential(&mut self) -> Result<Taken<'a>, DenyReason> {
        let guard = self.guard;
        let whole = |text: SecretRef<'a>, accepts| match text.expose() {
            "" => Err(DenyReason::MissingCredential),
            _ => Ok(Taken { text, accepts }),
        };
        let taken = match &self.request.presented {
            Presented::Nothing => Err(DenyReason::MissingCredential),
            Presented::Key(key) => whole(*key, Accepts::KEY),
            Presented::Token(_) if !guard.realm.takes_tokens() => Err(DenyReason::InvalidToken),
            Presented::Token(token) => whole(*token, Accepts::TOKEN),
            Presented::Taken(taken) => Ok(*taken),
            Presented::InHeaders => credential::extract(&guard.realm.credentials, self.request.request.headers()),
        };
        self.steps.note("credential", || match taken {
            Ok(_) => "exactly one".to_owned(),
            Err(reason) => reason.name().replace('_', " "),
        });
        taken
    }

    pub(super) fn match_operation(&self) -> Result<Option<Matched<'g, 'a>>, DenyReason> {
        let operations = &self.guard.realm.operations;
        match (self.request.operation, self.request.request.line()) {
            (Some(index), _) => {
                let named = operations.list().get(index).map(|operation| Matched::new(index, operation));
                named.map(Some).ok_or(DenyReason::UnknownOperation)
            }
            (None, Some(line)) => operations.matched(line).map(Some).ok_or(DenyReason::UnknownOperation),
            (None, None) => Ok(operations.fallback().map(|(index, operation)| Matched::new(index, operation))),
        }
    }

    pub(super) fn target(&self, matched: Option<Matched<'_, '_>>) -> Result<Target, AppError> {
        let Some(matched) = matched.filter(|_| self.asks()) else { return Ok(Target::default()) };
        let (request, operation) = (&self.request.request, matched.operation);
        let account = request.account(&matched).map_err(|error| not_named("account", &operation.account, &error))?;
        let organization = request.organization(&matched);
        let organization = organization.map_err(|error| not_named("organization", &operation.organization, &error))?;
        agrees("account", self.request.account.as_ref(), account.as_ref())?;
        agrees("organization", self.request.organization.as_ref(), organization.as_ref())?;
        Ok(Target { account, organization })
    }
}

fn not_named(what: &str, source: &Option<ParameterSource>, error: &ParameterError) -> AppError {
    let (field, place) = match source {
        Some(ParameterSource::Header(_)) => ("headers", "them"),
        _ => ("path", "it"),
    };
    AppError::Target(Violation { field: field.to_owned(), problem: format!("the {what} in {place} {error}") })
}

fn agrees(what: &str, given: Option<&AccountId>, named: Option<&AccountId>) -> Result<(), AppError> {
    match (given, named) {
        (Some(given), Some(named)) if given != named => {
            let problem = format!("must be the {what} that the request names, or be left out");
            Err(AppError::invalid(&format!("{what}_id"), problem))
        }
        _ => Ok(()),
    }
}
