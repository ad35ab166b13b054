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

fn trusted(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let reached = uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && local);
    let plain = !text.contains(['@', '#']) && !host.is_empty() && text.len() <= caps::URL_BYTES;
    (reached && plain).then_some(uri)
}
