//! `MCP_ADMIN_ADDR`: where the admin listener is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where the admin listener is, with the page, the reports and the figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AdminAt {
    /// Nobody said: at [`AdminAt::USUAL`] where the server is bound to loopback, else nowhere.
    #[default]
    Unset,
    /// Nowhere.
    Off,
    /// There.
    Address(SocketAddr),
}

impl AdminAt {
    /// Where it is unless somebody says otherwise.
    pub const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3001);

    /// Reads the variable.
    ///
    /// # Errors
    /// What is wrong with it, and what it may be.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self::Off);
        }
        let address = text.parse();
        address
            .map(Self::Address)
            .map_err(|_| "must be an address with a port, as in 127.0.0.1:3001, or off".to_owned())
    }

    /// Its address, if there is one, and whether somebody asked for it: then it is a mistake where that is taken.
    #[must_use]
    pub fn address(self, bound_to_loopback: bool) -> Option<(SocketAddr, bool)> {
        match self {
            Self::Unset => bound_to_loopback.then_some((Self::USUAL, false)),
            Self::Off => None,
            Self::Address(address) => Some((address, true)),
        }
    }
}

impl fmt::Display for AdminAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => Ok(()),
            Self::Off => f.write_str("off"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port() {
        assert_eq!(AdminAt::parse("OFF"), Ok(AdminAt::Off));
        for good in ["127.0.0.1:0", "0.0.0.0:9000", "[::1]:3001"] {
            assert_eq!(AdminAt::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "3001", ":3001", "localhost:3001", "127.0.0.1"] {
            assert!(AdminAt::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unset_it_is_on_this_machine_alone() {
        assert_eq!(AdminAt::Unset.address(true), Some((AdminAt::USUAL, false)));
        assert_eq!(AdminAt::Unset.address(false), None);
        assert_eq!(AdminAt::Off.address(true), None);
    }
}
