//! The stateless era (MCP 2026-07-28): every request says in `_meta` what it is, and its headers repeat it.

use std::sync::Arc;

use serde_json::Value;

use super::job::Job;
use super::running::{Calls, Disconnect};
use super::strict::Asked;
use super::{Caller, Engine, mirror, subscriptions, unknown_method};
use crate::diagnosis::findings;
use crate::protocol::meta::named_version;
use crate::protocol::{Call, Content, Failure, Meta, Notification, Refused, Reply, Revision, RpcError};
use crate::session::history::Kind;

/// Answers a request of the stateless era.
#[inline(never)]
pub fn answer(engine: &Arc<Engine>, caller: &Caller<'_>, call: Call) -> Reply {
    let id = call.id.clone();
    let meta = match check(engine, caller, &call) {
        Ok(meta) => meta,
        Err(error) => return Refused::new(failure(&error), error).to(&id).into(),
    };
    let revision = engine.server.config.protocol.get(&meta.version).unwrap_or(Revision::NEWEST);
    if engine.server.config.strict {
        let (kind, headers) = (Kind::Post, &caller.request.headers);
        let asked = Asked { kind, headers, session: None, revision, named: Some(revision), calls: &[] };
        if let Err(refused) = engine.hold(&asked) {
            return refused.to(&id).into();
        }
    }
    if call.method == "subscriptions/listen" {
        return subscriptions::answer(engine, caller, &call);
    }
    let job = Job {
        id: call.id,
        method: call.method,
        params: call.params,
        revision,
        session: None,
        request: Arc::clone(caller.request),
        client: Some(Box::new(meta)),
        outbox: None,
    };
    engine.run(caller, Calls::One(job), None, Disconnect::Cancels)
}

/// Takes a notification. There is nothing to do: this era defines none that a client sends over HTTP, since closing a
/// request's stream is what cancels it. One in a version that is not served cannot be accepted all the same.
pub fn notify(engine: &Engine, caller: &Caller<'_>, notification: &Notification) -> Reply {
    let served = &engine.server.config.protocol;
    let named = caller.version().map(str::to_owned).or_else(|| named_version(&notification.params));
    match named.filter(|version| served.get(version).is_none()) {
        Some(version) => Refused::new(Failure::Malformed, RpcError::unsupported_version(&version, served)).into(),
        None => Content::Accepted.into(),
    }
}

/// What a request is that is refused before it is looked into.
fn failure(error: &RpcError) -> Failure {
    if error.code == RpcError::METHOD_NOT_FOUND { Failure::UnknownMethod } else { Failure::Malformed }
}

/// The rules that hold for every request, in the order in which a client would mend them: `_meta`, version, method, name,
/// mirrored arguments.
fn check(engine: &Engine, caller: &Caller<'_>, call: &Call) -> Result<Meta, RpcError> {
    let served = &engine.server.config.protocol;
    let meta = match Meta::read(&call.params) {
        Ok(meta) => meta,
        // The only sign that an older client gets (MCP 2026-07-28 basic/versioning, Backward Compatibility).
        Err(_) if call.method == "initialize" && served.preferred().is_none() => {
            let asked = call.params.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
            return Err(RpcError::unsupported_version(asked, served));
        }
        Err(problems) => {
            // A version that is not served has other rules for `_meta`, or none: the version is what to mend first.
            let unserved = caller.version().filter(|version| served.get(version).is_none());
            if let (Some(version), None) = (unserved, named_version(&call.params)) {
                return Err(RpcError::unsupported_version(version, served));
            }
            let data = serde_json::json!({ "problems": problems });
            return Err(RpcError::invalid_params(format!("Invalid params: {}", problems.join("; "))).with_data(data));
        }
    };
    let headers = caller.mirrors.then_some(&caller.request.headers);
    if let Some(headers) = headers {
        mirror::check_version(headers, &meta.version)?;
    }
    if served.get(&meta.version).is_none_or(|revision| !revision.is_stateless()) {
        return Err(RpcError::unsupported_version(&meta.version, served));
    }
    if let Some(headers) = headers {
        mirror::check_method(headers, &call.method)?;
    }
    match call.method.as_str() {
        "tools/call" => {
            if let Some(headers) = headers {
                mirror::check_tool_call(&engine.tools, headers, &call.params).map_err(|error| {
                    if !mirror::lacks_handle(&engine.tools, headers, &call.params) {
                        return error;
                    }
                    let finding = findings::session::handle_header_missing();
                    let findings = serde_json::json!({ "findings": [finding.to_json()] });
                    engine.tell_of_refusal(finding);
                    error.with_data(findings)
                })?;
            }
        }
        "server/discover" | "tools/list" | "subscriptions/listen" => {}
        method => return Err(unknown_method(method, true)),
    }
    Ok(meta)
}
