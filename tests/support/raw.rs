//! Calls whose message is whatever bytes the test gives.

use super::keygate::Keygate;
use bytes::{Buf, BufMut, Bytes};
use std::time::Duration;
use tonic::{
    Code, Request, Response, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

/// Sends `message` as it is, and gives the bytes of the answer or the error's code. Fails when no answer comes.
pub async fn raw_call(keygate: &Keygate, path: &'static str, message: Vec<u8>) -> Result<Bytes, Code> {
    let answer = raw_on(keygate.channel(), path, Request::new(message)).await;
    answer.map(tonic::Response::into_inner).map_err(|status| keygate.checked(status).code())
}

/// The same to any server, with whatever metadata the request has.
pub async fn raw_on(
    channel: Channel,
    path: &'static str,
    request: Request<Vec<u8>>,
) -> Result<Response<Bytes>, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.expect("the server is there");
    let call = client.unary(request, path.parse().expect("a path"), RawCodec);
    tokio::time::timeout(Duration::from_secs(10), call).await.expect("every message is answered")
}

#[derive(Clone, Copy)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// A call whose request never ends.
pub struct HalfCall {
    response: h2::client::ResponseFuture,
    /// Dropped, it would end the request.
    _body: h2::SendStream<Bytes>,
}

/// A call of which only the head was sent, on a connection of its own.
async fn begun(
    keygate: &Keygate,
    path: &str,
    headers: &[(&str, &str)],
) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
    let stream = tokio::net::TcpStream::connect(keygate.address()).await.expect("the server listens");
    let (client, connection) = h2::client::handshake(stream).await.expect("the server speaks HTTP/2");
    tokio::spawn(connection);
    let mut client = client.ready().await.expect("a stream is free");
    let mut request = http::Request::post(format!("{}{path}", keygate.endpoint()))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).expect("the request is one");
    client.send_request(request, false).expect("a request can be sent")
}

/// Sends a request's body in just these DATA frames, the last of which ends it, and gives the code and the answer's bytes.
pub async fn call_in_frames(
    keygate: &Keygate,
    path: &str,
    headers: &[(&str, &str)],
    frames: &[&[u8]],
) -> (Code, Vec<u8>) {
    let (response, mut body) = begun(keygate, path, headers).await;
    for (at, frame) in frames.iter().enumerate() {
        // Frames that are sent at once may be read as one.
        tokio::time::sleep(Duration::from_millis(5)).await;
        if body.send_data(Bytes::copy_from_slice(frame), at + 1 == frames.len()).is_err() {
            // The server has seen enough, and its answer says why.
            break;
        }
    }
    let answered = async {
        let (head, mut body) = response.await.expect("every call is answered").into_parts();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            bytes.extend_from_slice(&data.expect("an answer arrives whole"));
        }
        let trailers = body.trailers().await.expect("an answer arrives whole").unwrap_or(head.headers);
        let code = trailers.get("grpc-status").and_then(|code| code.to_str().ok()).and_then(|code| code.parse().ok());
        (Code::from_i32(code.expect("an answer has a code")), bytes)
    };
    tokio::time::timeout(Duration::from_secs(10), answered).await.expect("every call is answered")
}

/// Begins a call on a connection of its own, and sends a part of its message.
pub async fn half_a_call(keygate: &Keygate, path: &str) -> HalfCall {
    let (response, mut body) = begun(keygate, path, &[]).await;
    // Not compressed, 100 bytes long; and the first three of them.
    let part = [0, 0, 0, 0, 100, 0x0a, 6, b'r'];
    body.send_data(Bytes::copy_from_slice(&part), false).expect("a part of it can be sent");
    HalfCall { response, _body: body }
}

impl HalfCall {
    /// Waits until the server ends it, and gives the code.
    pub async fn ended(self) -> Code {
        let answer = tokio::time::timeout(Duration::from_secs(10), self.response).await;
        let answer = answer.expect("the server ends it").expect("the server says why");
        let code = answer.headers().get("grpc-status").expect("an error has no message before it");
        code.to_str().ok().and_then(|code| code.parse::<i32>().ok()).map(Code::from).expect("a code is a number")
    }
}
