//! Listeners for HTTP.

use axum::serve::{Listener, ListenerExt};
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

/// Returns a listener whose connections send every answer immediately: waiting for more data would cost
/// clients up to 40 ms per request.
pub fn without_delay(listener: TcpListener) -> impl Listener<Io = TcpStream, Addr = SocketAddr> {
    listener.tap_io(|connection| {
        // If this fails, the connection is slower, but works.
        let _ = connection.set_nodelay(true);
    })
}
