//! `keygate.v1.Webhooks`: dead letters as messages, and the use cases between them.

use super::{
    acts::Desk,
    fields::{Fields, LARGEST_PAGE, one_of},
    render,
};
use crate::{
    app::{
        hooks::DeadLetter,
        house::Guarded,
        manager::{KeyManager, Reader},
        ports::Store,
    },
    domain::webhook::Webhook,
    proto::v1::{self, webhooks_server::Webhooks},
};
use data_encoding::BASE64URL_NOPAD;
use tonic::{Request, Response, Status};

/// The service.
pub struct WebhooksService<S> {
    desk: Desk<S>,
}

impl<S: Store> WebhooksService<S> {
    /// The service over the use cases.
    #[must_use]
    pub fn new(desk: Desk<S>) -> Self {
        Self { desk }
    }
}

/// A subscriber of the realm by its name.
fn subscriber(fields: &mut Fields, guard: &Guarded, name: &str) -> Option<String> {
    let hooks = || guard.realm.webhooks.iter().map(|hook: &Webhook| hook.name.as_str());
    let found = hooks().any(|known| known == name).then(|| name.to_owned());
    fields.check("webhook", found.ok_or_else(|| one_of("a webhook of the realm", hooks())))
}

#[tonic::async_trait]
impl<S: Store> Webhooks for WebhooksService<S> {
    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        self.desk
            .act(("ListDeadLetters", "list_dead_letters"), request, |app, manager, message| async move {
                let guard = app.house.realm_to_manage(&message.realm, &manager)?;
                let permit = manager.permit::<Reader>(guard)?;
                let mut fields = Fields::default();
                let hook = match message.webhook.as_str() {
                    "" => None,
                    name => subscriber(&mut fields, guard, name),
                };
                let size = fields.page_size(message.page_size, LARGEST_PAGE);
                let from = BASE64URL_NOPAD.decode(message.page_token.as_bytes());
                let allowed = "must be `next_page_token` of the page before, unchanged";
                let from = fields.check("page_token", from.map_err(|_| allowed));
                let from = fields.finish(from)?;
                let page = app.list_dead_letters(&permit, hook.as_deref(), &from, size).await?;
                Ok(v1::ListDeadLettersResponse {
                    letters: page.letters.into_iter().map(letter).collect(),
                    next_page_token: page.next.map(|name| BASE64URL_NOPAD.encode(&name)).unwrap_or_default(),
                })
            })
            .await
    }

    async fn redeliver(
        &self,
        request: Request<v1::RedeliverRequest>,
    ) -> Result<Response<v1::RedeliverResponse>, Status> {
        self.desk
            .act(("Redeliver", "redeliver"), request, |app, manager, message| async move {
                let guard = app.house.realm_to_manage(&message.realm, &manager)?;
                let permit = manager.permit::<KeyManager>(guard)?;
                let mut fields = Fields::default();
                let hook = subscriber(&mut fields, guard, &message.webhook);
                let hook = fields.finish(hook)?;
                let id = Some(message.id.as_str()).filter(|id| !id.is_empty());
                let done = app.redeliver(&permit, &hook, id).await?;
                Ok(v1::RedeliverResponse { delivered: done.delivered, failed: done.failed, problem: done.problem })
            })
            .await
    }

    async fn test(
        &self,
        request: Request<v1::TestWebhookRequest>,
    ) -> Result<Response<v1::TestWebhookResponse>, Status> {
        self.desk
            .act(("Test", "test_webhook"), request, |app, manager, message| async move {
                let guard = app.house.realm_to_manage(&message.realm, &manager)?;
                let permit = manager.permit::<KeyManager>(guard)?;
                let mut fields = Fields::default();
                let hook = subscriber(&mut fields, guard, &message.webhook);
                let (id, problem) = app.test_webhook(&permit, &fields.finish(hook)?).await?;
                Ok(v1::TestWebhookResponse { id, delivered: problem.is_none(), problem: problem.unwrap_or_default() })
            })
            .await
    }
}

fn letter(dead: DeadLetter) -> v1::DeadLetter {
    let at = dead.at;
    let letter = dead.letter;
    v1::DeadLetter {
        id: letter.id,
        webhook: letter.hook,
        event: letter.event,
        account_id: letter.account,
        given_up_at: Some(render::instant(at)),
        problem: dead.problem,
        attempts: dead.attempts,
        body: letter.body,
    }
}
