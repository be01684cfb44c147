//! Commands that are run for a build, without environment variables that would change the output.
//!
//! This program is itself often started by cargo (`cargo run`, `cargo test`), which sets environment variables that
//! would affect the inner cargo. [`clean`] removes these variables.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use super::BuildError;

/// Prefixes of inherited environment variables that change the output of cargo or rustc.
const SCRUBBED_PREFIXES: [&str; 9] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_FEATURE_",
    "CARGO_CFG_",
    "CARGO_BIN_",
    "CARGO_PROFILE_",
    "CARGO_BUILD_",
    "CARGO_TARGET_WASM32_",
    "RUSTC",
];
/// Full names of further such variables.
const SCRUBBED_NAMES: [&str; 12] = [
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_TMPDIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "CARGO_UNSTABLE_BUILD_STD",
    "RUSTFLAGS",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "CLIPPY_ARGS",
    "LD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
];

/// Returns whether an environment variable must not reach the inner cargo.
///
/// The settings of the target folder and of the number of jobs are kept, although their names have a scrubbed prefix:
/// the caller intends them for this build, too.
pub(crate) fn is_scrubbed(name: &str) -> bool {
    if matches!(name, "CARGO_BUILD_TARGET_DIR" | "CARGO_BUILD_JOBS") {
        return false;
    }
    SCRUBBED_NAMES.contains(&name) || SCRUBBED_PREFIXES.iter().any(|start| name.starts_with(start))
}

/// Returns a cargo command with a clean environment: the cargo that started this program, or the one on the PATH.
pub(crate) fn cargo_command() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    clean(Command::new(cargo))
}

/// Removes the variables for which [`is_scrubbed`] is true from the environment of `command`.
pub(crate) fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_scrubbed) {
            command.env_remove(name);
        }
    }
    command
}

/// Returns the command line as a person would type it, for messages.
pub(crate) fn command_line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs `command` and returns its standard output. If it fails, its standard error becomes part of the error.
pub(crate) fn capture(command: &mut Command) -> Result<String, BuildError> {
    let output = command.stdin(Stdio::null()).output().map_err(|source| BuildError::Spawn {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(BuildError::Failed {
            command: command_line(command),
            status: output.status.to_string(),
            detail: format!(": {}", stderr.trim().replace('\n', "; ")),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_of_an_outer_cargo_is_removed() {
        for name in [
            "CARGO_PKG_NAME",
            "CARGO_MANIFEST_DIR",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC",
            "RUSTC_BOOTSTRAP",
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_PROFILE_CANISTER_LTO",
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "LD_LIBRARY_PATH",
        ] {
            assert!(is_scrubbed(name), "{name}");
        }
    }

    #[test]
    fn the_users_own_settings_stay() {
        for name in [
            "CARGO",
            "CARGO_HOME",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET_DIR",
            "CARGO_BUILD_JOBS",
            "CARGO_NET_OFFLINE",
            "CARGO_HTTP_PROXY",
            "CARGO_REGISTRIES_CRATES_IO_PROTOCOL",
            "RUSTUP_TOOLCHAIN",
            "RUSTUP_HOME",
            "RUSTUP_AUTO_INSTALL",
            "PATH",
            "HOME",
        ] {
            assert!(!is_scrubbed(name), "{name}");
        }
    }
}
