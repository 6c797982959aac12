//! `MCP_ADMIN_ADDR`: where the admin listener is.

use std::net::SocketAddr;

/// Where the admin listener is, with the page, the reports and the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminAt {
    /// Its address.
    pub address: SocketAddr,
    /// Whether somebody asked for it: then it is a mistake where the address is taken.
    pub asked: bool,
}

impl AdminAt {
    /// Where it is unless somebody says otherwise and the server is bound to loopback.
    pub const DEFAULT: Self =
        Self { address: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 3001), asked: false };

    /// Reads the variable; `None` for `off`.
    ///
    /// # Errors
    /// What is wrong with it, and what it may be.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(None);
        }
        let address =
            text.parse().map_err(|_| "must be an address with a port, as in 127.0.0.1:3001, or off".to_owned())?;
        Ok(Some(Self { address, asked: true }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port() {
        assert_eq!(AdminAt::parse("OFF"), Ok(None));
        let asked = |address: &str| Some(AdminAt { address: address.parse().unwrap(), asked: true });
        for good in ["127.0.0.1:0", "0.0.0.0:9000", "[::1]:3001"] {
            assert_eq!(AdminAt::parse(good), Ok(asked(good)));
        }
        for bad in ["", "3001", ":3001", "localhost:3001", "127.0.0.1"] {
            assert!(AdminAt::parse(bad).is_err(), "{bad}");
        }
    }
}
