//! What an address of Redis says: where it is, who comes, and whether by TLS. The password in it is never shown.

use super::OpenError;
use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use std::{fmt, path::PathBuf};

/// What an address says.
pub(super) struct Target {
    pub(super) place: Place,
    /// User, password and database.
    pub(super) login: RedisConnectionInfo,
    pub(super) tls: bool,
}

/// Where Redis is.
pub(super) enum Place {
    /// There.
    Fixed(Address),
    /// Where these sentinels say that the primary of that name is.
    Sentinels { sentinels: Vec<Address>, primary: String },
}

/// Where somebody listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Host(String, u16),
    Socket(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Target {
    /// Where sentinels listen when nothing else is said.
    const SENTINEL_PORT: u16 = 26_379;

    /// Reads an address.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let (tls, plain) = match url.split_once("://") {
            // Behind `#` the library would take words that turn checks off.
            _ if url.contains('#') => return Err(OpenError::Address),
            Some(("rediss", rest)) => (true, format!("redis://{rest}")),
            Some(("valkeys", rest)) => (true, format!("valkey://{rest}")),
            Some(("redis+sentinel", rest)) => return Self::behind_sentinels(rest, false),
            Some(("rediss+sentinel", rest)) => return Self::behind_sentinels(rest, true),
            _ => (false, url.to_owned()),
        };
        let (address, login) = read(&plain)?;
        if tls && matches!(address, Address::Socket(_)) {
            return Err(OpenError::Address);
        }
        Ok(Self { place: Place::Fixed(address), login, tls })
    }

    fn behind_sentinels(rest: &str, tls: bool) -> Result<Self, OpenError> {
        let (authority, path) = rest.split_once('/').ok_or(OpenError::Address)?;
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let (primary, database) = path.split_once('/').unwrap_or((path, ""));
        if primary.is_empty() || primary.contains('?') {
            return Err(OpenError::Address);
        }
        let user = if user.is_empty() { String::new() } else { format!("{user}@") };
        let (_, login) = read(&format!("redis://{user}localhost/{database}"))?;
        let sentinel = |host: &str| match read(&format!("redis://{host}"))?.0 {
            Address::Host(name, port) => {
                let says =
                    host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok() && !host.ends_with(']'));
                Ok(Address::Host(name, if says { port } else { Self::SENTINEL_PORT }))
            }
            Address::Socket(_) => Err(OpenError::Address),
        };
        let sentinels = hosts.split(',').map(sentinel).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { place: Place::Sentinels { sentinels, primary: primary.to_owned() }, login, tls })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(address) => address.fmt(f),
            Self::Sentinels { sentinels, primary } => {
                let names: Vec<String> = sentinels.iter().map(ToString::to_string).collect();
                write!(f, "{primary} of the sentinels {}", names.join(", "))
            }
        }
    }
}

fn read(url: &str) -> Result<(Address, RedisConnectionInfo), OpenError> {
    let info = url.into_connection_info().map_err(|_| OpenError::Address)?;
    let address = match info.addr() {
        ConnectionAddr::Tcp(host, port) => Address::Host(host.clone(), *port),
        ConnectionAddr::Unix(path) => Address::Socket(path.clone()),
        _ => return Err(OpenError::Address),
    };
    Ok((address, info.redis_settings().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_and_how() {
        for (url, place, user, database, tls) in [
            ("redis://h", "h:6379", None, 0, false),
            ("rediss://u:p@h:1/3", "h:1", Some("u"), 3, true),
            ("valkeys://[::1]:7", "::1:7", None, 0, true),
            ("unix:///run/r.sock", "/run/r.sock", None, 0, false),
            ("redis+sentinel://a/main", "main of the sentinels a:26379", None, 0, false),
            (
                "rediss+sentinel://u@a:1,b,[::1]:5/main/2",
                "main of the sentinels a:1, b:26379, ::1:5",
                Some("u"),
                2,
                true,
            ),
        ] {
            let target = Target::parse(url).unwrap();
            let found = (target.place.to_string(), target.login.username(), target.login.db(), target.tls);
            assert_eq!(found, (place.to_owned(), user, database, tls), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in [
            "",
            "h:1",
            "http://h",
            "redis://",
            "rediss://h#insecure",
            "redis+sentinel://h",
            "redis+sentinel://h/",
            "redis+sentinel://h,/main",
            "redis+sentinel:///main",
            "redis+sentinel://h/main/x",
            "redis+sentinel://h:99999/main",
            "redis+sentinel://h/main?x=1",
        ] {
            assert!(matches!(Target::parse(url), Err(OpenError::Address)), "{url}");
        }
    }
}
