//! Choosing the compiler for the wasm, and installing it if the machine has none.
//!
//! The rule, in this order (`rule` is its pure form, `probe` gathers the facts, [`resolve`] acts):
//! 1. The active compiler has the wasm target installed: it is used as it is.
//! 2. The compiler is rustup's, and the user allows rustup to install things: `rustup target add`.
//! 3. The distribution has a compiler that is new enough, with the standard library's sources and a wasm
//!    linker: the standard library is built along with the canister.
//! 4. We are root on a system with apt: the packages that make up such a compiler are installed, then as 3.
//! 5. Otherwise the error says what to install.

mod probe;
mod rule;

use std::path::PathBuf;

use super::{BuildError, TARGET, Workspace};
use crate::progress::Progress;
use rule::{Decision, Facts};

pub(crate) use rule::major_minor;

/// How the chosen compiler is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Plain cargo; the target's standard library is installed.
    Installed,
    /// The distribution's compiler, which builds the standard library from its sources.
    Distribution {
        /// The compiler.
        rustc: PathBuf,
        /// A linker to specify explicitly; absent if the compiler finds its own.
        linker: Option<PathBuf>,
    },
}

/// A compiler that can build for the wasm target.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// How it is called.
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

/// Finds a compiler by the rule above, installing what the rule allows; [`BuildError::NoToolchain`] if none
/// is found.
pub fn resolve(workspace: &Workspace) -> Result<Toolchain, BuildError> {
    let mut facts = probe::facts(workspace)?;
    loop {
        match rule::decide(&facts) {
            Decision::UseInstalled => return probe::installed(),
            Decision::UseDistribution { rustc, linker } => {
                return probe::distribution(rustc, linker);
            }
            Decision::AddTarget { toolchain } => {
                let progress = Progress::stderr();
                progress
                    .phase(format!("adding the target {TARGET} to the toolchain {toolchain} with rustup"));
                let outcome = probe::rustup_target_add(&toolchain);
                facts = Facts {
                    // Run once; its output is part of the final error if nothing else works.
                    rustup: rule::Rustup::Failed(match outcome {
                        Ok(()) => "the target is still missing after `rustup target add`".into(),
                        Err(error) => error.to_string(),
                    }),
                    ..probe::facts(workspace)?
                };
            }
            Decision::InstallPackages { packages } => {
                let progress = Progress::stderr();
                progress.phase(format!(
                    "installing the distribution's wasm compiler: apt-get install {}",
                    packages.join(" ")
                ));
                let outcome = probe::apt_install(&packages);
                facts = Facts {
                    rustup: facts.rustup,
                    apt: rule::Apt::Failed(match outcome {
                        Ok(()) => "a piece is still missing after `apt-get install`".into(),
                        Err(error) => error.to_string(),
                    }),
                    ..probe::facts(workspace)?
                };
            }
            Decision::NoCompiler { tried, advice } => {
                return Err(BuildError::NoToolchain { tried, advice });
            }
        }
    }
}
