//! Gathers the facts for the rule, and implements the two installations that the rule may request.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::rule::{Apt, DEBIAN_PACKAGES, Distribution, Facts, Linker, Rustup, parse_major_minor};
use super::{Route, Toolchain};
use crate::build::command::{capture, clean};
use crate::build::{BuildError, TARGET, Workspace};

/// The path at which distributions install their compiler.
const DISTRIBUTION_RUSTC: &str = "/usr/bin/rustc";

/// Gathers the facts. If the target is installed, the other facts are placeholders.
pub(super) fn gather_facts(workspace: &Workspace) -> Result<Facts, BuildError> {
    let target_installed = active_has_target()?;
    // If the target is installed, the rule needs no other facts, and gathering them takes time.
    if target_installed {
        return Ok(Facts {
            target_installed,
            rustup: Rustup::Absent,
            distribution: None,
            apt: Apt::Absent,
            needed_version: workspace.rust_version,
        });
    }
    let distribution = probe_distribution()?;
    Ok(Facts {
        target_installed,
        rustup: probe_rustup()?,
        apt: probe_apt(),
        distribution,
        needed_version: workspace.rust_version,
    })
}

/// Returns a command of the compiler that cargo would use in the current folder, usually the tree. In another folder,
/// rustup may choose another compiler.
fn rustc() -> Command {
    clean(Command::new("rustc"))
}

fn active_has_target() -> Result<bool, BuildError> {
    // Rustc prints the path whether or not the folder exists.
    match capture(rustc().args(["--print", "target-libdir", "--target", TARGET])) {
        Ok(path) => Ok(Path::new(path.trim()).is_dir()),
        // There is no active compiler, but the distribution may still have one.
        Err(BuildError::Spawn { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn installed_toolchain() -> Result<Toolchain, BuildError> {
    new_toolchain(Path::new("rustc"), Route::Installed)
}

pub(super) fn distribution_toolchain(
    rustc: PathBuf,
    linker: Option<PathBuf>,
) -> Result<Toolchain, BuildError> {
    new_toolchain(&rustc.clone(), Route::Distribution { rustc, linker })
}

fn new_toolchain(rustc: &Path, route: Route) -> Result<Toolchain, BuildError> {
    Ok(Toolchain {
        route,
        version: capture(clean(Command::new(rustc)).arg("-vV"))?,
        sysroot: sysroot(rustc)?,
    })
}

fn sysroot(rustc: &Path) -> Result<PathBuf, BuildError> {
    let answer = capture(clean(Command::new(rustc)).args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(answer.trim()))
}

fn probe_distribution() -> Result<Option<Distribution>, BuildError> {
    let rustc = Path::new(DISTRIBUTION_RUSTC);
    if !rustc.is_file() {
        return Ok(None);
    }
    let answer = capture(clean(Command::new(rustc)).arg("-vV"))?;
    let Some(version) = parse_major_minor(&answer) else {
        return Ok(None);
    };
    let host = answer.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
    let sysroot_folder = sysroot(rustc)?;
    Ok(Some(Distribution {
        rustc: rustc.to_path_buf(),
        version,
        has_sources: sysroot_folder.join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file(),
        linker: probe_linker(&sysroot_folder, &host),
    }))
}

/// Finds a linker for the distribution's compiler, whose libraries are in `sysroot_folder`. Rustc looks for `rust-lld`
/// next to its libraries and on the PATH. If it is in neither place, the active toolchain's copy or a plain `wasm-ld`
/// is named to rustc instead.
fn probe_linker(sysroot_folder: &Path, host: &str) -> Linker {
    let rust_lld_in =
        |sysroot_folder: &Path| sysroot_folder.join("lib/rustlib").join(host).join("bin/rust-lld");
    if rust_lld_in(sysroot_folder).is_file() || find_on_path("rust-lld").is_some() {
        return Linker::FoundByRustc;
    }
    if let Ok(active) = sysroot(Path::new("rustc")) {
        let linker_of_active = rust_lld_in(&active);
        if linker_of_active.is_file() {
            return Linker::Named(linker_of_active);
        }
    }
    find_on_path("wasm-ld").map_or(Linker::Missing, Linker::Named)
}

fn find_on_path(program: &str) -> Option<PathBuf> {
    let path: OsString = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

fn probe_rustup() -> Result<Rustup, BuildError> {
    let Ok(active) = sysroot(Path::new("rustc")) else {
        return Ok(Rustup::Absent);
    };
    // Rustup's toolchains are folders in …/toolchains/; a compiler in another folder is not rustup's.
    let is_rustups = active.parent().is_some_and(|parent| parent.ends_with("toolchains"));
    let (true, Some(name), Some(_)) = (is_rustups, active.file_name(), find_on_path("rustup")) else {
        return Ok(Rustup::Absent);
    };
    if !rustup_may_install(&active) {
        return Ok(Rustup::NotAllowed);
    }
    Ok(Rustup::Allowed { toolchain: name.to_string_lossy().into_owned() })
}

/// Returns whether rustup may install components: `RUSTUP_AUTO_INSTALL` decides, or else rustup's settings file. If
/// neither says anything, rustup may install them.
fn rustup_may_install(active: &Path) -> bool {
    if let Some(value) = std::env::var_os("RUSTUP_AUTO_INSTALL") {
        return value != "0";
    }
    let settings = active
        .ancestors()
        .nth(2)
        .map(|home| home.join("settings.toml"))
        .and_then(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default();
    !settings_forbid(&settings)
}

/// Returns whether the text of rustup's settings file forbids to install components.
fn settings_forbid(settings: &str) -> bool {
    settings.lines().any(|line| {
        line.split_once('=').is_some_and(|(key, value)| {
            key.trim() == "auto_install" && value.trim().trim_matches('"') == "disable"
        })
    })
}

pub(super) fn rustup_target_add(toolchain: &str) -> Result<(), BuildError> {
    capture(clean(Command::new("rustup")).args(["target", "add", TARGET, "--toolchain", toolchain])).map(drop)
}

fn probe_apt() -> Apt {
    if find_on_path("apt-get").is_none() {
        return Apt::Absent;
    }
    if !is_root() {
        return Apt::NotRoot;
    }
    // On a fresh machine, apt's lists may be empty, so `apt_install` chooses between the sets of packages after an
    // update.
    Apt::Offers { packages: DEBIAN_PACKAGES[0].iter().map(|&name| name.to_owned()).collect() }
}

fn is_root() -> bool {
    capture(Command::new("id").arg("-u")).is_ok_and(|answer| answer.trim() == "0")
}

/// Installs `packages`, which are the first set in [`DEBIAN_PACKAGES`]; if that fails, the next set. The error is that
/// of the last set.
pub(super) fn apt_install(packages: &[String]) -> Result<(), BuildError> {
    let apt = |arguments: &[&str]| {
        capture(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments)).map(drop)
    };
    apt(&["update"])?;
    let mut outcome = Ok(());
    let wanted: Vec<&str> = packages.iter().map(String::as_str).collect();
    for set in std::iter::once(wanted.as_slice()).chain(DEBIAN_PACKAGES.into_iter().skip(1)) {
        let mut arguments = vec!["install", "-y", "--no-install-recommends"];
        arguments.extend(set);
        outcome = apt(&arguments);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustups_settings_file_is_understood() {
        assert!(settings_forbid("version = \"12\"\nauto_install = \"disable\"\n"));
        assert!(!settings_forbid("version = \"12\"\nauto_install = \"enable\"\n"));
        assert!(!settings_forbid("version = \"12\"\n"));
    }
}
