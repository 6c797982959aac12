//! What the tools' tests are made from: a request, a record, a call, and the promises that every tool keeps.

use std::sync::{Arc, RwLock};
use std::time::Instant;

use http::{Method, Uri, Version};
use serde_json::Value;

use super::arguments::Rules;
use super::registry::output_schema;
use super::{Context, Outcome, RawArguments, Run, Server, Tool, ToolError};
use crate::clock::{Clock, Moment};
use crate::config::Config;
use crate::diagnosis::findings;
use crate::diagnosis::testing::headers;
use crate::protocol::{Capabilities, Params, Revision};
use crate::request::{ProxyProof, Request, RequestId};
use crate::session::{Client, ClientInfo, Identity, Limits, NewSession, Record, SessionManager, Unbound};
use crate::system::System;

/// The session id of the samples.
pub(crate) const SESSION: &str = "550e8400-e29b-41d4-a716-446655440000";

/// A POST to /mcp with these headers and the request id of the samples.
pub(crate) fn request(given: &[(&str, &str)]) -> Request {
    Request {
        id: RequestId::accept("req_abc123").unwrap(),
        method: Method::POST,
        uri: Uri::from_static("/mcp"),
        version: Version::HTTP_11,
        headers: headers(given),
        proxy: ProxyProof::NotAsked,
        peer: None,
        local: None,
        received: Instant::now(),
        body_bytes: 0,
        share: None,
    }
}

/// A session of the samples' client, owned by `owner`.
pub(crate) fn record(owner: Option<Identity>) -> Record {
    let new = NewSession {
        protocol_version: Revision::V2025_06_18,
        client_info: ClientInfo { name: "test-client".into(), version: "1.0".into(), title: None },
        client_capabilities: Capabilities::default(),
        owner: owner.ok_or(Unbound::NoIdentity),
        address: None,
        client: Client::default(),
    };
    Record {
        client_ready: true,
        request_count: 1,
        tool_calls: 1,
        ..Record::new(SESSION.parse().unwrap(), Moment(1_704_110_400_000), new)
    }
}

/// Calls `tool` without a session, as the server does, and checks its answer against its output schema.
pub(crate) fn call(tool: &Tool, request: &Request, config: &Config, arguments: &Value) -> Result<Outcome, ToolError> {
    let clock = Arc::new(Clock::new());
    let sessions = Arc::new(RwLock::new(SessionManager::new(Limits::from(config), Arc::clone(&clock))));
    let server = Server::new(Arc::new(config.clone()), clock, sessions, Arc::new(System::unsampled()));
    let context = Context {
        request,
        message: &Params::default(),
        revision: Revision::V2025_11_25,
        client: None,
        outbox: None,
        keys: server.keys.current(server.clock.wall_now()),
        server: &server,
        stats: &server.stats(),
    };
    let rules = Rules::of(&(tool.input_schema)());
    let call = (tool.call)(&RawArguments::new(arguments.as_object().unwrap(), &rules))?;
    let Run::Function(run) = call.run else { panic!("{} is no function", tool.name) };
    let mut outcome = run(&context, None)?;
    let found = outcome.findings.take().unwrap_or_else(|| findings::find(&context.facts(None), tool.findings));
    let outcome = outcome.concluded((!tool.findings.is_empty()).then_some(&*found));
    satisfies(tool, &outcome);
    Ok(outcome)
}

/// Checks that both schemas are JSON Schema 2020-12 and that `outcome` satisfies the tool's own.
pub(crate) fn satisfies(tool: &Tool, outcome: &Outcome) {
    let (input, output) = ((tool.input_schema)(), output_schema(tool));
    for schema in [&input, &output] {
        assert!(jsonschema::draft202012::meta::is_valid(schema), "{}: {schema}", tool.name);
        assert_eq!(schema["type"], "object");
    }
    assert_eq!(input["additionalProperties"], false);
    let facts = outcome.facts();
    let validator = jsonschema::draft202012::new(&output).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&facts).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}: {errors:?}\n{}", tool.name, facts);
}
