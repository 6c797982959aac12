//! The MCP server that people point their client, proxy or token at when OAuth, sessions or streaming do not work.
//!
//! # Layout
//!
//! - [`config`]: one struct of settings, read once; the table of variables.
//! - [`connections`]: how many connections there may be, and for how long they may do nothing.
//! - [`logging`]: log lines, text or JSON, to stdout and a file.
//! - [`listen`]: the listening socket, and the signals that end the server.
//! - [`healthcheck`]: the subcommand that probes a running server.
//! - [`keys`]: the file with the issuer's public keys.
//! - [`system`]: CPU and memory of this process, sampled in the background.
//! - [`protocol`]: JSON-RPC messages, errors, the table of revisions.
//! - [`session`]: sessions and their queues.
//! - [`tools`]: the table of eleven, one file each.
//! - [`diagnosis`]: what is wrong with a request; redaction.
//! - [`request`]: the facts of one HTTP request.
//! - [`recorder`]: the last exchanges; [`view`]: the listener that shows them, reports and figures; [`seen`]: what is noted of a request.
//! - [`schema`]: JSON Schemas written as text.
//! - [`clock`]: time as a parameter.
//! - [`text`]: how figures are written for people.
#![forbid(unsafe_code)]

pub mod app;
pub mod clock;
pub mod config;
pub mod connections;
pub mod diagnosis;
pub mod healthcheck;
pub mod http;
pub mod keys;
pub mod listen;
pub mod logging;
pub mod protocol;
pub mod recorder;
pub mod request;
pub mod rpc;
pub mod schema;
pub mod seen;
pub mod session;
pub mod system;
pub mod text;
pub mod tools;
pub mod view;
