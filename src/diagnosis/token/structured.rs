//! A report for scripts, and the schema it satisfies.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Document, Format, Problem, Profile, Proof, Report, Status, TimeClaim, TokenKind};
use crate::diagnosis::{issuer, redact};
use crate::schema;
use crate::text::rfc3339;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportJson<'a> {
    format: &'static str,
    header: Option<&'a Map<String, Value>>,
    payload: Option<&'a Map<String, Value>>,
    status: Option<&'static str>,
    issued_at: Option<String>,
    expires_at: Option<String>,
    not_before: Option<String>,
    age_seconds: Option<i64>,
    expires_in_seconds: Option<i64>,
    lifetime_seconds: Option<i64>,
    kind: &'static str,
    kind_evidence: &'a str,
    audience: Vec<&'a str>,
    scopes: Option<Vec<&'a str>>,
    sender_constrained: bool,
    rfc9068: Option<ProfileJson<'a>>,
    dpop: Option<&'a Proof>,
    nested: Option<Value>,
    problems: &'a [Problem],
    removed: Vec<String>,
    remarks: &'a [String],
    length: usize,
    signature_bytes: Option<usize>,
    sha256_prefix: Option<&'a str>,
    issuer: Option<IssuerJson>,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<RawJson<'a>>,
}

/// `iss`, and where its metadata is.
#[derive(Serialize)]
struct IssuerJson {
    value: String,
    metadata: Vec<String>,
}

#[derive(Serialize)]
struct ProfileJson<'a> {
    followed: bool,
    missing: &'a [&'static str],
    verdict: String,
}

#[derive(Serialize)]
struct RawJson<'a> {
    header: &'a str,
    payload: &'a str,
}

impl Report {
    /// The structured content of the bearerDecode tool, without where the token came from; see [`schema()`]. `sent` is the
    /// DPoP proof that came with it.
    #[must_use]
    pub fn to_json(&self, include_raw: bool, sent: Option<&Proof>) -> Value {
        let times = &self.token.times;
        let members = |document| Option::<&Document>::map(document, |document| &document.members);
        let at = |claim: &TimeClaim| claim.at().map(rfc3339);
        let json = ReportJson {
            format: self.token.format.name(),
            header: members(self.token.header.as_ref()),
            payload: members(self.token.payload.as_ref()),
            status: self.status().map(Status::name),
            issued_at: at(&times.issued),
            expires_at: at(&times.expires),
            not_before: at(&times.not_before),
            age_seconds: times.age(),
            expires_in_seconds: times.expires_in(),
            lifetime_seconds: times.lifetime(),
            kind: self.kind.name(),
            kind_evidence: &self.kind_evidence,
            audience: self.token.audience(),
            scopes: self.token.scopes(),
            sender_constrained: self.token.binding().is_some(),
            rfc9068: self.profile.as_ref().map(ProfileJson::from),
            dpop: self.proof.as_ref().or(sent),
            nested: self.nested.as_ref().map(|nested| nested.to_json(false, None)),
            problems: &self.problems,
            removed: self.removed.iter().map(ToString::to_string).collect(),
            remarks: &self.remarks,
            length: self.token.length,
            signature_bytes: self.token.signature.and_then(|signature| signature.bytes),
            sha256_prefix: self.sha256_prefix.as_deref(),
            issuer: self.token.claim_str("iss").map(|issuer| IssuerJson {
                value: shown(issuer),
                metadata: issuer::metadata(issuer).iter().map(|url| shown(url)).collect(),
            }),
            verified: false,
            raw: self.raw.as_ref().filter(|_| include_raw).map(|(header, payload)| RawJson { header, payload }),
        };
        json!(json)
    }
}

/// A value of the token by itself: secrets hidden, what a terminal would act on escaped.
fn shown(value: &str) -> String {
    redact::escape(&redact::value(value)).into_owned()
}

impl<'a> From<&'a Profile> for ProfileJson<'a> {
    fn from(profile: &'a Profile) -> Self {
        Self { followed: profile.is_followed(), missing: &profile.missing, verdict: profile.verdict() }
    }
}

/// JSON Schema 2020-12 of [`Report::to_json`]: an object schema, to which a tool adds properties of its own.
#[must_use]
pub fn schema() -> Value {
    let mut report = report_schema();
    report["properties"]["nested"] = json!({
        "description": "the token that is the payload of this one",
        "anyOf": [{"type": "null"}, report_schema()],
    });
    report
}

/// The properties of [`Report::to_json`], all of them required.
const PROPERTIES: &str = r#"{
    "format": {"enum": "$formats"},
    "header": {"type": ["object", "null"], "description": "decoded header"},
    "payload": {"type": ["object", "null"], "description": "decoded claims"},
    "status": {"enum": ["EXPIRED", "VALID", "NOT YET VALID", "NO EXPIRY", "UNKNOWN", "INVALID", null]},
    "issuedAt": {"type": ["string", "null"], "format": "date-time", "description": "iat"},
    "expiresAt": {"type": ["string", "null"], "format": "date-time", "description": "exp"},
    "notBefore": {"type": ["string", "null"], "format": "date-time", "description": "nbf"},
    "ageSeconds": {"type": ["integer", "null"]},
    "expiresInSeconds": {"type": ["integer", "null"], "description": "negative once expired"},
    "lifetimeSeconds": {"type": ["integer", "null"]},
    "kind": {"enum": "$kinds"},
    "kindEvidence": {"type": "string"},
    "audience": {"type": "array", "items": {"type": "string"}},
    "scopes": {"type": ["array", "null"], "items": {"type": "string"}},
    "senderConstrained": {"type": "boolean"},
    "rfc9068": {
        "type": ["object", "null"],
        "description": "verdict on the JWT profile for access tokens",
        "properties": {
            "followed": {"type": "boolean"},
            "missing": {"type": "array", "items": {"type": "string"}},
            "verdict": {"type": "string"}
        },
        "required": ["followed", "missing", "verdict"]
    },
    "dpop": {
        "type": ["object", "null"],
        "properties": {
            "htm": {"type": ["string", "null"]},
            "htu": {"type": ["string", "null"]},
            "jti": {"type": ["string", "null"]},
            "ath": {"type": ["string", "null"]},
            "nonce": {"type": ["string", "null"]},
            "ageSeconds": {"type": ["integer", "null"]},
            "thumbprint": {"type": ["string", "null"]},
            "signature": {"enum": ["valid", "invalid", "not-checked"]}
        },
        "required": ["htm", "htu", "jti", "ath", "nonce", "ageSeconds", "thumbprint", "signature"]
    },
    "nested": {"type": ["object", "null"]},
    "problems": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "reason": {"type": "string"},
                "segment": {"type": "integer", "minimum": 1},
                "part": {"type": "string"},
                "character": {"type": "integer", "minimum": 1},
                "byte": {"type": "integer", "minimum": 0},
                "line": {"type": "integer"},
                "column": {"type": "integer"},
                "advice": {"type": "string"}
            },
            "required": ["reason", "advice"],
            "additionalProperties": false
        }
    },
    "removed": {"type": "array", "items": {"type": "string"}, "description": "what stood around the token"},
    "remarks": {"type": "array", "items": {"type": "string"}, "description": "what is worth knowing of its form"},
    "length": {"type": "integer", "minimum": 0},
    "signatureBytes": {"type": ["integer", "null"]},
    "sha256Prefix": {"type": ["string", "null"]},
    "issuer": {
        "type": ["object", "null"],
        "description": "iss, which verifiers compare exactly, and where its metadata is (RFC 8414, OpenID Connect Discovery)",
        "properties": {"value": {"type": "string"}, "metadata": {"type": "array", "items": {"type": "string"}}},
        "required": ["value", "metadata"],
        "additionalProperties": false
    },
    "verified": {"type": "boolean", "description": "whether the signature is by one of the keys that were given"}
}"#;

fn report_schema() -> Value {
    let names =
        [("formats", json!(Format::ALL.map(Format::name))), ("kinds", json!(TokenKind::ALL.map(TokenKind::name)))];
    let properties = schema::fill(PROPERTIES, &names);
    let required: Vec<String> =
        properties.as_object().map(|properties| properties.keys().cloned().collect()).unwrap_or_default();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}
