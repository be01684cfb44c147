//! `session-migrate`: the command line over the library of the same name. Exit codes: 0 pass, 1 a loss or a difference
//! was found, 2 invalid usage or input, 3 something else failed.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
