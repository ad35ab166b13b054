//! Minting embed tokens. Nothing is stored: a token is judged with its key whenever it is presented.

use super::{
    error::AppError,
    house::{App, Guarded},
    manager::{ManagePermit, Minter},
    ports::{Freshness, Store},
};
use crate::domain::{
    access::{self, Wanted},
    embed::{EMBED_LEEWAY, EmbedRules, EmbedToken},
    id::{AccountId, AccountRef, KeyId, Scope},
    time::Timestamp,
    token::Token,
};
use std::{sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// A request for a token, its fields checked.
#[derive(Debug)]
pub struct MintEmbedToken {
    /// The key that it comes from.
    pub key: KeyId,
    /// The account that it is for.
    pub target: AccountId,
    /// What it may do; none: what the key may.
    pub scopes: Vec<Scope>,
    /// How long it holds; absent: as the realm says.
    pub lifetime: Option<Duration>,
}

/// A token that was minted.
pub struct MintedEmbedToken {
    /// The token itself.
    pub text: Zeroizing<String>,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl<S: Store> App<S> {
    /// Mints a token from a key, for one account that it reaches.
    ///
    /// # Errors
    /// When the realm has none, the key is not there, does not work, or may not do what the token should.
    pub async fn mint_embed_token(
        &self,
        permit: ManagePermit<'_, Minter>,
        request: &MintEmbedToken,
    ) -> Result<MintedEmbedToken, AppError> {
        let guard = permit.guard();
        let (realm, rules) = (&guard.realm.name, rules(guard)?);
        let lifetime = request.lifetime.unwrap_or(rules.lifetime);
        if lifetime < Duration::from_secs(1) || lifetime > rules.longest || lifetime.subsec_nanos() > 0 {
            let problem = format!("must be 1 to {} whole seconds", rules.longest.as_secs());
            return Err(AppError::invalid("lifetime", problem));
        }
        let account = self.store.locate_key(realm, request.key).await?.ok_or(AppError::UnknownKey(request.key))?;
        let owner = AccountRef { realm: realm.clone(), account };
        let key = self.store.find_key_by_id(&owner, request.key, Freshness::Fresh, None).await?;
        let key = key.ok_or(AppError::UnknownKey(request.key))?;
        let target = AccountRef { realm: realm.clone(), account: request.target.clone() };
        let reached = match target == owner {
            true => None,
            false => Some(self.store.find_account(&target, Freshness::Fresh, None).await?),
        };
        let now = self.house.clock.now();
        let leeway = u64::try_from(EMBED_LEEWAY.as_micros()).unwrap_or_default();
        let expires_at = now.after(lifetime);
        let mut id = [0; 16];
        self.house.entropy.fill(&mut id)?;
        let token = Token {
            issuer: Arc::from(""),
            subject: request.target.to_string(),
            account: owner.account.clone(),
            environment: key.key.environment.clone(),
            scopes: request.scopes.clone(),
            scoped: !request.scopes.is_empty(),
            roles: Vec::new(),
            mark: [0; 32],
            begins_at: Timestamp::from_micros(now.as_micros().saturating_sub(leeway)),
            expires_at,
            ends_at: expires_at,
        };
        let embed = EmbedToken { token: Arc::new(token), key: request.key, target: request.target.clone() };
        let wanted = Wanted {
            account: Some(&embed.target),
            reached: reached.as_deref(),
            organization: None,
            environment: None,
            address: None,
            operation: None,
            required_scopes: &request.scopes,
        };
        access::may_embed(&guard.realm, &key, &embed, &wanted, now).map_err(AppError::NotMinted)?;
        let text = self.house.tokens.sign(realm, &id, &embed).ok_or_else(|| none(guard))?;
        Ok(MintedEmbedToken { text, expires_at })
    }

    /// The public keys of a realm's embed tokens, as a JWK set.
    ///
    /// # Errors
    /// When the realm has none.
    pub fn embed_key_set(&self, guard: &Guarded) -> Result<String, AppError> {
        self.house.tokens.key_set(&guard.realm.name).ok_or_else(|| none(guard))
    }
}

fn rules(guard: &Guarded) -> Result<&EmbedRules, AppError> {
    guard.realm.embed_tokens.as_ref().ok_or_else(|| none(guard))
}

fn none(guard: &Guarded) -> AppError {
    AppError::NoEmbedTokens { realm: guard.realm.name.clone() }
}
