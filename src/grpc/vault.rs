//! `keygate.v1.Vault`: providers' credentials as messages, and the use cases between them. What comes in never goes out.

use super::{
    acts::Desk,
    fields::{Fields, LARGEST_PAGE, one_of},
    render,
};
use crate::{
    app::{
        error::AppError,
        manager::{CredentialManager, Reader},
        ports::Store,
        vault::{CredentialInfo, PutCredential, RemoveCredential, RewrapPage, Rewrapped},
    },
    domain::{
        id::{AccountId, ProviderName},
        realm::Realm,
        secret::ProviderCredential,
        vault::Slot,
    },
    proto::v1::{self, vault_server::Vault},
};
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

/// The service.
pub struct VaultService<S> {
    desk: Desk<S>,
}

impl<S: Store> VaultService<S> {
    /// The service over the use cases.
    #[must_use]
    pub fn new(desk: Desk<S>) -> Self {
        Self { desk }
    }
}

#[tonic::async_trait]
impl<S: Store> Vault for VaultService<S> {
    async fn put_credential(
        &self,
        request: Request<v1::PutCredentialRequest>,
    ) -> Result<Response<v1::ProviderCredential>, Status> {
        self.desk
            .act(("PutCredential", "put_credential"), request, |app, manager, mut message| async move {
                // Wiped from here on, whatever becomes of the rest.
                let credential = Zeroizing::new(std::mem::take(&mut message.credential));
                let guard = app.house.realm_to_manage(&message.realm, &manager)?;
                let permit = manager.permit::<CredentialManager>(guard)?;
                let request = read_put(&guard.realm, &message, credential)?;
                let done = app.put_credential(permit, &request).await?;
                Ok(write(&guard.realm, &request.account, done))
            })
            .await
    }

    async fn list_credentials(
        &self,
        request: Request<v1::ListCredentialsRequest>,
    ) -> Result<Response<v1::ListCredentialsResponse>, Status> {
        self.desk
            .act(("ListCredentials", "list_credentials"), request, |app, manager, message| async move {
                let guard = app.house.realm_to_manage(&message.realm, &manager)?;
                let permit = manager.permit::<Reader>(guard)?;
                let mut fields = Fields::default();
                let account = fields.account("account_id", &message.account_id);
                let account = fields.finish(account)?;
                let listed = app.list_credentials(permit, &account).await?.into_iter();
                let credentials = listed.map(|found| write(&guard.realm, &account, found)).collect();
                Ok(v1::ListCredentialsResponse { credentials })
            })
            .await
    }

    async fn delete_credential(
        &self,
        request: Request<v1::DeleteCredentialRequest>,
    ) -> Result<Response<v1::DeleteCredentialResponse>, Status> {
        self.desk
            .act(("DeleteCredential", "delete_credential"), request, |app, manager, message| async move {
                let guard = app.house.realm_to_manage(&message.realm, &manager)?;
                let permit = manager.permit::<CredentialManager>(guard)?;
                app.remove_credential(permit, &read_delete(&guard.realm, &message)?).await?;
                Ok(v1::DeleteCredentialResponse {})
            })
            .await
    }

    async fn rewrap_credentials(
        &self,
        request: Request<v1::RewrapCredentialsRequest>,
    ) -> Result<Response<v1::RewrapCredentialsResponse>, Status> {
        self.desk.act(("RewrapCredentials", "rewrap_credentials"), request, |app, manager, message| async move {
            let guard = app.house.realm_to_manage(&message.realm, &manager)?;
            let permit = manager.permit::<CredentialManager>(guard)?;
            let done = app.rewrap_credentials(permit, &read_rewrap(&message)?).await?;
            tracing::info!(
                accounts = done.accounts,
                rewrapped = done.rewrapped,
                kept = done.kept,
                key_encryption_key = %done.primary,
                "went through credentials"
            );
            for lost in &done.lost {
                let (key_encryption_key, credentials) = (&lost.kek, lost.credentials);
                tracing::error!(%key_encryption_key, credentials, "credentials hang on a key that does not open them");
            }
            Ok(write_rewrapped(done))
        })
        .await
    }
}

fn read_put(
    realm: &Realm,
    message: &v1::PutCredentialRequest,
    credential: Zeroizing<String>,
) -> Result<PutCredential, AppError> {
    let mut fields = Fields::default();
    let account = fields.account("account_id", &message.account_id);
    let environment = fields.one_environment("environment", &message.environment, realm);
    let known = || realm.providers.list().iter().map(|provider| provider.name.as_str());
    let provider = realm.providers.named(&message.provider).map(|provider| provider.name.clone());
    let provider = fields.check("provider", provider.ok_or_else(|| one_of("a provider of the realm", known())));
    let credential = ProviderCredential::new(credential).map_err(|allowed| format!("must be {allowed}"));
    let credential = fields.check("credential", credential);
    let slot = environment.zip(provider).map(|((_, name), provider)| Slot { environment: name.clone(), provider });
    let read = account.zip(slot).zip(credential);
    fields.finish(read.map(|((account, slot), credential)| PutCredential { account, slot, credential }))
}

fn read_delete(realm: &Realm, message: &v1::DeleteCredentialRequest) -> Result<RemoveCredential, AppError> {
    let mut fields = Fields::default();
    let account = fields.account("account_id", &message.account_id);
    let environment = fields.one_environment("environment", &message.environment, realm);
    let provider = fields.required("provider", &message.provider, ProviderName::new);
    let slot = environment.zip(provider).map(|((_, name), provider)| Slot { environment: name.clone(), provider });
    fields.finish(account.zip(slot).map(|(account, slot)| RemoveCredential { account, slot }))
}

fn read_rewrap(message: &v1::RewrapCredentialsRequest) -> Result<RewrapPage, AppError> {
    let mut fields = Fields::default();
    let accounts = fields.page_size(message.page_size, LARGEST_PAGE);
    let token = AccountId::new(&message.page_token);
    let after = match message.page_token.as_str() {
        "" => Some(None),
        _ => fields.check("page_token", token.map_err(|_| "must be the token of the page before")).map(Some),
    };
    fields.finish(after.map(|after| RewrapPage { after, accounts, all: message.all }))
}

fn write(realm: &Realm, account: &AccountId, found: CredentialInfo) -> v1::ProviderCredential {
    v1::ProviderCredential {
        realm: realm.name.to_string(),
        account_id: account.to_string(),
        environment: found.slot.environment.to_string(),
        provider: found.slot.provider.to_string(),
        created_at: Some(render::instant(found.created_at)),
        updated_at: Some(render::instant(found.updated_at)),
        updated_by: found.updated_by,
        key_encryption_key: found.kek.to_string(),
        can_open: found.can_open,
    }
}

fn write_rewrapped(done: Rewrapped) -> v1::RewrapCredentialsResponse {
    let lost = done.lost.into_iter();
    v1::RewrapCredentialsResponse {
        key_encryption_key: done.primary.to_string(),
        accounts: done.accounts,
        rewrapped: done.rewrapped,
        kept: done.kept,
        lost: lost
            .map(|lost| v1::LostKeyEncryptionKey {
                key_encryption_key: lost.kek.to_string(),
                credentials: lost.credentials,
            })
            .collect(),
        next_page_token: done.next.map(|account| account.to_string()).unwrap_or_default(),
    }
}
