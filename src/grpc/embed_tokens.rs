//! `keygate.v1.EmbedTokens`: requests for tokens as messages, and the use cases behind them.

use super::{
    acts::Desk,
    failure::{self, Call, IdIn},
    fields::Fields,
    render,
};
use crate::{
    app::{embed_tokens::MintEmbedToken, error::AppError, house::App, manager::Minter, ports::Store},
    domain::realm::Realm,
    proto::v1::{self, embed_tokens_server::EmbedTokens},
};
use tonic::{Request, Response, Status};

/// The service.
pub struct EmbedTokensService<S> {
    desk: Desk<S>,
    app: App<S>,
}

impl<S: Store> EmbedTokensService<S> {
    /// The service over the use cases.
    #[must_use]
    pub fn new(desk: Desk<S>, app: App<S>) -> Self {
        Self { desk, app }
    }
}

#[tonic::async_trait]
impl<S: Store> EmbedTokens for EmbedTokensService<S> {
    async fn mint(
        &self,
        request: Request<v1::MintEmbedTokenRequest>,
    ) -> Result<Response<v1::MintEmbedTokenResponse>, Status> {
        self.desk
            .act(("Mint", "mint_embed_token"), request, |app, manager, message| async move {
                let guard = app.house.realm_to_manage(&message.realm, &manager)?;
                let permit = manager.permit::<Minter>(guard)?;
                let minted = app.mint_embed_token(permit, &read(&guard.realm, &message)?).await?;
                let expires_at = Some(render::instant(minted.expires_at));
                Ok(v1::MintEmbedTokenResponse { token: minted.text.to_string(), expires_at })
            })
            .await
    }

    async fn key_set(
        &self,
        request: Request<v1::EmbedKeySetRequest>,
    ) -> Result<Response<v1::EmbedKeySetResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let call = Call { house: &self.app.house, name: "KeySet", id: IdIn::Metadata(&metadata), span: None };
        let found = self.app.house.realm(&message.realm).and_then(|guard| self.app.embed_key_set(guard));
        let answer = found.map(|jwk_set| v1::EmbedKeySetResponse { jwk_set });
        failure::echoed(&call.request_id(), answer.map_err(|error| call.failed(&message.realm, &error)))
    }
}

fn read(realm: &Realm, message: &v1::MintEmbedTokenRequest) -> Result<MintEmbedToken, AppError> {
    let mut fields = Fields::default();
    let key = fields.key_id("key_id", &message.key_id);
    let target = fields.account("account_id", &message.account_id);
    let scopes = fields.scopes("scopes", &message.scopes, realm);
    let lifetime = message.lifetime.as_ref().and_then(|span| fields.span("lifetime", span));
    fields.finish(key.zip(target).map(|(key, target)| MintEmbedToken { key, target, scopes, lifetime }))
}
