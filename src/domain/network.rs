//! Networks of client addresses, as a key's allow-list names them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A network: an address and how many of its first bits count. An IPv4 address that is written as IPv6
/// (`::ffff:192.0.2.1`) is that IPv4 address, in a network and in a client's address alike; so a network of IPv6 addresses
/// holds no IPv4 address, not even `::/0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// A text is no network: says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not an address with a number of bits.
    #[error("an IPv4 or IPv6 network such as `192.0.2.0/24` or `2001:db8::/32`, or one address")]
    Form,
    /// An address within a network stands where the network's own should.
    #[error("the network's first address, here `{0}`")]
    NotFirst(Network),
}

/// Bits that an IPv4 address has in front of it when it is written as IPv6.
const MAPPED_BITS: u8 = 96;

impl Network {
    /// The network of these first bits.
    #[must_use]
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let network = match (address.to_canonical(), address) {
            (IpAddr::V4(v4), IpAddr::V6(_)) => Self { first: v4.into(), bits: bits.checked_sub(MAPPED_BITS)? },
            (first, _) => Self { first, bits },
        };
        let first = match network.first {
            IpAddr::V4(v4) => {
                let leading = u32::try_from(leading(network.bits, 32)?.checked_shr(96)?).ok()?;
                IpAddr::from(Ipv4Addr::from_bits(v4.to_bits() & leading))
            }
            IpAddr::V6(v6) => IpAddr::from(Ipv6Addr::from_bits(v6.to_bits() & leading(network.bits, 128)?)),
        };
        Some(Self { first, ..network })
    }

    /// Whether the address lies in it.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && Self::new(address, self.bits) == Some(*self)
    }

    /// The network's first address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// How many of its first bits count.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }
}

/// The first `bits` of 128 set; of an address of `most` bits there are no more.
fn leading(bits: u8, most: u8) -> Option<u128> {
    match bits {
        0 => Some(0),
        bits if bits <= most => u128::MAX.checked_shl(128_u32.checked_sub(u32::from(bits))?),
        _ => None,
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Form)?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let digits = |bits: &str| bits.bytes().all(|b| b.is_ascii_digit()).then(|| bits.parse().ok()).flatten();
        let bits = bits.map_or(Some(all), digits).ok_or(NetworkError::Form)?;
        let network = Self::new(address, bits).ok_or(NetworkError::Form)?;
        if network.first == address.to_canonical() { Ok(network) } else { Err(NetworkError::NotFirst(network)) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().holds(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_its_own_addresses_and_no_other() {
        for (network, within, outside) in [
            ("192.0.2.0/24", vec!["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.9"], vec!["192.0.3.0", "::192.0.2.1"]),
            ("192.0.2.7", vec!["192.0.2.7"], vec!["192.0.2.6", "192.0.2.8"]),
            ("0.0.0.0/0", vec!["1.2.3.4", "::ffff:1.2.3.4"], vec!["::", "::1"]),
            ("::/0", vec!["::", "2001:db8::1"], vec!["1.2.3.4", "::ffff:1.2.3.4"]),
            ("2001:db8::/33", vec!["2001:db8:7fff::1"], vec!["2001:db8:8000::", "2001:db7::"]),
            ("2001:db8::1", vec!["2001:db8::1"], vec!["2001:db8::2"]),
            ("::ffff:192.0.2.0/120", vec!["192.0.2.44"], vec!["192.0.3.44"]),
            ("::ffff:0.0.0.0/96", vec!["9.9.9.9"], vec!["::1"]),
        ] {
            within.iter().for_each(|address| assert!(holds(network, address), "{network} {address}"));
            outside.iter().for_each(|address| assert!(!holds(network, address), "{network} {address}"));
        }
    }

    #[test]
    fn a_network_has_one_form() {
        for (text, form) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("2001:DB8:0::/32", "2001:db8::/32"),
            ("2001:db8::1", "2001:db8::1/128"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), form);
            assert_eq!(form.parse::<Network>(), text.parse::<Network>());
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let odd = [
            "",
            "acme",
            "192.0.2.0/33",
            "192.0.2.0/-1",
            "192.0.2.0/+8",
            "192.0.2.0/",
            "192.0.2/24",
            "::/129",
            "::ffff:1.2.3.0/95",
            "1.2.3.4/24/8",
            " ::1",
        ];
        for text in odd {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Form), "{text}");
        }
        let problem = "192.0.2.7/24".parse::<Network>().unwrap_err();
        assert_eq!(problem.to_string(), "the network's first address, here `192.0.2.0/24`");
    }
}
