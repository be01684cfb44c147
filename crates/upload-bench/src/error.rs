//! Why a benchmark could not be run.

use std::path::PathBuf;

use session_migrate::build::BuildError;
use session_migrate::client::ClientError;
use session_migrate::costs::CostError;
use session_migrate::server::ServerError;

/// Why a benchmark could not be run.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A wasm could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// There is no usable server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The server does not tell what messages cost.
    #[error(transparent)]
    Costs(#[from] CostError),
    /// A call that should succeed did not.
    #[error("{bench}: {source}")]
    Call {
        /// Where.
        bench: String,
        /// What happened.
        source: ClientError,
    },
    /// An installation or an upgrade failed.
    #[error("{bench}: installing {module}: {message}")]
    Install {
        /// Where.
        bench: String,
        /// What.
        module: String,
        /// What the server says.
        message: String,
    },
    /// A measured message trapped: its cost is not the cost of what was to be measured.
    #[error("{bench}: `{message}` trapped")]
    Trapped {
        /// Where.
        bench: String,
        /// Entry point and method.
        message: String,
    },
    /// The canister is not in the state that the benchmark is about.
    #[error("{bench}: {what}: expected {expected}, got {got}")]
    State {
        /// Where.
        bench: String,
        /// What was looked at.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// The stable memory to begin with could not be made.
    #[error("making a state of {sessions} sessions and {memories} memories: {detail}")]
    Seed {
        /// Sessions wanted.
        sessions: u32,
        /// Memories wanted.
        memories: u32,
        /// What went wrong.
        detail: String,
    },
    /// Another party's canister could not be built.
    #[error(transparent)]
    Fixture(#[from] pocket_ic_fixtures::FixtureError),
    /// A reply is not what its canister's interface says.
    #[error("{bench}: the reply of {method}: {detail}")]
    Reply {
        /// Where.
        bench: String,
        /// Whose reply.
        method: &'static str,
        /// What the decoder says.
        detail: String,
    },
    /// Figures of two compilers would stand beside one another.
    #[error(
        "the checked-in figures are of wasms by `{recorded}`, here they are built by `{here}`: measure all of them, --update --full"
    )]
    OtherCompiler {
        /// Of the checked-in figures.
        recorded: String,
        /// Of this machine.
        here: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {detail}")]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        detail: String,
    },
}

impl BenchError {
    /// For `map_err`: a file error with its path.
    pub fn file<E: std::fmt::Display>(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |error| BenchError::File { action, path, detail: error.to_string() }
    }
}
