//! The stand-alone server. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    pocket_ic_embedded::serve::main()
}
