//! `keygate.v1.Onboarding`: signups as messages, and the use cases between them. Nobody authenticates here; the work is done on
//! the runtime of management, so that a burst of it never delays a decision.

use super::{
    authorization::KeyWriter,
    failure::{self, Call, IdIn},
    fields::Fields,
    render,
    turnstile::{self, Kind},
};
use crate::{
    app::{
        error::AppError,
        house::App,
        onboarding::{Outcome, SignupRequest, VerifyRequest},
        ports::Store,
    },
    domain::{
        onboarding::{Address, CodeFormat, SignupId},
        secret::SecretRef,
    },
    proto::v1::{
        self, SignupResponse, SignupStarted, VerifyResponse, onboarding_server::Onboarding, signup_response,
        verify_response,
    },
};
use std::{future::Future, net::IpAddr, time::Duration};
use tokio::{runtime::Handle, sync::Semaphore};
use tonic::{Request, Response, Status, metadata::MetadataMap};
use zeroize::Zeroizing;

/// Calls in work on all workers, at most: strangers must not crowd out those who manage keys.
const IN_WORK: usize = 64;
static PLACES: Semaphore = Semaphore::const_new(IN_WORK);

/// The service.
pub struct OnboardingService<S> {
    app: App<S>,
    runtime: Handle,
    most: Duration,
}

impl<S: Store> OnboardingService<S> {
    /// Works on `runtime`; each call takes `most` at most.
    #[must_use]
    pub fn new(app: App<S>, runtime: Handle, most: Duration) -> Self {
        Self { app, runtime, most }
    }

    async fn call<M, R, F>(
        &self,
        name: &'static str,
        request: Request<M>,
        realm: impl FnOnce(&M) -> String,
        work: impl FnOnce(App<S>, M) -> F + Send + 'static,
    ) -> Result<Response<R>, Status>
    where
        M: Send + 'static,
        R: Send + 'static,
        F: Future<Output = Result<R, AppError>> + Send,
    {
        let place = PLACES.try_acquire();
        let place = place.map_err(|_| {
            let house = &self.app.house;
            turnstile::refused(Kind::Act, IN_WORK, &*house.clock, &house.meter)
        })?;
        let (metadata, _, message) = request.into_parts();
        let (app, most, realm) = (self.app.clone(), self.most, realm(&message));
        let done = self.runtime.spawn(async move {
            let _place = place;
            let done = tokio::time::timeout(most, work(app.clone(), message)).await;
            told(&app, name, &metadata, &realm, done.unwrap_or(Err(AppError::Contended)))
        });
        done.await.map_err(|_| Status::unavailable("keygate is shutting down"))?
    }
}

fn told<S: Store, R>(
    app: &App<S>,
    name: &'static str,
    metadata: &MetadataMap,
    realm: &str,
    done: Result<R, AppError>,
) -> Result<Response<R>, Status> {
    let call = Call { house: &app.house, name, id: IdIn::Metadata(metadata), span: None };
    let request_id = call.request_id();
    failure::echoed(&request_id, done.map_err(|error| call.failed(realm, &error)))
}

#[tonic::async_trait]
impl<S: Store> Onboarding for OnboardingService<S> {
    async fn signup(&self, request: Request<v1::SignupRequest>) -> Result<Response<SignupResponse>, Status> {
        self.call("Signup", request, |message| message.realm.clone(), signup).await
    }

    async fn verify(&self, request: Request<v1::VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        self.call("Verify", request, |message| message.realm.clone(), verify).await
    }
}

async fn signup<S: Store>(app: App<S>, message: v1::SignupRequest) -> Result<SignupResponse, AppError> {
    let guard = app.house.realm(&message.realm)?;
    let mut fields = Fields::default();
    let address = fields.required("address", &message.address, Address::new);
    let name = fields.name("name", &message.name);
    let source = source(&mut fields, &message.source_address);
    let request = address.zip(name).zip(source);
    let request = request.map(|((address, name), source)| SignupRequest { address, name, source });
    let outcome = match app.signup(guard, &fields.finish(request)?).await? {
        Outcome::Done(started) => signup_response::Outcome::Started(SignupStarted {
            signup_id: started.id.to_string(),
            expires_at: Some(render::instant(started.expires_at)),
        }),
        Outcome::Denied(denial, limits, now) => {
            signup_response::Outcome::Denied(render::denied(&guard.realm, &denial, &limits, now))
        }
    };
    Ok(SignupResponse { outcome: Some(outcome) })
}

async fn verify<S: Store>(app: App<S>, message: v1::VerifyRequest) -> Result<VerifyResponse, AppError> {
    let guard = app.house.realm(&message.realm)?;
    let code = Zeroizing::new(message.code);
    let mut fields = Fields::default();
    let id = fields.required("signup_id", &message.signup_id, SignupId::parse);
    let text = code.trim_matches(|blank: char| blank.is_ascii_whitespace());
    let legal = (1..=CodeFormat::MAX_LENGTH).contains(&text.len());
    let text = fields.check("code", legal.then_some(text).ok_or("must be the code as it was delivered, 1 to 64 bytes"));
    let source = source(&mut fields, &message.source_address);
    let request = id.zip(text).zip(source);
    let request = request.map(|((id, code), source)| VerifyRequest { id, code: SecretRef::new(code), source });
    let outcome = match app.verify(guard, &fields.finish(request)?).await? {
        Outcome::Done(created) => {
            let writer = KeyWriter { realm: &guard.realm, now: app.house.clock.now() };
            verify_response::Outcome::Created(writer.created(created))
        }
        Outcome::Denied(denial, limits, now) => {
            verify_response::Outcome::Denied(render::denied(&guard.realm, &denial, &limits, now))
        }
    };
    Ok(VerifyResponse { outcome: Some(outcome) })
}

/// Whose call it is. Without it nobody could bound what comes from one place.
fn source(fields: &mut Fields, text: &str) -> Option<IpAddr> {
    fields.required("source_address", text, |text| {
        text.parse::<IpAddr>().map_err(|_| "the client's IPv4 or IPv6 address without a port")
    })
}
