//! The tools as they are served: schemas built once, `tools/list` rendered once for each revision.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::arguments::Rules;
use super::{Call, Handle, RawArguments, Tool, ToolError};
use crate::diagnosis::findings;
use crate::protocol::{Revision, server_meta};
use crate::schema;

/// How long a client may keep `tools/list` and `server/discover` of the stateless era, in milliseconds: neither changes
/// while the server runs, and an hour after an update nobody should work with the old ones (MCP 2026-07-28
/// server/utilities/caching).
pub const TTL_MS: u64 = 3_600_000;

/// The name that a handle has among the arguments.
pub const HANDLE: &str = "sessionId";

/// How a client of the stateless era comes by a session.
pub const HOW_TO_GET_A_HANDLE: &str =
    "call echo without sessionId: it makes a session and returns its handle; pass that as sessionId";

/// What `x-mcp-header` makes of the handle: `Mcp-Param-Session`.
pub const HANDLE_HEADER: &str = "Session";

/// A table of tools, ready to serve.
pub struct Registry {
    entries: Vec<Entry>,
    tools: &'static [Tool],
    /// Whether clients are asked to repeat a handle in a header.
    mirrors_handle: bool,
    /// The result of `tools/list`, by revision: rendered when it is asked for first, so that the start does not wait for
    /// revisions that nobody speaks.
    lists: [OnceLock<Bytes>; Revision::ALL.len()],
}

/// A tool, ready to run.
pub struct Entry {
    tool: &'static Tool,
    /// By era: handshake, stateless.
    input_schemas: [Rules; 2],
    mirrored: Vec<Mirrored>,
}

/// An argument that clients of the stateless era mirror into a header (`x-mcp-header`, MCP 2026-07-28 streamable-http,
/// Custom Headers from Tool Parameters).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    /// `Mcp-Param-NAME`.
    pub header: String,
    /// The way to the argument through `properties`.
    pub path: Vec<String>,
}

impl Mirrored {
    /// Whether it is a session's handle.
    #[must_use]
    pub fn is_handle(&self) -> bool {
        self.path == [HANDLE]
    }

    /// The argument's value, if it is there and not `null`.
    #[must_use]
    pub fn value<'a>(&self, arguments: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.path.split_first()?;
        let value = rest.iter().try_fold(arguments.get(first)?, |value, key| value.get(key))?;
        (!value.is_null()).then_some(value)
    }
}

impl Registry {
    /// Makes the tools of a table ready. `mirrors_handle` (`MCP_HANDLE_HEADER`) asks clients to repeat a session's handle in
    /// a header of its own, `Mcp-Param-Session`.
    #[must_use]
    pub fn new(tools: &'static [Tool], mirrors_handle: bool) -> Self {
        let entries = tools
            .iter()
            .map(|tool| {
                let stateless = input_schema(tool, Era::Stateless { mirrors_handle });
                Entry {
                    tool,
                    mirrored: mirrored(&stateless, &[]),
                    input_schemas: [Rules::of(&input_schema(tool, Era::Handshake)), Rules::of(&stateless)],
                }
            })
            .collect();
        Self { entries, tools, mirrors_handle, lists: Default::default() }
    }

    /// The result of `tools/list` at `revision`, as JSON.
    #[must_use]
    pub fn list(&self, revision: Revision) -> Bytes {
        let list = || Bytes::from(list(self.tools, Era::of(revision, self.mirrors_handle), revision).to_string());
        self.lists[revision as usize].get_or_init(list).clone()
    }

    /// The tool called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tool.name == name)
    }

    /// All names, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.entries.iter().map(|entry| entry.tool.name).collect()
    }
}

impl Entry {
    /// The tool.
    #[must_use]
    pub fn tool(&self) -> &'static Tool {
        self.tool
    }

    /// The arguments that clients of the stateless era mirror into headers.
    #[must_use]
    pub fn mirrored(&self) -> &[Mirrored] {
        &self.mirrored
    }

    /// Reads the arguments of a call: what it does, and the handle of its session where the revision's era has handles.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn read(
        &self,
        mut arguments: Map<String, Value>,
        revision: Revision,
    ) -> Result<(Call, Option<String>), ToolError> {
        let rules = &self.input_schemas[usize::from(revision.is_stateless())];
        let handle = if self.tool.handle != Handle::None && revision.is_stateless() {
            match arguments.shift_remove(HANDLE) {
                None | Some(Value::Null) => None,
                Some(Value::String(handle)) => Some(handle),
                Some(other) => {
                    arguments.insert(HANDLE.to_owned(), other);
                    return Err(ToolError::InvalidArguments(rules.problems(&arguments)));
                }
            }
        } else {
            None
        };
        let call = (self.tool.call)(&RawArguments::new(&arguments, rules))?;
        Ok((call, handle))
    }
}

/// What input schemas differ by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Era {
    /// Sessions have a header.
    Handshake,
    /// Sessions are an argument.
    Stateless { mirrors_handle: bool },
}

impl Era {
    const fn of(revision: Revision, mirrors_handle: bool) -> Self {
        if revision.is_stateless() { Self::Stateless { mirrors_handle } } else { Self::Handshake }
    }
}

/// A tool's input schema in an era: with the handle in the stateless one, where it has one.
fn input_schema(tool: &Tool, era: Era) -> Value {
    let mut schema = (tool.input_schema)();
    let meaning = match tool.handle {
        Handle::Makes => {
            "The handle of a session, as an earlier call returned it; without it a new session is made. It expires when it \
             is not used for a while: sessionInfo says when"
        }
        Handle::Needs => "The handle of a session: call echo without one first, and pass the sessionId that it returns",
        Handle::Reads => "The handle of a session, as echo returned it",
        Handle::None => return schema,
    };
    if let Era::Stateless { mirrors_handle } = era {
        let handle = &mut schema["properties"][HANDLE];
        *handle = json!({ "type": "string", "description": meaning });
        if mirrors_handle {
            handle["x-mcp-header"] = HANDLE_HEADER.into();
        }
    }
    schema
}

/// A tool's output schema: with verdict and findings, where it shows any.
pub(super) fn output_schema(tool: &Tool) -> Value {
    let mut schema = (tool.output_schema)();
    if !tool.findings.is_empty() {
        for (name, property) in findings::schemas() {
            schema["properties"][name] = property;
        }
    }
    schema
}

/// The annotated arguments of a schema: those that a chain of `properties` leads to.
fn mirrored(schema: &Value, path: &[String]) -> Vec<Mirrored> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut found = Vec::new();
    for (name, property) in properties.into_iter().flatten() {
        let path = [path, std::slice::from_ref(name)].concat();
        if let Some(suffix) = property.get("x-mcp-header").and_then(Value::as_str) {
            found.push(Mirrored { header: format!("Mcp-Param-{suffix}"), path: path.clone() });
        }
        found.extend(mirrored(property, &path));
    }
    found
}

/// The result of `tools/list` at `revision`.
fn list(tools: &[Tool], era: Era, revision: Revision) -> Value {
    let listed: Vec<Value> = tools.iter().map(|tool| describe(tool, era, revision)).collect();
    if !revision.is_stateless() {
        return json!({ "tools": listed });
    }
    json!({
        "resultType": "complete",
        "tools": listed,
        "ttlMs": TTL_MS,
        "cacheScope": "public",
        "_meta": server_meta(),
    })
}

/// A tool as `tools/list` of `revision` shows it.
fn describe(tool: &Tool, era: Era, revision: Revision) -> Value {
    let mut listed = json!({ "name": tool.name });
    if revision.has_titles() {
        listed["title"] = tool.title.into();
    }
    listed["description"] = tool.description.into();
    let mut arguments = input_schema(tool, era);
    if tool.handle == Handle::Needs && revision.is_stateless() {
        // Only as it is listed: a model that is told leaves it out less often. Without it the tool answers how to get one.
        match &mut arguments["required"] {
            Value::Array(required) => required.push(HANDLE.into()),
            none => *none = json!([HANDLE]),
        }
    }
    listed["inputSchema"] = schema::portable(arguments);
    let output_schema = output_schema(tool);
    if revision.has_titles() && !output_schema.is_null() {
        listed["outputSchema"] = schema::portable(output_schema);
    }
    if revision.has_annotations() {
        listed["annotations"] = tool.annotations.to_json(tool.title);
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_text_is_json_and_leaves_no_name_open() {
        for tool in crate::tools::TOOLS {
            for schema in [(tool.input_schema)(), output_schema(tool)] {
                assert!(schema["type"].is_string(), "{}: {schema}", tool.name);
                assert!(!schema.to_string().contains("\"$"), "{}: {schema}", tool.name);
            }
        }
    }

    #[test]
    fn no_schema_that_is_listed_has_a_list_of_types() {
        for revision in Revision::ALL {
            let listed = list(crate::tools::TOOLS, Era::of(revision, true), revision).to_string();
            assert!(!listed.contains(r#""type":["#), "{revision}: {listed}");
        }
    }

    #[test]
    fn what_only_a_session_can_answer_requires_its_handle() {
        for revision in Revision::ALL {
            let required = |name: &str| {
                let tool = crate::tools::TOOLS.iter().find(|tool| tool.name == name).unwrap();
                describe(tool, Era::of(revision, false), revision)["inputSchema"]["required"].clone()
            };
            let expected = if revision.is_stateless() { json!([HANDLE]) } else { Value::Null };
            assert_eq!(required("replayLastEcho"), expected, "{revision}");
            assert_eq!((required("echo"), required("sessionInfo")), (json!(["message"]), Value::Null), "{revision}");
        }
    }

    #[test]
    fn annotated_arguments_are_found_through_properties_only() {
        let schema = json!({
            "properties": {
                "region": { "type": "string", "x-mcp-header": "Region" },
                "nested": { "type": "object", "properties": { "id": { "type": "integer", "x-mcp-header": "Id" } } },
                "list": { "type": "array", "items": { "type": "string", "x-mcp-header": "Never" } },
            },
        });
        let found = mirrored(&schema, &[]);
        let headers: Vec<&str> = found.iter().map(|one| one.header.as_str()).collect();
        assert_eq!(headers, ["Mcp-Param-Region", "Mcp-Param-Id"]);
        let Value::Object(arguments) = json!({ "region": null, "nested": { "id": 7 } }) else { panic!() };
        assert_eq!(found[0].value(&arguments), None);
        assert_eq!(found[1].value(&arguments), Some(&json!(7)));
    }
}
