//! What the server promises its users, over real sockets. One binary, one file a promise.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod advisories;
mod answers;
mod architecture;
mod documents;
mod eras;
mod exchange;
mod expectations;
mod field;
mod findings_answer;
mod findings_headers;
mod findings_secrets;
mod findings_session;
mod findings_token;
mod handles;
mod hostile;
mod http2;
mod listen;
mod modern;
mod polling;
mod program;
mod raw;
mod remedies;
mod replicas;
mod resources;
mod revisions;
mod rmcp_client;
mod server;
mod sessions;
mod shutdown;
mod signing;
mod stateless;
mod streams;
mod strict;
mod tools;
mod wrong_requests;
