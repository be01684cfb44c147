//! Errors of a benchmark.

use std::path::PathBuf;

use session_migrate::build::BuildError;
use session_migrate::client::ClientError;
use session_migrate::costs::CostError;
use session_migrate::server::ServerError;

/// Why a benchmark failed.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A wasm could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// There is no usable server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The server does not report costs.
    #[error(transparent)]
    Costs(#[from] CostError),
    /// A call that should succeed failed.
    #[error("{bench}: {source}")]
    Call {
        /// The benchmark.
        bench: String,
        /// The error.
        source: ClientError,
    },
    /// An installation or an upgrade failed.
    #[error("{bench}: installing {module}: {message}")]
    Install {
        /// The benchmark.
        bench: String,
        /// The module.
        module: String,
        /// The server's message.
        message: String,
    },
    /// A message trapped, so that its cost is not that of the benchmark.
    #[error("{bench}: `{message}` trapped")]
    Trapped {
        /// The benchmark.
        bench: String,
        /// Entry point and method.
        message: String,
    },
    /// The canister is not in the state required by the benchmark.
    #[error("{bench}: {what}: expected {expected}, got {got}")]
    State {
        /// The benchmark.
        bench: String,
        /// What was checked.
        what: &'static str,
        /// The expected value.
        expected: String,
        /// The actual value.
        got: String,
    },
    /// The initial stable memory could not be created.
    #[error("creating a state of {sessions} sessions and {memories} memories: {detail}")]
    Seed {
        /// Sessions wanted.
        sessions: u32,
        /// Memories wanted.
        memories: u32,
        /// What went wrong.
        detail: String,
    },
    /// A fixture could not be built.
    #[error(transparent)]
    Fixture(#[from] pocket_ic_fixtures::FixtureError),
    /// A reply does not have the type in its canister's interface.
    #[error("{bench}: the reply of {method}: {detail}")]
    Reply {
        /// The benchmark.
        bench: String,
        /// The method.
        method: &'static str,
        /// The decoder's message.
        detail: String,
    },
    /// Figures of two compilers would be mixed.
    #[error(
        "the wasms of the checked-in figures were built by `{recorded}`, but here they are built by \
        `{here}`: measure all of them, --update --full"
    )]
    OtherCompiler {
        /// Compiler of the checked-in figures.
        recorded: String,
        /// Compiler of this machine.
        here: String,
    },
    /// A part of the figures is to be measured again, but none are checked in.
    #[error(
        "no figures are checked in, to which those of a part could be added: measure everything, cargo bench-costs {subcommand} --update"
    )]
    NothingRecorded {
        /// The subcommand.
        subcommand: &'static str,
    },
    /// A program could not be run, or failed.
    #[error("`{command}`: {detail}")]
    Program {
        /// The command.
        command: String,
        /// The error, or the exit status and the last line of the program's errors.
        detail: String,
    },
    /// Something could not be done with a file.
    #[error("cannot {action} {path}: {detail}")]
    File {
        /// The operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        detail: String,
    },
}

impl BenchError {
    /// Returns whether the command line is at fault, so that the exit code is 2 and not 3.
    pub fn is_usage(&self) -> bool {
        matches!(self, BenchError::NothingRecorded { .. })
    }

    /// Returns, for `map_err`, a function that makes [`BenchError::File`] of an error.
    pub fn file<E: std::fmt::Display>(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |error| BenchError::File { action, path, detail: error.to_string() }
    }

    /// Returns [`BenchError::State`] unless the values are equal.
    pub fn check_equal<T: PartialEq + std::fmt::Debug>(
        bench: &str,
        what: &'static str,
        expected: T,
        got: T,
    ) -> Result<(), BenchError> {
        if expected == got {
            return Ok(());
        }
        let [expected, got] = [expected, got].map(|value| format!("{value:?}"));
        Err(BenchError::State { bench: bench.into(), what, expected, got })
    }
}
