//! `MCP_ECHO_STRICT=true`: what clients get away with elsewhere is refused here, with the rule's name and section.
//!
//! Only what a client MUST do in its revision, and only what the server can tell from its request and its session. Whatever
//! is refused without strict mode too is not repeated here.

use http::HeaderMap;
use serde_json::json;
use uuid::Uuid;

use crate::diagnosis::findings::{Finding, session as rules};
use crate::protocol::{Failure, Id, Refused, Revision, RpcError};
use crate::request::headers;
use crate::session::Session;
use crate::session::history::Kind;

/// What there is to judge.
pub struct Asked<'a> {
    /// What kind of request it is.
    pub kind: Kind,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The session that it entered.
    pub session: Option<&'a Session>,
    /// The revision that it is answered in.
    pub revision: Revision,
    /// What `MCP-Protocol-Version` says.
    pub named: Option<Revision>,
    /// Methods and ids of its JSON-RPC requests.
    pub calls: &'a [(&'a str, &'a Id)],
}

/// A breach.
pub struct Breach {
    /// What it is. Boxed: a breach travels as an `Err`.
    pub finding: Box<Finding>,
    failure: Failure,
    revision: Revision,
    section: &'static str,
}

/// Finds the first breach, in the order in which a client would mend them.
///
/// # Errors
/// It.
pub fn check(asked: &Asked<'_>) -> Result<(), Breach> {
    accept(asked.kind, asked.headers, asked.revision)?;
    if asked.revision.is_stateless() || asked.kind == Kind::Initialize {
        return Ok(());
    }
    let Some(session) = asked.session else { return without_session(asked) };
    let (initialized, ready, began_authorized, negotiated) = session.with_record(|record| {
        (record.initialized, record.client_ready, record.history.began_authorized(), record.protocol_version)
    });
    if !initialized {
        return Ok(()); // Made by a stateless request: it has negotiated nothing.
    }
    match asked.named {
        None if negotiated.requires_version_header() => {
            let summary = "the request has no MCP-Protocol-Version header";
            let finding = Finding::new(&rules::VERSION_HEADER_MISSING, summary, "MCP-Protocol-Version", "absent")
                .with_fix(format!("send MCP-Protocol-Version: {negotiated}"));
            return Err(breach(Failure::Malformed, finding, negotiated, TRANSPORTS_VERSION));
        }
        Some(named) if named != negotiated && negotiated.requires_version_header() => {
            let finding = rules::version_mismatch(named.name(), negotiated.name());
            return Err(breach(Failure::Malformed, finding, negotiated, TRANSPORTS_VERSION));
        }
        _ => {}
    }
    if began_authorized && negotiated.requires_accept() && !asked.headers.contains_key(http::header::AUTHORIZATION) {
        let summary = format!("initialize came with Authorization, and this {} comes without", asked.kind.name());
        let finding = Finding::new(&rules::AUTH_MISSING_ON_SOME, summary, "Authorization", "absent");
        return Err(breach(Failure::Malformed, finding, negotiated, "basic/authorization, Access Token Usage"));
    }
    if let Some((method, _)) = asked.calls.iter().find(|(method, _)| !ready && *method != "ping") {
        let summary = format!("{method} came before notifications/initialized");
        let finding =
            Finding::new(&rules::INITIALIZED_NEVER_SENT, summary, "notifications/initialized", "not received");
        return Err(breach(Failure::Malformed, finding, negotiated, "basic/lifecycle, Initialization"));
    }
    if let Some((_, id)) = asked.calls.iter().find(|(_, id)| session.change(|working| working.is_running(id))) {
        let summary = "the request has the id of another one that is still at work";
        let finding = Finding::new(&rules::ID_REUSED, summary, "id", &id.to_string());
        return Err(breach(Failure::Malformed, finding, negotiated, "basic, Requests"));
    }
    Ok(())
}

const TRANSPORTS_VERSION: &str = "basic/transports, Protocol Version Header";

/// Every `initialize` gives out an id here: a request without one either comes before it or leaves the id out.
fn without_session(asked: &Asked<'_>) -> Result<(), Breach> {
    if asked.calls.iter().all(|(method, _)| *method == "ping") && !asked.calls.is_empty() {
        return Ok(()); // MCP 2024-11-05 and later, basic/lifecycle: pings may come before.
    }
    let finding = rules::session_missing("the request names no session, and only initialize and ping may come without");
    let section = "basic/transports, Session Management, and basic/lifecycle, Initialization";
    Err(breach(Failure::SessionRequired, finding, asked.revision, section))
}

/// Both types on POST, text/event-stream on GET: listed, not covered by a wildcard.
fn accept(kind: Kind, headers: &HeaderMap, revision: Revision) -> Result<(), Breach> {
    if kind == Kind::Delete || !revision.requires_accept() {
        return Ok(());
    }
    let listed = headers::lists(headers);
    let missing = if !listed.json && kind != Kind::Get {
        "application/json"
    } else if !listed.sse {
        "text/event-stream"
    } else {
        return Ok(());
    };
    let section = match (kind, revision.is_stateless()) {
        (_, true) => "basic/transports/streamable-http, Sending Messages to the Server",
        (Kind::Get, false) => "basic/transports, Listening for Messages from the Server",
        (_, false) => "basic/transports, Sending Messages to the Server",
    };
    Err(breach(Failure::NotAcceptable, rules::accept(headers, missing), revision, section))
}

fn breach(failure: Failure, finding: Finding, revision: Revision, section: &'static str) -> Breach {
    Breach { finding: Box::new(finding), failure, revision, section }
}

impl Breach {
    /// The refusal that tells it; `session` is what the message had entered.
    pub fn refused(&self, session: Option<Uuid>) -> Refused {
        let Self { finding, failure, revision, section } = self;
        let (rule, fix) = (finding.rule.id, &finding.fix);
        let word = if *failure == Failure::NotAcceptable { "Not Acceptable" } else { "Invalid Request" };
        let section = format!("MCP {revision} {section}");
        let message = format!("{word}: {}: {fix} (rule {rule}: {section}; MCP_ECHO_STRICT is on)", finding.summary);
        let data = json!({ "rule": rule, "section": section, "findings": [finding.to_json()] });
        let refused = Refused::new(*failure, RpcError::invalid_request(message).with_data(data));
        match session {
            Some(id) => refused.in_session(id),
            None => refused,
        }
    }
}
