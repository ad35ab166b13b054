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
