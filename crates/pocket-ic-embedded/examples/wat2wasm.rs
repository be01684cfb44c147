//! Translates a canister in wasm text to wasm: `wat2wasm FROM.wat TO.wasm`. For tests that are not written in Rust.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        eprintln!("usage: wat2wasm FROM.wat TO.wasm");
        return ExitCode::from(2);
    };
    let written = wat::parse_file(from)
        .map_err(|error| error.to_string())
        .and_then(|wasm| std::fs::write(to, wasm).map_err(|error| format!("cannot write {to}: {error}")));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wat2wasm: {error}");
            ExitCode::FAILURE
        }
    }
}
