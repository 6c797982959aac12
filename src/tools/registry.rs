//! The tools as they are served: schemas built once, `tools/list` rendered once for each revision.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Arguments, Context, Outcome, Run, Tool, ToolError};
use crate::protocol::Revision;

/// A table of tools, ready to serve.
pub struct Registry {
    entries: Vec<Entry>,
    /// The result of `tools/list`, by revision.
    lists: [Bytes; Revision::ALL.len()],
}

/// A tool, ready to run.
pub struct Entry {
    tool: &'static Tool,
    input_schema: Value,
    logger: String,
}

impl Registry {
    /// Makes the tools of a table ready.
    #[must_use]
    pub fn new(tools: &'static [Tool]) -> Self {
        let entries = tools
            .iter()
            .map(|tool| Entry { tool, input_schema: (tool.input_schema)(), logger: format!("tools.{}", tool.name) })
            .collect();
        let lists = Revision::ALL.map(|revision| {
            let tools: Vec<Value> = tools.iter().map(|tool| describe(tool, revision)).collect();
            Bytes::from(json!({ "tools": tools }).to_string())
        });
        Self { entries, lists }
    }

    /// The result of `tools/list` at `revision`, as JSON.
    #[must_use]
    pub fn list(&self, revision: Revision) -> Bytes {
        self.lists[revision as usize].clone()
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
    /// The tool's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.tool.name
    }

    /// `tools.NAME`: the logger of its log lines.
    #[must_use]
    pub fn logger(&self) -> &str {
        &self.logger
    }

    /// Checks the arguments and runs the tool.
    ///
    /// # Errors
    /// What the tool refuses, or what is wrong with its arguments.
    pub async fn run(&self, context: &Context<'_>, arguments: Map<String, Value>) -> Result<Outcome, ToolError> {
        let arguments = Arguments::check(arguments, &self.input_schema)?;
        match self.tool.run {
            Run::Now(run) => run(context, &arguments),
            Run::Later(run) => run(context, &arguments).await,
        }
    }
}

/// A tool as `tools/list` of `revision` shows it.
fn describe(tool: &Tool, revision: Revision) -> Value {
    let mut listed = json!({ "name": tool.name });
    if revision.has_titles() {
        listed["title"] = tool.title.into();
    }
    listed["description"] = tool.description.into();
    listed["inputSchema"] = (tool.input_schema)();
    if revision.has_titles() {
        listed["outputSchema"] = (tool.output_schema)();
    }
    if revision.has_annotations() {
        listed["annotations"] = tool.annotations.to_json(tool.title);
    }
    listed
}
