//! The part of the command `record` that `--proxy` selects; there is no command `proxy`.

use session_migrate::proxy::{Options, Proxy, ProxyError, Recorded};

use super::failure::Failure;

pub(super) fn record(options: Options) -> Result<u8, Failure> {
    let server = options.server.clone();
    let work = || -> Result<Recorded, ProxyError> {
        let proxy = Proxy::start(options)?;
        // Scripts wait for this line, and read the port from its URL.
        say!("recording: {} forwards to {server}; press Ctrl-C to finish", proxy.url());
        proxy.wait_for_signal()?;
        proxy.stop()
    };
    let recorded = work().map_err(|error| Failure::of(error, ProxyError::is_usage))?;
    let Recorded { trace, canister, build, calls, notes } = recorded;
    say!("{}: {calls} calls to {canister}, initially the {build} build", trace.display());
    for note in notes {
        eprintln!("note: {note}");
    }
    Ok(0)
}
