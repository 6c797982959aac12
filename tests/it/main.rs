//! What the server promises its users, over real sockets. One binary, one file a promise.

mod documents;
mod server;
