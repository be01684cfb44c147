//! The server as a value: it runs as long as the handle exists.

use crate::cache_folder::CacheFolder;
use crate::engine::Engine;
use crate::http::{ServerState, router, without_delay};
use crate::threads;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use tokio::runtime::Runtime;
use url::Url;

/// If this environment variable is set and not empty, the server prints the output of canisters on standard error.
const LOGS_VARIABLE: &str = "POCKET_IC_EMBEDDED_LOGS";
/// Number of threads that answer requests. Other threads take over while these run canisters.
const HTTP_THREADS: usize = 2;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No port could be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The threads of the server could not be started.
    #[error("cannot start the threads of the server: {0}")]
    Runtime(std::io::Error),
    /// The address is not a valid URL.
    #[error("the address of the server is not a valid URL: {0}")]
    Url(url::ParseError),
    /// The engine for canisters could not be set up.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
}

/// A server in this process, on a free port of the loopback interface. It stops when the handle is dropped.
#[derive(Debug)]
pub struct EmbeddedServer {
    address: SocketAddr,
    url: Url,
    /// Always present until the handle is dropped.
    runtime: Option<Runtime>,
}

impl EmbeddedServer {
    /// Starts a server on its own threads, which accepts requests as soon as this function returns. The output of
    /// canisters goes to standard error if the environment variable `POCKET_IC_EMBEDDED_LOGS` is set and not empty.
    /// Compiled modules are shared with other processes in the folder named by `POCKET_IC_EMBEDDED_MODULE_CACHE`, or
    /// else in the user's cache folder; not at all if the variable is `off`.
    ///
    /// # Errors
    /// If no port or thread is available, or the engine cannot be set up.
    pub fn start() -> Result<Self, StartError> {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bind_error = |source| StartError::Bind { address: wanted, source };
        // The port is bound here, so that connections wait in the backlog from now on.
        let listener = TcpListener::bind(wanted).map_err(bind_error)?;
        listener.set_nonblocking(true).map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        let url = Url::parse(&format!("http://{address}/")).map_err(StartError::Url)?;
        let runtime = threads::runtime()
            .worker_threads(HTTP_THREADS)
            .thread_name("pocket-ic-embedded")
            .build()
            .map_err(StartError::Runtime)?;
        let listener = {
            let _in_runtime = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(bind_error)?
        };
        let print_logs = std::env::var_os(LOGS_VARIABLE).is_some_and(|value| !value.is_empty());
        let cache = CacheFolder::from_environment().open_if_possible();
        let state = Arc::new(ServerState::new(Engine::with_cache(cache)?, print_logs));
        runtime.spawn(async move {
            // Serving ends only with the runtime; its result carries no further information.
            let _ = axum::serve(without_delay(listener), router(state)).await;
        });
        Ok(Self { address, url, runtime: Some(runtime) })
    }

    /// Returns the process-wide server, which the first call starts, and which runs until the process exits. Instances
    /// are independent of each other, so tests can share it.
    ///
    /// # Errors
    /// If the server could not be started; every later call returns the same error.
    pub fn shared() -> Result<&'static Self, &'static StartError> {
        static SHARED: OnceLock<Result<EmbeddedServer, StartError>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// Returns the server's URL, for `PocketIcBuilder::with_server_url`.
    pub fn url(&self) -> Url {
        self.url.clone()
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // This does not wait for operations that are still running, and is safe in asynchronous tests, too.
            runtime.shutdown_background();
        }
    }
}
