//! Choosing the compiler for the wasm, and installing it if the machine has none.
//!
//! The rule, in this order (`rule` decides as a pure function, `probe` gathers the facts, [`resolve`] carries out the
//! decision):
//! 1. The active compiler has the wasm target installed: it is used as it is.
//! 2. The compiler is rustup's, and the user allows rustup to install components: `rustup target add` is run.
//! 3. The distribution has a compiler that is new enough, with the standard library's sources and a wasm
//!    linker: the standard library is built along with the canister.
//! 4. The user is root on a system with apt: the packages of such a compiler are installed, and it is used as in 3.
//! 5. Otherwise the error says what to install.

mod compiler;
mod probe;
mod rule;

use super::{BuildError, TARGET, Workspace};
use crate::progress::Progress;
use rule::{Decision, Facts};

pub use compiler::{Route, Toolchain};
pub(crate) use rule::parse_major_minor;

/// Finds a compiler by the rule in this module's documentation, installing what the rule allows.
///
/// # Errors
/// [`BuildError::NoToolchain`] if there is none, or the error of a program that fails.
pub fn resolve(workspace: &Workspace) -> Result<Toolchain, BuildError> {
    let mut facts = probe::gather_facts(workspace)?;
    loop {
        match rule::decide(&facts) {
            Decision::UseInstalled => return probe::installed_toolchain(),
            Decision::UseDistribution { rustc, linker } => {
                return probe::distribution_toolchain(rustc, linker);
            }
            Decision::AddTarget { toolchain } => {
                let progress = Progress::stderr();
                progress
                    .phase(format!("adding the target {TARGET} to the toolchain {toolchain} with rustup"));
                let outcome = probe::rustup_target_add(&toolchain);
                facts = Facts {
                    // Marked as failed even if it succeeded, so that rustup is run only once; its output becomes part
                    // of the final error if no compiler is found.
                    rustup: rule::Rustup::Failed(match outcome {
                        Ok(()) => "the target is still missing after `rustup target add`".into(),
                        Err(error) => error.to_string(),
                    }),
                    ..probe::gather_facts(workspace)?
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
                        Ok(()) => "a package is still missing after `apt-get install`".into(),
                        Err(error) => error.to_string(),
                    }),
                    ..probe::gather_facts(workspace)?
                };
            }
            Decision::NoCompiler { tried, advice } => {
                return Err(BuildError::NoToolchain { tried, advice });
            }
        }
    }
}
