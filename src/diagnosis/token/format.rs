//! The forms a token comes in.

/// The form of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JWS compact serialization, three segments (RFC 7515 section 7.1).
    Jws,
    /// JWE compact serialization, five segments (RFC 7516 section 7.1).
    Jwe,
    /// SD-JWT: a JWS with `~` disclosures (RFC 9901).
    SdJwt,
    /// JWS JSON serialization (RFC 7515 section 7.2).
    JwsJson,
    /// JWE JSON serialization (RFC 7516 section 7.2).
    JweJson,
    /// PASETO.
    Paseto,
    /// Only the header of a JWS or JWE.
    HeaderOnly,
    /// Only the payload of a JWS, as base64url or plain JSON.
    PayloadOnly,
    /// A key: a JWK or PEM, not a token.
    Key,
    /// Basic credentials (RFC 7617).
    Basic,
    /// Says nothing itself.
    Opaque,
    /// Looks like a JWT, but has the wrong number of segments or one that cannot be read.
    Malformed,
    /// Stands for a token: `undefined`, `${TOKEN}`.
    Placeholder,
    /// Larger than the bound; not looked at.
    TooLarge,
    /// Nothing.
    Empty,
}

impl Format {
    /// Every format, for schemas.
    pub const ALL: [Self; 15] = [
        Self::Jws,
        Self::Jwe,
        Self::SdJwt,
        Self::JwsJson,
        Self::JweJson,
        Self::Paseto,
        Self::HeaderOnly,
        Self::PayloadOnly,
        Self::Key,
        Self::Basic,
        Self::Opaque,
        Self::Malformed,
        Self::Placeholder,
        Self::TooLarge,
        Self::Empty,
    ];

    /// Its name in structured form.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jws => "jws",
            Self::Jwe => "jwe",
            Self::SdJwt => "sd-jwt",
            Self::JwsJson => "jws-json",
            Self::JweJson => "jwe-json",
            Self::Paseto => "paseto",
            Self::HeaderOnly => "header-only",
            Self::PayloadOnly => "payload-only",
            Self::Key => "key",
            Self::Basic => "basic",
            Self::Opaque => "opaque",
            Self::Malformed => "malformed",
            Self::Placeholder => "placeholder",
            Self::TooLarge => "too-large",
            Self::Empty => "empty",
        }
    }

    /// Its name for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Jws => "JWS, compact (RFC 7515)",
            Self::Jwe => "JWE, compact, encrypted (RFC 7516)",
            Self::SdJwt => "SD-JWT with selective disclosure",
            Self::JwsJson => "JWS in JSON form (RFC 7515 section 7.2)",
            Self::JweJson => "JWE in JSON form, encrypted (RFC 7516 section 7.2)",
            Self::Paseto => "PASETO, not a JWT",
            Self::HeaderOnly => "only the header of a token",
            Self::PayloadOnly => "only the payload of a token",
            Self::Key => "a key, not a token",
            Self::Basic => "Basic credentials (RFC 7617), not a token",
            Self::Opaque => "opaque, not a JWT",
            Self::Malformed => "malformed",
            Self::Placeholder => "a placeholder, not a token",
            Self::TooLarge => "too large to look at",
            Self::Empty => "empty",
        }
    }

    /// Whether its claims are signed and in the open.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::Jws | Self::SdJwt | Self::JwsJson)
    }
}
