//! `keygate.v1.Realms`: errors in a realm's own words, for the API behind keygate.

use super::{
    failure::{Call, IdIn},
    fields::Fields,
    fields::one_of,
    render,
};
use crate::{
    app::{error::AppError, house::App, ports::Store},
    domain::envelope::RenderedError,
    proto::v1::{RenderErrorRequest, RenderErrorResponse, realms_server::Realms},
};
use tonic::{Request, Response, Status};

/// The longest message that may replace a table's own, in bytes.
const MESSAGE_BYTES: usize = 1_024;

/// The service.
pub struct RealmsService<S> {
    app: App<S>,
}

impl<S: Store> RealmsService<S> {
    /// The service over the use cases.
    #[must_use]
    pub fn new(app: App<S>) -> Self {
        Self { app }
    }

    fn render(&self, request: &RenderErrorRequest) -> Result<RenderedError, AppError> {
        let envelope = &self.app.house.realm(&request.realm)?.realm.envelope;
        let mut fields = Fields::default();
        fields.text("message", &request.message, MESSAGE_BYTES);
        let rendered = envelope.render(&request.code, &request.message);
        let rendered = fields.check("code", rendered.ok_or_else(|| one_of("a code of the realm", envelope.codes())));
        fields.finish(rendered)
    }
}

#[tonic::async_trait]
impl<S: Store> Realms for RealmsService<S> {
    async fn render_error(
        &self,
        request: Request<RenderErrorRequest>,
    ) -> Result<Response<RenderErrorResponse>, Status> {
        let call =
            Call { house: &self.app.house, name: "RenderError", id: IdIn::Metadata(request.metadata()), span: None };
        let message = request.get_ref();
        let rendered = self.render(message).map_err(|error| call.failed(&message.realm, &error))?;
        Ok(Response::new(RenderErrorResponse {
            http_status: u32::from(rendered.status),
            headers: rendered.headers.iter().map(|(name, value)| render::header(name, value)).collect(),
            body: rendered.body,
        }))
    }
}
