//! Why a command failed: its exit code, and the text of the error.

use std::fmt::Display;

use session_migrate::progress::Progress;

use super::{ENVIRONMENT, LOSS, USAGE};

/// The failure of a command.
#[derive(Debug)]
pub(super) struct Failure {
    pub code: u8,
    pub text: String,
}

impl Failure {
    /// A loss or difference was found.
    pub fn loss(error: impl Display) -> Failure {
        Failure { code: LOSS, text: error.to_string() }
    }

    /// The user's input is at fault.
    pub fn usage(error: impl Display) -> Failure {
        Failure { code: USAGE, text: error.to_string() }
    }

    /// Something else failed, not the user's input.
    pub fn environment(error: impl Display) -> Failure {
        Failure { code: ENVIRONMENT, text: error.to_string() }
    }

    /// The failure of an error that can also come from the user's input; `is_usage` returns whether it does.
    pub fn of<E: Display>(error: E, is_usage: impl FnOnce(&E) -> bool) -> Failure {
        if is_usage(&error) { Failure::usage(error) } else { Failure::environment(error) }
    }
}

/// Does work that runs a PocketIC server, with progress on stderr. A panic is a failure, too.
pub(super) fn with_progress<T, E: Display>(
    work: impl FnOnce(&Progress) -> Result<T, E>,
    is_usage: impl FnOnce(&E) -> bool,
) -> Result<T, Failure> {
    let progress = Progress::stderr();
    without_panic(|| work(&progress))?.map_err(|error| Failure::of(error, is_usage))
}

/// Turns a panic into a failure: the PocketIC client panics if its server fails, which is a failure of the environment.
/// Until `work` ends, no panic of the process is printed.
pub(super) fn without_panic<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    result.map_err(|panic| {
        let text = session_migrate::panic_text(&*panic);
        Failure::environment(format_args!("the PocketIC server failed: {text}"))
    })
}
