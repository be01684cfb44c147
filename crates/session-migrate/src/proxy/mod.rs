//! A recording proxy in front of any PocketIC server: records the calls that clients make to an upload canister, as a
//! trace.
//!
//! A test connects to the proxy's address instead of the server's. Requests and answers are forwarded unchanged, except
//! for the ports of HTTP gateways: agents connect to the proxy's ports in front of the gateways that the server opens.
//! One canister is recorded: by default, the first upload canister that is installed or called.
//!
//! The proxy's own requests change nothing on the server. If the trace cannot be written, clients do not notice; the
//! error is reported at the end.

mod agent;
mod error;
mod forward;
mod gateway;
mod management;
mod protocol;
mod recording;
mod server;
mod transcript;
mod upstream;
mod watch;
mod writer_thread;

pub use error::ProxyError;
pub use recording::Recorded;
pub use server::{Options, Proxy};
