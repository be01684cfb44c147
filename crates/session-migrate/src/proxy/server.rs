//! Starts and stops the recording proxy.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use axum::http::uri::Authority;
use candid::Principal;
use reqwest::Url;
use tokio::runtime::{Builder, Runtime};

use super::ProxyError;
use super::forward::{Forward, Frontend, serve};
use super::recording::{Recorded, Recording};
use super::upstream::Upstream;
use super::watch::Watch;
use crate::trace::Writer;

/// Worker threads of the proxy.
const THREADS: usize = 2;

/// Options of the proxy.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on; port 0 for a free one.
    pub listen: SocketAddr,
    /// The PocketIC server.
    pub server: Url,
    /// Path of the trace.
    pub out: PathBuf,
    /// The canister to record; if absent, the first upload canister that is installed or called.
    pub canister: Option<Principal>,
}

/// A running proxy. Only [`Proxy::stop`] returns whether the trace is complete. If the proxy is dropped, a trace that
/// is not complete is discarded.
pub struct Proxy {
    url: Url,
    forward: Arc<Forward>,
    /// Present until the proxy is stopped or dropped.
    runtime: Option<Runtime>,
}

impl Proxy {
    /// Starts a proxy on threads of its own. The proxy accepts requests when this function returns.
    ///
    /// # Errors
    /// [`ProxyError`], such as a server that does not answer, an address in use, or a trace that cannot be written.
    pub fn start(options: Options) -> Result<Proxy, ProxyError> {
        let Options { listen, server, out, canister } = options;
        let authority = authority(&server)?;
        // Without this check, an unusable path would be noticed only after the recording.
        Writer::check(&out)?;
        let cannot_listen = |source| ProxyError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).map_err(cannot_listen)?;
        listener.set_nonblocking(true).map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        let url = url_of(address)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("recording-proxy")
            .enable_all()
            .build()
            .map_err(ProxyError::Threads)?;
        let upstream = Upstream::new(server);
        runtime.block_on(upstream.check())?;
        let forward = Arc::new(Forward::new(authority, Watch::new(Recording::new(upstream, out, canister))));
        {
            let _in_runtime = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener).map_err(cannot_listen)?;
            serve(listener, Frontend::of_server(forward.clone()));
        }
        Ok(Proxy { url, forward, runtime: Some(runtime) })
    }

    /// Returns the address that clients use.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Waits for SIGINT or SIGTERM.
    ///
    /// # Errors
    /// If signals cannot be awaited.
    pub fn wait_for_signal(&self) -> std::io::Result<()> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        runtime.block_on(async {
            let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => interrupted,
                _ = terminated.recv() => Ok(()),
            }
        })
    }

    /// Completes the trace and stops.
    ///
    /// # Errors
    /// If nothing was recorded, or the trace cannot be written. No trace is left then. Payload files may be left
    /// if their folder existed before.
    pub fn stop(mut self) -> Result<Recorded, ProxyError> {
        // Unreachable: only `stop` and `drop` take the runtime.
        let Some(runtime) = self.runtime.take() else { return Err(ProxyError::NoCallReceived) };
        let recorded = runtime.block_on(async {
            match self.forward.end().await {
                Some(watch) => watch.recording.finish().await,
                None => Err(ProxyError::NoCallReceived),
            }
        });
        runtime.shutdown_background();
        recorded
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns the URL for clients of a proxy that listens on this address.
///
/// # Errors
/// An address that no URL can contain, such as an IPv6 address with a zone.
fn url_of(address: SocketAddr) -> Result<Url, ProxyError> {
    Url::parse(&format!("http://{address}/")).map_err(|error| ProxyError::Url {
        option: "--proxy",
        url: address.to_string(),
        detail: error.to_string(),
    })
}

fn authority(server: &Url) -> Result<Authority, ProxyError> {
    let url_error = |detail: String| ProxyError::Url { option: "--server", url: server.to_string(), detail };
    if server.scheme() != "http" || server.path() != "/" {
        return Err(url_error("expected http://HOST:PORT/, as PocketIC servers have".into()));
    }
    server.authority().parse().map_err(|error| url_error(format!("{error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_address_is_named_with_its_option() {
        let server = authority(&Url::parse("https://127.0.0.1:1/").unwrap()).unwrap_err();
        assert!(server.to_string().starts_with("--server https://127.0.0.1:1/: "), "{server}");
        let proxy = url_of("[fe80::1%3]:8000".parse().unwrap()).unwrap_err();
        assert!(proxy.to_string().starts_with("--proxy [fe80::1%3]:8000: "), "{proxy}");
        assert!(server.is_usage() && proxy.is_usage());
        assert_eq!(url_of("[::1]:8000".parse().unwrap()).unwrap().as_str(), "http://[::1]:8000/");
    }
}
