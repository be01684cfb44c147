//! A proxy in front of any PocketIC server that writes down what clients do to an upload canister.
//!
//! Whoever tests against a server by its address tests against the proxy's instead, and notices nothing: requests go on as
//! they came, and answers come back as they are. Agents find the proxy before the HTTP gateways that the server opens. The
//! first upload canister that is installed or called is the one that is recorded.
//!
//! Owns: forwarding, the ports before gateways, and which requests are calls of the canister, of PocketIC's own protocol or
//! of agents. Does not own: what a trace looks like ([`crate::trace`]). Boundary: the server is asked nothing that changes
//! it, and a trace that cannot be written fails no request; that is told at the end.

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
