//! `cargo bench-costs`: measures, compares with the checked-in figures, and records new ones. Exit codes: 0 pass, 1 a
//! check failed, 2 invalid usage, 3 something else failed.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
