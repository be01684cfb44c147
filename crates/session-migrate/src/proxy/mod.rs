//! A recording proxy in front of any PocketIC server: writes the calls of clients to an upload canister as a
//! trace.
//!
//! Tests that use a server by its address use the proxy's instead, and notice nothing: requests and answers
//! are passed on unchanged. Agents connect to the proxy's ports before the HTTP gateways that the server
//! opens. The first upload canister that is installed or called is recorded.
//!
//! Owns: forwarding, the ports before gateways, and which requests are calls of the canister, of PocketIC's
//! own protocol or of agents. Does not own: the trace format ([`crate::trace`]). Boundary: the proxy asks the
//! server nothing that changes it, and a trace that cannot be written fails no request; that is reported at
//! the end.

mod agent;
mod error;
mod forward;
mod gateway;
mod management;
mod protocol;
mod queue;
mod recording;
mod scribe;
mod server;
mod transcript;
mod upstream;
mod watch;

pub use error::ProxyError;
pub use recording::Recorded;
pub use server::{Options, Proxy};
