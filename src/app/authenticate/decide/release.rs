//! What a request that may pass goes on with: the credential that the key's own account deposited for the provider.

use super::{Attempt, claim::Claim};
use crate::{
    app::{
        authenticate::{Release, Released},
        error::{AppError, Violation},
        ports::Store,
    },
    domain::{deny::DenyReason, key::KeySnapshot},
};

impl<'g, S: Store> Attempt<'_, 'g, S> {
    /// Finds it, or why the request may not pass without. Nothing where none is released.
    ///
    /// The key decides all of it: its account, its environment, and the state of the account that the charge confirms.
    pub(super) async fn release(
        &mut self,
        claim: &Claim<'_, 'g>,
        key: &KeySnapshot,
    ) -> Result<Result<Option<Released<'g>>, DenyReason>, AppError> {
        let providers = &self.guard.realm.providers;
        let asks = self.asks() && self.request.release != Release::NotAsked;
        let Some(matched) = claim.operation.ok().flatten().filter(|_| asks) else { return Ok(Ok(None)) };
        let named = match providers.named_by() {
            None => None,
            Some(header) => self.request.request.header(header).map_err(|error| wrong(header, &error))?,
        };
        let provider = providers.chosen(matched.index, named).map_err(|_| {
            let header = providers.named_by().unwrap_or_default();
            wrong(header, &"must name a provider that this operation goes to")
        })?;
        let Some(provider) = provider else { return Ok(Ok(None)) };
        if self.request.release == Release::Refused {
            return Err(AppError::NoRelease);
        }
        let found = self.app.provider_header(&key.owner, &key.key.environment, provider, key.stamp).await;
        let [released, absent, failed] = &self.guard.meter.releases;
        match &found {
            Ok((Some(_), _)) => released.one(),
            Ok((None, _)) => absent.one(),
            Err(_) => failed.one(),
        }
        let (value, waited) = found?;
        if waited {
            // A key service may have taken its time: the store gets its own, from now on.
            let clock = &self.app.house.clock;
            self.due = self.app.store.patience().map(|patience| clock.ticks().after(patience));
        }
        self.steps.note("vault", || {
            let found = if value.is_some() { "a credential" } else { "no credential" };
            format!("{found} for `{}` in `{}`", provider.name, key.key.environment)
        });
        match value {
            None if provider.required => Ok(Err(DenyReason::NoProviderCredential)),
            value => Ok(Ok(Some(Released { provider, value }))),
        }
    }
}

fn wrong(header: &str, problem: &impl std::fmt::Display) -> AppError {
    AppError::Target(Violation { field: "headers".to_owned(), problem: format!("`{header}` {problem}") })
}
