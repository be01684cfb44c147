//! Errors of a recording.

use std::net::SocketAddr;

use crate::trace::TraceError;

/// Why the proxy did not start, or why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The address of the server, or that of the proxy, is not usable.
    #[error("{option} {url}: {detail}")]
    Url {
        /// The option that contains the address: `--server` or `--proxy`.
        option: &'static str,
        /// The address.
        url: String,
        /// The reason.
        detail: String,
    },
    /// No PocketIC server answers at the address.
    #[error("no PocketIC server answers at {url}: {detail}")]
    Unreachable {
        /// The address.
        url: String,
        /// The error.
        detail: String,
    },
    /// The proxy cannot listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error.
        source: std::io::Error,
    },
    /// The threads of the proxy could not be started.
    #[error("cannot start the threads of the proxy: {0}")]
    Threads(std::io::Error),
    /// The process cannot wait for signals.
    #[error("cannot wait for signals: {0}")]
    Signals(#[from] std::io::Error),
    /// The trace cannot be written.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// No upload canister was installed or called.
    #[error(
        "the proxy received no call to an upload canister, so no trace was written: point the client at \
        the proxy's address, and check --canister if it is given"
    )]
    NoCallReceived,
}

impl ProxyError {
    /// Returns whether the user's input is at fault, not the machine.
    pub fn is_usage(&self) -> bool {
        match self {
            ProxyError::Url { .. } => true,
            ProxyError::Trace(error) => error.is_usage(),
            _ => false,
        }
    }
}
