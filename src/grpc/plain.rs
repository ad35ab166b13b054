//! The short way of the calls that are made at every request of every guarded product: one message comes in one frame, one
//! goes out as bytes.
//!
//! Whatever comes in another shape (compressed, cut into several frames, more than one message, not to be decoded) is given
//! back as it was, for the router that serves every call: what is an error, and which, is decided there alone.

use bytes::{BufMut, Bytes};
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody, combinators::WithTrailers};
use prost::Message;
use std::{
    convert::Infallible,
    error::Error,
    future::{self, Ready},
};
use tokio_stream::StreamExt;
use tonic::{
    Status,
    body::Body,
    metadata::{GRPC_CONTENT_TYPE, MetadataMap},
};

/// What goes before a message: one byte that tells whether it is compressed, four with its length.
const HEAD_BYTES: usize = 5;

/// The body of an answer in the plain shape.
pub(super) type PlainBody = WithTrailers<Full<Bytes>, Ready<Option<Result<HeaderMap, Infallible>>>>;

/// Takes the message of a call, of `largest` bytes at most.
///
/// # Errors
/// Gives the call back when its message did not come in the plain shape.
pub(super) async fn take<M, B>(request: Request<B>, largest: usize) -> Result<tonic::Request<M>, Request<Body>>
where
    M: Message + Default,
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>> + Send> + Send + Unpin + 'static,
{
    let call = take_frame(request, largest).await?;
    match M::decode(message_of(call.body())) {
        Ok(message) => {
            let (parts, _) = call.into_parts();
            Ok(tonic::Request::from_parts(MetadataMap::from_headers(parts.headers), parts.extensions, message))
        }
        Err(_) => Err(whole(call)),
    }
}

/// Takes the one frame of a call, whose message has `largest` bytes at most.
///
/// # Errors
/// Gives the call back when its message did not come in the plain shape.
pub(super) async fn take_frame<B>(request: Request<B>, largest: usize) -> Result<Request<Bytes>, Request<Body>>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>> + Send> + Send + Unpin + 'static,
{
    if request.headers().get("grpc-encoding").is_some_and(|encoding| encoding != "identity") {
        return Err(request.map(Body::new));
    }
    let (parts, mut body) = request.into_parts();
    let first = body.frame().await;
    let mut second = None;
    if first.is_some() && !body.is_end_stream() {
        // Some clients end their side with a frame that holds nothing.
        second = body.frame().await.filter(|frame| !matches!(frame, Ok(frame) if is_nothing(frame)));
    }
    if second.is_none()
        && body.is_end_stream()
        && let Some(Ok(frame)) = &first
        && let Some(frame) = frame.data_ref()
        && only_message(frame).is_some_and(|message| message.len() <= largest)
    {
        return Ok(Request::from_parts(parts, frame.clone()));
    }
    let seen = tokio_stream::iter(first.into_iter().chain(second));
    Err(Request::from_parts(parts, Body::new(StreamBody::new(seen.chain(BodyStream::new(body))))))
}

/// The message in a frame that was taken.
pub(super) fn message_of(frame: &Bytes) -> &[u8] {
    frame.get(HEAD_BYTES..).unwrap_or_default()
}

/// A call whose frame was taken, as it was.
pub(super) fn whole(call: Request<Bytes>) -> Request<Body> {
    call.map(|frame| Body::new(Full::new(frame)))
}

fn is_nothing(frame: &Frame<Bytes>) -> bool {
    frame.data_ref().is_some_and(Bytes::is_empty)
}

/// The one message that fills a frame.
fn only_message(frame: &Bytes) -> Option<&[u8]> {
    let (head, message) = frame.split_first_chunk::<HEAD_BYTES>()?;
    let [0, length @ ..] = head else { return None };
    (u32::from_be_bytes(*length) as usize == message.len()).then_some(message)
}

/// An answer in the making.
pub(super) struct Answer(Vec<u8>);

impl Answer {
    /// An empty message with room for so many bytes. A longer one makes room for itself.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let mut framed = Vec::with_capacity(bytes.saturating_add(HEAD_BYTES));
        framed.put_bytes(0, HEAD_BYTES);
        Self(framed)
    }

    /// A message that was made in the usual way.
    pub(super) fn of(message: &impl Message) -> Self {
        let mut answer = Self::with_capacity(message.encoded_len());
        message.encode_raw(answer.buffer());
        answer
    }

    /// Where the message is written, behind what is there.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// What was written.
    pub(super) fn message(&self) -> &[u8] {
        self.0.get(HEAD_BYTES..).unwrap_or_default()
    }

    /// The answer as it is sent.
    pub(super) fn into_response(mut self) -> Response<PlainBody> {
        let length = u32::try_from(self.message().len()).unwrap_or(u32::MAX);
        if let Some([0, head @ ..]) = self.0.first_chunk_mut::<HEAD_BYTES>() {
            *head = length.to_be_bytes();
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        let trailers = future::ready(Some(Ok(trailers)));
        let mut response = Response::new(Full::new(Bytes::from(self.0)).with_trailers(trailers));
        response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
        response
    }
}
