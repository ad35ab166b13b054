//! The host of a request, for finding its realm.

use std::{borrow::Cow, net::Ipv6Addr};

/// A host name or address in lower case, without a port and without the dot at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host<'r>(Cow<'r, str>);

/// Why a host is refused: says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a name or an address of at most 255 bytes, with or without a port")]
pub struct HostError;

impl<'r> Host<'r> {
    const MAX_BYTES: usize = 255;

    /// Reads an authority.
    ///
    /// # Errors
    /// When it is not a host with or without a port.
    pub fn new(authority: &'r str) -> Result<Self, HostError> {
        if let Some((address, rest)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let address: Ipv6Addr = address.parse().map_err(|_| HostError)?;
            let port = rest.strip_prefix(':').or(Some(rest).filter(|rest| rest.is_empty()));
            return port.filter(|port| is_port(port)).map(|_| Self(Cow::Owned(address.to_string()))).ok_or(HostError);
        }
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        let host = host.strip_suffix('.').unwrap_or(host);
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let whole = (1..=Self::MAX_BYTES).contains(&host.len()) && host.bytes().all(legal);
        if !whole || !is_port(port) {
            return Err(HostError);
        }
        let lower = host.bytes().all(|b| !b.is_ascii_uppercase());
        Ok(Self(if lower { Cow::Borrowed(host) } else { Cow::Owned(host.to_ascii_lowercase()) }))
    }

    /// The host.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_case_and_the_last_dot_do_not_matter() {
        for (authority, host) in [
            ("api.example.com", "api.example.com"),
            ("API.Example.com:8443", "api.example.com"),
            ("api.example.com.:80", "api.example.com"),
            ("[::1]:80", "::1"),
            ("[2001:DB8:0::1]", "2001:db8::1"),
            ("10.0.0.1:1", "10.0.0.1"),
        ] {
            assert_eq!(Host::new(authority).unwrap().as_str(), host);
        }
        for authority in [
            "", ".", ":80", "a b", "a/b", "a@b", "a,b", "a:b", "a:1:2", "[::1", "[::1]x", "[]", "[a.b]", "[::1]:x",
            "ä", "::1",
        ] {
            assert!(Host::new(authority).is_err(), "{authority}");
        }
        assert!(Host::new(&"a".repeat(256)).is_err());
    }
}
