//! A compiler for the canister, and how it is called.

use std::path::PathBuf;

/// How the chosen compiler is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Plain cargo; the target's standard library is installed.
    Installed,
    /// The distribution's compiler, which builds the standard library from its sources.
    Distribution {
        /// The compiler.
        rustc: PathBuf,
        /// The linker that cargo must be told to use; `None` if the compiler finds one itself.
        linker: Option<PathBuf>,
    },
}

/// A compiler that can build for the wasm target.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// How the compiler is called.
    pub route: Route,
    /// Output of `rustc -vV`: the compiler's full identity.
    pub version: String,
    /// The folder of the compiler's libraries.
    pub sysroot: PathBuf,
}

impl Toolchain {
    /// Returns a short phrase for messages: `rustc 1.95.0`, and its origin if that is unusual.
    pub fn describe(&self) -> String {
        let first = self.version.lines().next().unwrap_or("rustc");
        let short = first.split(" (").next().unwrap_or(first);
        match &self.route {
            Route::Installed => short.to_owned(),
            Route::Distribution { rustc, .. } => {
                format!("{short} of the distribution ({})", rustc.display())
            }
        }
    }
}
