//! The messages that Envoy sends, and what it reads of the answers.

use envoy_types::pb::{
    envoy::{
        config::core::v3::{
            Address, HeaderMap, HeaderValue, HeaderValueOption, SocketAddress, address::Address as AnyAddress,
            header_value_option::HeaderAppendAction,
        },
        extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::Entry},
        service::{
            auth::v3::{
                AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
                attribute_context::{HttpRequest, Peer, Request},
                check_response::HttpResponse,
            },
            ratelimit::v3::RateLimitRequest,
        },
    },
    google::protobuf::value::Kind,
};
use std::collections::HashMap;

/// Every header that tells the service who is calling, where a realm says nothing of its own.
pub const IDENTITY: [&str; 6] = [
    "x-auth-account",
    "x-auth-target-account",
    "x-auth-key-id",
    "x-auth-environment",
    "x-auth-scopes",
    "x-auth-operation",
];

/// What Envoy sends of a request whose route names that realm.
pub fn check(realm: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> CheckRequest {
    let raw = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..HeaderValue::default()
    };
    let pseudo = [(":authority", "api.example.com"), (":method", method), (":path", path), (":scheme", "http")];
    let header_map = HeaderMap { headers: pseudo.iter().chain(headers).map(raw).collect() };
    let http = HttpRequest {
        id: "1".to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        host: "api.example.com".to_owned(),
        scheme: "http".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        header_map: Some(header_map),
        ..HttpRequest::default()
    };
    let socket = SocketAddress { address: "192.0.2.7".to_owned(), ..SocketAddress::default() };
    let address = Some(Address { address: Some(AnyAddress::SocketAddress(socket)) });
    let attributes = AttributeContext {
        source: Some(Peer { address, ..Peer::default() }),
        request: Some(Request { http: Some(http), ..Request::default() }),
        ..AttributeContext::default()
    };
    let mut request = CheckRequest { attributes: Some(attributes) };
    if !realm.is_empty() {
        extensions(&mut request).insert("realm".to_owned(), realm.to_owned());
    }
    request
}

pub fn extensions(request: &mut CheckRequest) -> &mut HashMap<String, String> {
    &mut request.attributes.as_mut().expect("it has attributes").context_extensions
}

pub fn http(request: &mut CheckRequest) -> &mut HttpRequest {
    let attributes = request.attributes.as_mut().expect("it has attributes");
    attributes.request.as_mut().and_then(|request| request.http.as_mut()).expect("it is an HTTP request")
}

/// What Envoy does with an answer.
pub trait Answer {
    #[track_caller]
    fn passed(&self) -> &OkHttpResponse;
    #[track_caller]
    fn refused(&self) -> (i32, &DeniedHttpResponse);
    /// A text of the dynamic metadata; a list is joined by blanks.
    fn told(&self, name: &str) -> Option<String>;
}

impl Answer for CheckResponse {
    fn passed(&self) -> &OkHttpResponse {
        match &self.http_response {
            Some(HttpResponse::OkResponse(ok)) if self.status.as_ref().is_some_and(|status| status.code == 0) => ok,
            _ => panic!("not let through: {self:?}"),
        }
    }

    fn refused(&self) -> (i32, &DeniedHttpResponse) {
        match &self.http_response {
            Some(HttpResponse::DeniedResponse(no)) if self.status.as_ref().is_some_and(|status| status.code != 0) => {
                (no.status.as_ref().expect("a denial has a status").code, no)
            }
            _ => panic!("not refused: {self:?}"),
        }
    }

    fn told(&self, name: &str) -> Option<String> {
        match self.dynamic_metadata.as_ref()?.fields.get(name)?.kind.as_ref()? {
            Kind::StringValue(text) => Some(text.clone()),
            Kind::ListValue(list) => {
                let texts = list.values.iter().map(|value| match &value.kind {
                    Some(Kind::StringValue(text)) => text.as_str(),
                    other => panic!("not a text: {other:?}"),
                });
                Some(texts.collect::<Vec<_>>().join(" "))
            }
            other => panic!("neither a text nor a list: {other:?}"),
        }
    }
}

/// Name and value of each header, which takes the place of what stood there.
#[track_caller]
pub fn set(headers: &[HeaderValueOption]) -> Vec<(&str, &str)> {
    let each = headers.iter().map(|option| {
        assert_eq!(option.append_action, i32::from(HeaderAppendAction::OverwriteIfExistsOrAdd), "{option:?}");
        let header = option.header.as_ref().expect("it holds a header");
        (header.key.as_str(), header.value.as_str())
    });
    each.collect()
}

/// The value of a header that is set, which stands there once at most.
#[track_caller]
pub fn value<'h>(headers: &'h [HeaderValueOption], name: &str) -> Option<&'h str> {
    let mut found = set(headers).into_iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    let value = found.next().map(|(_, value)| value);
    assert!(found.next().is_none(), "`{name}` stands twice in {headers:?}");
    value
}

/// A descriptor with these entries.
pub fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).to_owned(), value: (*value).to_owned() };
    RateLimitDescriptor { entries: entries.iter().map(entry).collect(), ..RateLimitDescriptor::default() }
}

/// What Envoy's rate limit filter sends.
pub fn limit(domain: &str, descriptors: &[RateLimitDescriptor]) -> RateLimitRequest {
    RateLimitRequest { domain: domain.to_owned(), descriptors: descriptors.to_vec(), hits_addend: 0 }
}

/// Lets a request come from that address.
pub fn set_address(request: &mut CheckRequest, address: &str) {
    let source = request.attributes.as_mut().and_then(|attributes| attributes.source.as_mut());
    let socket = SocketAddress { address: address.to_owned(), ..SocketAddress::default() };
    let address = Some(Address { address: Some(AnyAddress::SocketAddress(socket)) });
    source.expect("it comes from somewhere").address = address;
}
