//! The part of the command `record` that `--proxy` selects; there is no command `proxy`.

use session_migrate::proxy::{Options, Proxy, ProxyError, Recorded};

use super::{ENVIRONMENT, USAGE, fail};

pub(super) fn record(options: Options) -> u8 {
    let server = options.server.clone();
    let work = || -> Result<Recorded, ProxyError> {
        let proxy = Proxy::start(options)?;
        // Scripts wait for this line, and read the port from its URL.
        say!("recording: {} forwards to {server}; press Ctrl-C to finish", proxy.url());
        proxy.wait_for_signal()?;
        proxy.stop()
    };
    match work() {
        Ok(Recorded { trace, canister, build, calls, notes }) => {
            say!("{}: {calls} calls to {canister}, initially the {build} build", trace.display());
            for note in notes {
                eprintln!("note: {note}");
            }
            0
        }
        Err(error) => fail(if error.is_usage() { USAGE } else { ENVIRONMENT }, error),
    }
}
