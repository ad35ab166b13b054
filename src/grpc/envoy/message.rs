//! Small parts of Envoy's messages.

use envoy_types::pb::{
    envoy::config::core::v3::{
        HeaderValue, HeaderValueOption, address::Address as AnyAddress, header_value_option::HeaderAppendAction,
    },
    envoy::service::auth::v3::attribute_context::Peer,
    google::protobuf::{ListValue, Struct, Value, value::Kind},
};

/// A header that takes the place of whatever stands under its name.
pub(super) fn set(name: impl Into<String>, value: impl Into<String>) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.into(), value: value.into(), ..HeaderValue::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

/// The address of a peer as it is written, if it has one: a Unix socket has none.
pub(super) fn socket_address(peer: Option<&Peer>) -> Option<&str> {
    match peer?.address.as_ref()?.address.as_ref()? {
        AnyAddress::SocketAddress(socket) => Some(&socket.address),
        _ => None,
    }
}

/// What is told beside an answer, for access logs and later filters.
#[derive(Default)]
pub(super) struct Metadata(Struct);

impl Metadata {
    pub(super) fn text(&mut self, name: &str, value: impl Into<String>) {
        let value: String = value.into();
        if !value.is_empty() {
            self.0.fields.insert(name.to_owned(), Value { kind: Some(Kind::StringValue(value)) });
        }
    }

    pub(super) fn list(&mut self, name: &str, values: impl Iterator<Item = String>) {
        let values = values.map(|value| Value { kind: Some(Kind::StringValue(value)) }).collect();
        self.0.fields.insert(name.to_owned(), Value { kind: Some(Kind::ListValue(ListValue { values })) });
    }

    pub(super) fn finish(self) -> Struct {
        self.0
    }
}
