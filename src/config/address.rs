//! Addresses of services that secrets are told to, or believed of.

use super::{caps, reader::Value};
use http::Uri;
use std::net::IpAddr;

/// Reads an address that is reached by TLS, or that does not leave this machine. It may hold a password where there must be none,
/// so no message repeats it.
pub(super) fn service(value: &Value<'_>) -> Option<Uri> {
    let found = trusted(value.text()?);
    if found.is_none() {
        value.wrong(
            "is not the address of a service that can be trusted",
            "must be `https://…`, or `http://…` of this machine (`localhost`, 127.0.0.1, [::1]), without user and fragment",
        );
    }
    found
}

/// An address that anybody may hear what is told to, by TLS or not.
pub(super) fn anywhere(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let named = uri.host().is_some_and(|host| !host.is_empty());
    (known && named && is_plain(text)).then_some(uri)
}

/// Whether what is told to that address is kept from others: by TLS, or because it does not leave this machine.
pub(super) fn is_guarded(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && local)
}

fn is_plain(text: &str) -> bool {
    !text.contains(['@', '#']) && text.len() <= caps::URL_BYTES
}

fn trusted(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let named = !uri.host()?.trim_matches(['[', ']']).is_empty();
    (named && is_guarded(&uri) && is_plain(text)).then_some(uri)
}
