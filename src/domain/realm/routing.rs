//! What the settings say of proxies: which realm one means that names none, by the host of a request or by the domain of a
//! rate limit, and where it tells the client's address.

use crate::domain::{id::RealmName, request::Host};
use std::{collections::HashMap, net::Ipv6Addr};

/// What a server's settings say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    hosts: HashMap<String, RealmName>,
    /// What comes after the `*` of a pattern, the longest first.
    suffixes: Vec<(String, RealmName)>,
    domains: HashMap<String, RealmName>,
    client_address_header: Option<String>,
}

impl Routing {
    /// What a host's pattern may look like, in words.
    pub const HOST_ALLOWED: &'static str = "a host without a port, or `*.` and a host for every name below it";

    /// Adds a host, or `*.` and a host for every name below it. Gives nothing when it is neither.
    pub fn host(&mut self, pattern: &str, realm: RealmName) -> Option<()> {
        let (host, below) = pattern.strip_prefix("*.").map_or((pattern, false), |host| (host, true));
        let address = host.parse::<Ipv6Addr>().is_ok().then(|| format!("[{host}]"));
        // A port would be lost silently.
        if address.is_none() && host.contains([':', '[']) {
            return None;
        }
        let found = Host::new(address.as_deref().unwrap_or(host)).ok()?.as_str().to_owned();
        if below {
            self.suffixes.push((format!(".{found}"), realm));
            self.suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        } else {
            self.hosts.insert(found, realm);
        }
        Some(())
    }

    /// Adds another name for a realm's domain.
    pub fn domain(&mut self, domain: &str, realm: RealmName) {
        self.domains.insert(domain.to_owned(), realm);
    }

    /// Takes the client's address from that header, in place of the peer's.
    pub fn trust_client_address(&mut self, header: &str) {
        self.client_address_header = Some(header.to_ascii_lowercase());
    }

    /// The header that tells the client's address, if one is trusted.
    #[must_use]
    pub fn client_address_header(&self) -> Option<&str> {
        self.client_address_header.as_deref()
    }

    /// The realm of a host: its own entry, else that of the longest pattern.
    #[must_use]
    pub fn by_host(&self, host: &Host<'_>) -> Option<&RealmName> {
        let host = host.as_str();
        self.hosts.get(host).or_else(|| {
            let mut below = self.suffixes.iter();
            below.find(|(suffix, _)| host.len() > suffix.len() && host.ends_with(suffix)).map(|(_, realm)| realm)
        })
    }

    /// The realm that a domain is another name of.
    #[must_use]
    pub fn by_domain(&self, domain: &str) -> Option<&RealmName> {
        self.domains.get(domain)
    }

    /// Every realm that is named, with what names it.
    pub fn realms(&self) -> impl Iterator<Item = (String, &RealmName)> {
        let hosts = self.hosts.iter().map(|(host, realm)| (format!("envoy.hosts.\"{host}\""), realm));
        let below = self.suffixes.iter().map(|(suffix, realm)| (format!("envoy.hosts.\"*{suffix}\""), realm));
        let domains = self.domains.iter().map(|(domain, realm)| (format!("envoy.domains.\"{domain}\""), realm));
        hosts.chain(below).chain(domains)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_very_host_goes_before_patterns_and_the_longest_pattern_before_others() {
        let mut routing = Routing::default();
        for (pattern, realm) in
            [("api.example.com", "a"), ("*.example.com", "b"), ("*.EU.example.com", "c"), ("::1", "d")]
        {
            routing.host(pattern, RealmName::new(realm).unwrap()).unwrap();
        }
        let realm = |host: &str| routing.by_host(&Host::new(host).unwrap()).map(|realm| realm.as_str().to_owned());
        for (host, expected) in [
            ("API.example.com:443", Some("a")),
            ("x.api.example.com", Some("b")),
            ("x.eu.example.com.", Some("c")),
            ("eu.example.com", Some("b")),
            ("example.com", None),
            ("badexample.com", None),
            ("[::1]:80", Some("d")),
        ] {
            assert_eq!(realm(host).as_deref(), expected, "{host}");
        }
        for pattern in ["", "*", "*.", "api.example.com:443", "*x.example.com", "a b", "a.*.b", "[::1]"] {
            assert!(routing.host(pattern, RealmName::new("a").unwrap()).is_none(), "{pattern}");
        }
    }
}
