//! A report for scripts, and the schema it satisfies.

use serde_json::{Map, Value, json};

use super::{Document, Format, Kind, Note, Place, Problem, Proof, Report, Spot};
use crate::object::object;
use crate::schema;
use crate::text::rfc3339;

impl Report {
    /// The structured content of the bearerDecode tool, without where the token came from; see [`schema()`].
    #[must_use]
    pub fn to_json(&self, include_raw: bool) -> Value {
        let times = &self.facts.times;
        let members = |document: &Option<Document>| document.as_ref().map(|document| &document.members).cloned();
        let mut json = object! {
            "format": self.facts.format.name(),
            "header": members(&self.facts.header),
            "payload": members(&self.facts.payload),
            "status": self.status().map(super::Status::name),
            "issuedAt": times.issued.at().map(rfc3339),
            "expiresAt": times.expires.at().map(rfc3339),
            "notBefore": times.not_before.at().map(rfc3339),
            "ageSeconds": times.age(),
            "expiresInSeconds": times.expires_in(),
            "lifetimeSeconds": times.lifetime(),
            "kind": self.kind.name(),
            "kindEvidence": self.evidence,
            "audience": self.facts.audience(),
            "scopes": self.facts.scopes(),
            "senderConstrained": self.facts.binding().is_some(),
            "rfc9068": self.profile.as_ref().map(|profile| object! {
                "followed": profile.is_followed(),
                "missing": profile.missing,
                "verdict": profile.verdict(),
            }),
            "dpop": self.proof.as_ref().map(proof),
            "nested": self.nested.as_ref().map(|nested| nested.to_json(false)),
            "problems": self.problems.iter().map(problem).collect::<Vec<_>>(),
            "notes": self.notes.iter().map(note).collect::<Vec<_>>(),
            "length": self.facts.length,
            "signatureBytes": self.facts.signature.and_then(|signature| signature.bytes),
            "sha256Prefix": self.sha256_prefix,
            "verified": false,
        };
        if include_raw && let Some((header, payload)) = &self.raw {
            json["raw"] = object! { "header": header, "payload": payload };
        }
        json
    }
}

fn note(note: &Note) -> Value {
    object! { "level": note.level.name(), "text": note.text }
}

fn problem(problem: &Problem) -> Value {
    let mut json = Map::new();
    json.insert("reason".to_owned(), problem.reason.as_str().into());
    if let Some(Place { segment, part, at }) = problem.place {
        json.insert("segment".to_owned(), segment.into());
        json.insert("part".to_owned(), part.into());
        match at {
            Spot::Whole => {}
            Spot::Character(n) => drop(json.insert("character".to_owned(), n.into())),
            Spot::Byte(n) => drop(json.insert("byte".to_owned(), n.into())),
            Spot::Line(line, column) => {
                json.insert("line".to_owned(), line.into());
                json.insert("column".to_owned(), column.into());
            }
        }
    }
    json.insert("advice".to_owned(), problem.advice.as_str().into());
    Value::Object(json)
}

fn proof(proof: &Proof) -> Value {
    object! {
        "htm": proof.method,
        "htu": proof.url,
        "jti": proof.id,
        "ath": proof.access_token_hash,
        "nonce": proof.nonce,
        "ageSeconds": proof.age,
        "thumbprint": proof.thumbprint,
        "signature": proof.signature.name(),
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
    "status": {"enum": ["EXPIRED", "VALID", "NOT YET VALID", "NO EXPIRY", null]},
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
    "notes": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"level": {"enum": ["info", "warning", "error"]}, "text": {"type": "string"}},
            "required": ["level", "text"],
            "additionalProperties": false
        }
    },
    "length": {"type": "integer", "minimum": 0},
    "signatureBytes": {"type": ["integer", "null"]},
    "sha256Prefix": {"type": ["string", "null"]},
    "verified": {"const": false, "description": "no signature is ever checked against an issuer's key"}
}"#;

fn report_schema() -> Value {
    let names = [("formats", json!(Format::ALL.map(Format::name))), ("kinds", json!(Kind::ALL.map(Kind::name)))];
    let properties = schema::fill(PROPERTIES, &names);
    let required: Vec<String> =
        properties.as_object().map(|properties| properties.keys().cloned().collect()).unwrap_or_default();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}
