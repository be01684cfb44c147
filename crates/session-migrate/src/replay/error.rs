//! Errors of a replay.

use std::ops::Range;

use pocket_ic::RejectResponse;

use crate::build::BuildError;
use crate::costs::CostError;
use crate::server::ServerError;
use crate::trace::TraceError;

/// Why a replay could not start or continue. An answer that differs from the recorded one is no error.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The trace cannot be used.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A wasm cannot be used or built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// There is no usable server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The server does not report costs.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// A build could not be installed at the beginning.
    #[error("cannot install {build}: {message}")]
    Install {
        /// The build.
        build: String,
        /// The IC's message.
        message: String,
    },
    /// The IC refused a controller's operation.
    #[error("cannot {action}: {message}")]
    Control {
        /// The operation.
        action: &'static str,
        /// The IC's message.
        message: String,
    },
    /// The line of an interruption contains no event.
    #[error("`{interruption}`: the trace has events in the lines {} to {}", lines.start, lines.end - 1)]
    NoSuchLine {
        /// The interruption.
        interruption: String,
        /// The lines that have events.
        lines: Range<usize>,
    },
    /// An interruption did not have its expected effect.
    #[error("line {line}: the interruption `{interruption}`: {detail}")]
    InterruptionFailed {
        /// The line before which the interruption occurred.
        line: usize,
        /// The interruption.
        interruption: String,
        /// What happened instead.
        detail: String,
    },
}

impl ReplayError {
    /// Returns whether the user's input is at fault, not the machine.
    pub fn is_usage(&self) -> bool {
        match self {
            ReplayError::Trace(error) => error.is_usage(),
            ReplayError::NoSuchLine { .. } => true,
            ReplayError::Build(error) => {
                matches!(error, BuildError::Io { action: "read", .. } | BuildError::Wasm { .. })
            }
            _ => false,
        }
    }

    pub(super) fn control(action: &'static str) -> impl FnOnce(RejectResponse) -> ReplayError {
        move |reject| ReplayError::Control { action, message: reject.reject_message }
    }
}
