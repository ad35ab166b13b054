//! What keygate reads of a `CheckRequest`: of some forty texts a dozen, borrowed from where they stand.
//!
//! It is read from the message that the generated service makes, or straight from the bytes. The bytes are read only where they
//! can mean one thing: whatever is there twice or looks odd is left to the generated service, which knows all of protobuf.
//! What nobody reads here is not judged.

use super::message::socket_address;
use crate::grpc::reader::{Field, FieldReader, Odd};
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, attribute_context};

/// Names of the headers that stand beside the lines, at most: with more, reading them straight would not be worth it.
const NAMED_HEADERS: usize = 128;

/// The question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::grpc) struct Question<'m> {
    /// The address of the peer, if it has one: a Unix socket has none.
    pub(super) peer: Option<&'m str>,
    /// The request; absent: it is not an HTTP request.
    pub(super) http: Option<HttpRequest<'m>>,
    pub(super) route: Route<'m>,
}

/// The request that shall pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::grpc) struct HttpRequest<'m> {
    pub(super) method: &'m str,
    pub(super) host: &'m str,
    /// Path and query, where no line of the headers has them as they arrived.
    path: &'m str,
    /// The headers as they arrived: line by line where Envoy was told to send them so (`encode_raw_headers`), else joined by
    /// name.
    pub(super) headers: Vec<(&'m str, &'m [u8])>,
}

/// What the settings of a route say (`context_extensions`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Route<'m> {
    pub(super) realm: Option<&'m str>,
    pub(super) operation: Option<&'m str>,
    pub(super) environment: Option<&'m str>,
    pub(super) cost: Option<&'m str>,
}

impl<'m> HttpRequest<'m> {
    /// The first line of that header.
    pub(in crate::grpc) fn header(&self, name: &str) -> Option<&'m [u8]> {
        self.headers_named(name).next()
    }

    /// Every line of that header.
    pub(in crate::grpc) fn headers_named(&self, wanted: &str) -> impl Iterator<Item = &'m [u8]> {
        self.headers.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
    }

    /// Path and query as they arrived: in its own field for them, Envoy writes `!` for what is not UTF-8.
    pub(super) fn target(&self) -> &[u8] {
        let raw = self.headers.iter().find(|(name, _)| *name == ":path").map(|(_, value)| *value);
        raw.filter(|raw| !raw.is_empty()).unwrap_or(self.path.as_bytes())
    }
}

impl<'m> Question<'m> {
    /// The question in a message.
    pub(super) fn of(message: &'m CheckRequest) -> Self {
        let Some(attributes) = &message.attributes else { return Self::default() };
        let extension = |name| attributes.context_extensions.get(name).map(String::as_str);
        let http = attributes.request.as_ref().and_then(|request| request.http.as_ref());
        Self {
            peer: socket_address(attributes.source.as_ref()),
            http: http.map(HttpRequest::of),
            route: Route {
                realm: extension("realm"),
                operation: extension("operation"),
                environment: extension("environment"),
                cost: extension("cost"),
            },
        }
    }

    /// The question in the bytes of a message, if it can be read straight.
    pub(in crate::grpc) fn read(message: &'m [u8]) -> Option<Self> {
        let mut question = Self::default();
        let attributes = once(message, 1).ok()?;
        read_attributes(&mut question, attributes.unwrap_or_default()).ok()?;
        Some(question)
    }
}

impl<'m> HttpRequest<'m> {
    fn of(http: &'m attribute_context::HttpRequest) -> Self {
        let lines = http.header_map.iter().flat_map(|map| &map.headers).map(|header| {
            let value = if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
            (header.key.as_str(), value)
        });
        let named = http.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        Self { method: &http.method, host: &http.host, path: &http.path, headers: lines.chain(named).collect() }
    }
}

fn read_attributes<'m>(question: &mut Question<'m>, attributes: &'m [u8]) -> Result<(), Odd> {
    let (mut source, mut request) = (Slot::default(), Slot::default());
    for field in FieldReader::new(attributes) {
        let field = field?;
        match field.tag {
            1 => source.put(field)?,
            4 => request.put(field)?,
            10 => read_extension(&mut question.route, field.bytes()?)?,
            _ => {}
        }
    }
    if let Some(peer) = source.0
        && let Some(address) = once(peer, 1)?
    {
        question.peer = read_address(address)?;
    }
    if let Some(request) = request.0
        && let Some(http) = once(request, 2)?
    {
        question.http = Some(read_http(http)?);
    }
    Ok(())
}

/// An `Address`, which is one of several kinds.
fn read_address(address: &[u8]) -> Result<Option<&str>, Odd> {
    let mut kinds = FieldReader::new(address);
    let kind = kinds.next().transpose()?;
    if kinds.next().is_some() {
        return Err(Odd);
    }
    let Some(socket) = kind.filter(|kind| kind.tag == 1) else { return Ok(None) };
    let text = once(socket.bytes()?, 2)?.unwrap_or_default();
    Ok(Some(text_of(text)?))
}

fn read_extension<'m>(route: &mut Route<'m>, entry: &'m [u8]) -> Result<(), Odd> {
    let (name, value) = read_pair(entry)?;
    let known = match name {
        "realm" => &mut route.realm,
        "operation" => &mut route.operation,
        "environment" => &mut route.environment,
        "cost" => &mut route.cost,
        _ => return Ok(()),
    };
    if known.replace(text_of(value)?).is_some() { Err(Odd) } else { Ok(()) }
}

fn read_http(http: &[u8]) -> Result<HttpRequest<'_>, Odd> {
    let (mut method, mut path, mut host, mut lines) =
        (Slot::default(), Slot::default(), Slot::default(), Slot::default());
    let mut named = Vec::new();
    for field in FieldReader::new(http) {
        let field = field?;
        match field.tag {
            2 => method.put(field)?,
            3 => named.push(field.bytes()?),
            4 => path.put(field)?,
            5 => host.put(field)?,
            13 => lines.put(field)?,
            _ => {}
        }
    }
    let mut headers = Vec::with_capacity(32);
    for line in FieldReader::new(lines.0.unwrap_or_default()) {
        let line = line?;
        if line.tag == 1 {
            headers.push(read_line(line.bytes()?)?);
        }
    }
    if named.len() > NAMED_HEADERS {
        return Err(Odd);
    }
    let before = headers.len();
    for entry in named {
        let (name, value) = read_pair(entry)?;
        // In a map the last of two would count.
        if headers.iter().skip(before).any(|(other, _)| *other == name) {
            return Err(Odd);
        }
        headers.push((name, text_of(value)?.as_bytes()));
    }
    Ok(HttpRequest { method: method.text()?, path: path.text()?, host: host.text()?, headers })
}

/// Name and value of a `HeaderValue`.
fn read_line(line: &[u8]) -> Result<(&str, &[u8]), Odd> {
    let (mut name, mut value, mut raw) = (Slot::default(), Slot::default(), Slot::default());
    for field in FieldReader::new(line) {
        let field = field?;
        match field.tag {
            1 => name.put(field)?,
            2 => value.put(field)?,
            3 => raw.put(field)?,
            _ => {}
        }
    }
    let value = match raw.0.filter(|raw| !raw.is_empty()) {
        Some(raw) => raw,
        None => value.text()?.as_bytes(),
    };
    Ok((name.text()?, value))
}

/// An entry of a map from text to text.
fn read_pair(entry: &[u8]) -> Result<(&str, &[u8]), Odd> {
    let (mut name, mut value) = (Slot::default(), Slot::default());
    for field in FieldReader::new(entry) {
        let field = field?;
        match field.tag {
            1 => name.put(field)?,
            2 => value.put(field)?,
            _ => return Err(Odd),
        }
    }
    Ok((name.text()?, value.0.unwrap_or_default()))
}

/// A field that may stand there once.
#[derive(Default)]
struct Slot<'m>(Option<&'m [u8]>);

impl<'m> Slot<'m> {
    fn put(&mut self, field: Field<'m>) -> Result<(), Odd> {
        if self.0.replace(field.bytes()?).is_some() { Err(Odd) } else { Ok(()) }
    }

    fn text(&self) -> Result<&'m str, Odd> {
        text_of(self.0.unwrap_or_default())
    }
}

/// The one field of a message that anybody reads.
fn once(message: &[u8], tag: u32) -> Result<Option<&[u8]>, Odd> {
    let mut found = Slot::default();
    for field in FieldReader::new(message) {
        let field = field?;
        if field.tag == tag {
            found.put(field)?;
        }
    }
    Ok(found.0)
}

fn text_of(bytes: &[u8]) -> Result<&str, Odd> {
    std::str::from_utf8(bytes).map_err(|_| Odd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::envoy::{
        config::core::v3::{Address, HeaderMap, HeaderValue, Pipe, SocketAddress, address::Address as AnyAddress},
        service::auth::v3::{
            AttributeContext,
            attribute_context::{HttpRequest, Peer, Request},
        },
    };
    use proptest::{
        collection::{hash_map, vec},
        option,
        prelude::*,
        sample::{Index, select},
    };
    use prost::Message;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z:/é-]{0,6}", "[a-z]{120,140}"]
    }

    fn peer() -> impl Strategy<Value = Peer> {
        let socket = text().prop_map(|address| {
            AnyAddress::SocketAddress(SocketAddress { address, protocol: 1, ..SocketAddress::default() })
        });
        let pipe = text().prop_map(|path| AnyAddress::Pipe(Pipe { path, mode: 7 }));
        let address = option::of(option::of(prop_oneof![socket, pipe]).prop_map(|address| Address { address }));
        (address, text()).prop_map(|(address, service)| Peer { address, service, ..Peer::default() })
    }

    fn http() -> impl Strategy<Value = HttpRequest> {
        let name = || select(vec![":path", "authorization", "cookie", ""]);
        let line = (name(), text(), vec(any::<u8>(), 0..5)).prop_map(|(key, value, raw_value)| HeaderValue {
            key: key.to_owned(),
            value,
            raw_value,
        });
        let lines = option::of(vec(line, 0..4).prop_map(|headers| HeaderMap { headers }));
        let named = hash_map(name().prop_map(str::to_owned), text(), 0..3);
        ((text(), text(), text(), text()), lines, named, any::<i64>(), vec(any::<u8>(), 0..5)).prop_map(
            |((id, method, path, host), header_map, headers, size, raw_body)| HttpRequest {
                id,
                method,
                path,
                host,
                header_map,
                headers,
                size,
                raw_body,
                ..HttpRequest::default()
            },
        )
    }

    fn message() -> impl Strategy<Value = CheckRequest> {
        let name = select(vec!["realm", "operation", "cost", "tenant"]).prop_map(str::to_owned);
        let request = option::of(http()).prop_map(|http| Request { http, ..Request::default() });
        let attributes = (option::of(peer()), option::of(request), hash_map(name, text(), 0..4)).prop_map(
            |(source, request, context_extensions)| AttributeContext {
                destination: source.clone(),
                source,
                request,
                context_extensions,
                ..AttributeContext::default()
            },
        );
        option::of(attributes).prop_map(|attributes| CheckRequest { attributes })
    }

    /// Without the order of headers: in the map none is told.
    fn sorted(mut question: Question<'_>) -> Question<'_> {
        if let Some(http) = &mut question.http {
            http.headers.sort_unstable();
        }
        question
    }

    proptest! {
        #[test]
        fn the_bytes_of_a_message_are_read_like_the_message(message in message()) {
            let bytes = message.encode_to_vec();
            prop_assert_eq!(Question::read(&bytes), Some(Question::of(&message)));
        }

        #[test]
        fn bytes_that_are_read_straight_mean_what_they_mean_to_the_generated_service(
            messages in (message(), message()),
            changes in vec((any::<Index>(), any::<u8>()), 0..3),
        ) {
            // Two messages one after the other are one in which fields stand twice.
            let mut bytes = [messages.0.encode_to_vec(), messages.1.encode_to_vec()].concat();
            for (at, byte) in changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            if let (Some(read), Ok(message)) = (Question::read(&bytes), CheckRequest::decode(&bytes[..])) {
                prop_assert_eq!(sorted(read), sorted(Question::of(&message)));
            }
        }
    }
}
