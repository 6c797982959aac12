//! The engine with the tools that the official conformance suite looks for: it judges what the eleven tools never do
//! (images, audio, a missing capability, letting go of a connection). Never part of the product.
//!
//! Takes the product's flags and variables. Names and texts of the tools are the suite's.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{env, io};

use futures_util::future::BoxFuture;
use mcp_echo_stateful::app::App;
use mcp_echo_stateful::clock::Clock;
use mcp_echo_stateful::config::{Command, Config, endpoint_url};
use mcp_echo_stateful::protocol::LogLevel;
use mcp_echo_stateful::tools::{Annotations, Call, Handle, Ongoing, Outcome, RawArguments, Tool, ToolError};
use mcp_echo_stateful::{listen, logging};
use serde_json::{Value, json};

/// One red pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";

/// Half a millisecond of silence: 8 bit, 8 kHz, mono.
const WAV: &str = "UklGRigAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQQAAACAgICA";

/// Between two notifications: long enough that they arrive one by one.
const PAUSE: Duration = Duration::from_millis(50);

/// A tool that takes nothing, answers at once and promises no structured content: what most of them are.
const PLAIN: Tool = Tool {
    name: "",
    title: "",
    description: "",
    input_schema: || json!({ "type": "object", "properties": {}, "additionalProperties": false }),
    output_schema: || Value::Null,
    annotations: Annotations::READ_ONLY,
    handle: Handle::None,
    findings: &[],
    call: |raw| answers(raw, Outcome::default),
};

const TOOLS: &[Tool] = &[
    Tool {
        name: "test_simple_text",
        title: "Text",
        description: "Returns text",
        call: |raw| answers(raw, || text("This is a simple text response for testing.")),
        ..PLAIN
    },
    Tool {
        name: "test_image_content",
        title: "Image",
        description: "Returns an image",
        call: |raw| answers(raw, || content(vec![image()])),
        ..PLAIN
    },
    Tool {
        name: "test_audio_content",
        title: "Audio",
        description: "Returns audio",
        call: |raw| answers(raw, || content(vec![json!({ "type": "audio", "data": WAV, "mimeType": "audio/wav" })])),
        ..PLAIN
    },
    Tool {
        name: "test_embedded_resource",
        title: "Embedded resource",
        description: "Returns a resource",
        call: |raw| {
            answers(raw, || {
                content(vec![resource(
                    "test://embedded-resource",
                    "text/plain",
                    "This is an embedded resource content.",
                )])
            })
        },
        ..PLAIN
    },
    Tool {
        name: "test_multiple_content_types",
        title: "Mixed content",
        description: "Returns text, an image and a resource",
        call: |raw| {
            answers(raw, || {
                let data = json!({ "test": "data", "value": 123 }).to_string();
                let mixed = vec![image(), resource("test://mixed-content-resource", "application/json", &data)];
                Outcome { text: "Multiple content types test:".to_owned(), content: mixed, ..Outcome::default() }
            })
        },
        ..PLAIN
    },
    Tool {
        name: "test_error_handling",
        title: "Error",
        description: "Fails at its work",
        call: |raw| {
            answers(raw, || Outcome {
                text: "This tool intentionally returns an error for testing".to_owned(),
                is_error: true,
                ..Outcome::default()
            })
        },
        ..PLAIN
    },
    Tool {
        name: "test_tool_with_logging",
        title: "Log lines over time",
        description: "Writes three log lines while it works",
        call: |raw| Call::streaming(raw, log_over_time),
        ..PLAIN
    },
    Tool {
        name: "test_logging_tool",
        title: "Log line",
        description: "Writes a log line",
        call: |raw| Call::streaming(raw, log_once),
        ..PLAIN
    },
    Tool {
        name: "test_tool_with_progress",
        title: "Progress",
        description: "Tells three times how far it is",
        call: |raw| Call::streaming(raw, progress),
        ..PLAIN
    },
    Tool {
        name: "test_streaming_elicitation",
        title: "Stream",
        description: "Tells how far it is and what it does, and asks the client for nothing",
        call: |raw| Call::streaming(raw, stream),
        ..PLAIN
    },
    Tool {
        name: "test_missing_capability",
        title: "Missing capability",
        description: "Works only for clients that declare sampling",
        call: |raw| {
            Call::of(raw, |context, session, _: &Value| {
                let record = session.map(|session| &*session.record);
                if context.client_capabilities(record).contains_key("sampling") {
                    return Ok(text("The client declares sampling"));
                }
                Err(ToolError::CapabilityRequired(json!({ "sampling": {} })))
            })
        },
        ..PLAIN
    },
    Tool {
        name: "test_custom_headers",
        title: "Custom headers",
        description: "Takes arguments that clients repeat in headers, one of each type that may be",
        input_schema: || {
            json!({
                "type": "object",
                "properties": {
                    "region": { "type": "string", "x-mcp-header": "Region" },
                    "priority": { "type": "integer", "x-mcp-header": "Priority" },
                    "verbose": { "type": "boolean", "x-mcp-header": "Verbose" },
                },
                "required": ["region", "priority", "verbose"],
                "additionalProperties": false,
            })
        },
        call: |raw| Call::of(raw, |_, _, arguments: &CustomHeaders| Ok(text(&arguments.region))),
        ..PLAIN
    },
    Tool {
        name: "json_schema_2020_12_tool",
        title: "JSON Schema 2020-12",
        description: "Has a schema with keywords that are easily lost",
        input_schema: schema_2020_12,
        call: |raw| answers(raw, || text("The schema is the point")),
        ..PLAIN
    },
    Tool {
        name: "test_reconnection",
        title: "Reconnection",
        description: "Lets go of the connection before it answers",
        call: |raw| Call::streaming(raw, reconnection),
        ..PLAIN
    },
];

/// A call that answers the same whatever it is raw.
fn answers(raw: &RawArguments<'_>, outcome: fn() -> Outcome) -> Result<Call, ToolError> {
    let anything: Value = raw.read()?;
    Ok(Call::with((anything, outcome), |_, _, (_, outcome)| Ok(outcome())))
}

/// What `test_custom_headers` takes, of which it shows only the region.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CustomHeaders {
    region: String,
    #[serde(rename = "priority")]
    _priority: i64,
    #[serde(rename = "verbose")]
    _verbose: bool,
}

fn text(text: &str) -> Outcome {
    Outcome { text: text.to_owned(), ..Outcome::default() }
}

fn content(content: Vec<Value>) -> Outcome {
    Outcome { content, ..Outcome::default() }
}

fn image() -> Value {
    json!({ "type": "image", "data": PNG, "mimeType": "image/png" })
}

fn resource(uri: &str, mime_type: &str, text: &str) -> Value {
    json!({ "type": "resource", "resource": { "uri": uri, "mimeType": mime_type, "text": text } })
}

/// Everything that tools/list could lose on its way: a dialect, definitions with an anchor, composition, conditions.
fn schema_2020_12() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            },
        },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}

/// What a tool that takes its time returns.
type Answering<'a> = BoxFuture<'a, Result<Outcome, ToolError>>;

fn log_once<'a>(call: &'a Ongoing<'a>) -> Answering<'a> {
    Box::pin(async move {
        call.log(LogLevel::Info, "test_logging_tool", &"A log line".into());
        Ok(text("Wrote a log line, for those who asked"))
    })
}

fn log_over_time<'a>(call: &'a Ongoing<'a>) -> Answering<'a> {
    Box::pin(async move {
        let log = |line: &str| call.log(LogLevel::Info, "test_tool_with_logging", &line.into());
        log("Tool execution started");
        tokio::time::sleep(PAUSE).await;
        log("Tool processing data");
        tokio::time::sleep(PAUSE).await;
        log("Tool execution completed");
        Ok(text("Wrote three log lines"))
    })
}

fn progress<'a>(call: &'a Ongoing<'a>) -> Answering<'a> {
    Box::pin(async move {
        call.context.progress(0, 100, "begins");
        tokio::time::sleep(PAUSE).await;
        call.context.progress(50, 100, "half done");
        tokio::time::sleep(PAUSE).await;
        call.context.progress(100, 100, "done");
        Ok(text("Told three times how far it was"))
    })
}

fn stream<'a>(call: &'a Ongoing<'a>) -> Answering<'a> {
    Box::pin(async move {
        call.context.progress(1, 2, "half done");
        tokio::time::sleep(PAUSE).await;
        call.log(LogLevel::Info, "test_streaming_elicitation", &"half done".into());
        call.context.progress(2, 2, "done");
        Ok(text("Asked the client for nothing"))
    })
}

fn reconnection<'a>(call: &'a Ongoing<'a>) -> Answering<'a> {
    Box::pin(async move {
        call.suspend();
        tokio::time::sleep(PAUSE).await;
        Ok(text("Answered on another connection, for clients that can come back"))
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let Command::Serve(config) = Config::load(env::args_os(), env::vars_os())? else {
        return Err("the fixture only serves".into());
    };
    let _log = logging::init(&config)?;
    let shutdown = listen::until_signalled(|| ())?;
    let listener = listen::bind(&config.host, config.port).await?;
    let address = listener.local_addr()?;
    writeln!(io::stdout(), "{}", endpoint_url(&address.ip().to_string(), address.port()))?;
    App::with(*config, Arc::new(Clock::new()), TOOLS).serve(listener, shutdown).await?;
    Ok(())
}
