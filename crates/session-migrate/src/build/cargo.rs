//! Runs cargo for the canister.

use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::command::{cargo_command, command_line};
use super::toolchain::{Route, Toolchain};
use super::workspace::{CANISTER_PACKAGE, Workspace};
use super::{Build, BuildError, TARGET};
use crate::progress::Progress;

/// The cargo profile for canisters, from the workspace's manifest.
const PROFILE: &str = "canister";

/// The files that the compiler wrote.
pub(crate) struct CargoOutput {
    /// The compiled wasm, before post-processing.
    pub wasm: PathBuf,
    /// Rustc's list of the module's source files.
    pub dep_info: PathBuf,
}

/// Returns what determines the compiled wasm in addition to the sources: the compiler's version, the arguments of cargo
/// and the flags for rustc. A cached build with another recipe is stale.
pub(crate) fn recipe(build: Build, workspace: &Workspace, toolchain: &Toolchain) -> Vec<String> {
    let mut recipe = vec![toolchain.version.clone()];
    recipe.extend(arguments(build, workspace, toolchain));
    recipe.extend(rustflags(workspace, toolchain));
    recipe
}

fn arguments(build: Build, workspace: &Workspace, toolchain: &Toolchain) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "rustc",
        "--package",
        CANISTER_PACKAGE,
        "--lib",
        // Only the cdylib is built: cargo cannot do link-time optimization if it builds the rlib as well.
        "--crate-type",
        "cdylib",
        "--profile",
        PROFILE,
        "--target",
        TARGET,
        "--no-default-features",
        "--features",
    ]
    .map(str::to_owned)
    .into();
    arguments.push(build.features().join(","));
    arguments.push("--manifest-path".into());
    arguments.push(workspace.root.join("Cargo.toml").display().to_string());
    arguments.push("--target-dir".into());
    arguments.push(workspace.target_dir.display().to_string());
    if matches!(toolchain.route, Route::Distribution { .. }) {
        arguments.push("-Zbuild-std=std,panic_abort".into());
    }
    arguments
}

/// Code generation flags.
///
/// Wasm's vector instructions make BLAKE3 five times cheaper. They would make the SHA-256 of the `sha2` crate more
/// expensive, 80 instructions per byte instead of 77, in its own vector backend as well as if the compiler vectorizes
/// its code. The backend and the vectorization are therefore switched off; the instructions stay on.
const CODEGEN_FLAGS: [&str; 4] = [
    "-Ctarget-feature=+simd128",
    "-Cno-vectorize-loops",
    "-Cno-vectorize-slp",
    "--cfg=sha2_256_backend=\"soft\"",
];

/// Returns [`CODEGEN_FLAGS`], and flags that keep absolute paths out of the wasm, so that the same tree gives the same
/// bytes on every machine.
fn rustflags(workspace: &Workspace, toolchain: &Toolchain) -> Vec<String> {
    let registry = cargo_home().join("registry").join("src");
    let library = toolchain.sysroot.join("lib/rustlib/src/rust");
    let mut remapped = vec![(workspace.root.clone(), "/src".to_owned())];
    // The name of each registry's folder contains a hash of the registry's address, so this level is removed as well.
    if let Ok(entries) = std::fs::read_dir(&registry) {
        let mut folders: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        folders.sort();
        remapped.extend(folders.into_iter().map(|path| (path, "/crates".to_owned())));
    }
    // If the library's folder is a link, the compiler may use either path.
    if let Ok(real) = library.canonicalize() {
        remapped.push((real, "/rust".to_owned()));
    }
    remapped.push((library, "/rust".to_owned()));
    let remap_flags =
        remapped.into_iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    CODEGEN_FLAGS.map(str::to_owned).into_iter().chain(remap_flags).collect()
}

fn cargo_home() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")).join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

/// Compiles one build, forwarding cargo's standard error line by line.
pub(crate) fn run(
    build: Build,
    workspace: &Workspace,
    toolchain: &Toolchain,
    progress: &Progress,
) -> Result<CargoOutput, BuildError> {
    let folder = workspace.target_dir.join(TARGET).join(PROFILE);
    let stem = CANISTER_PACKAGE.replace('-', "_");
    let output =
        CargoOutput { wasm: folder.join(format!("{stem}.wasm")), dep_info: folder.join(format!("{stem}.d")) };
    // The file name of a wasm library contains no hash of its features, so the three builds overwrite one another's
    // file, and cargo may mistake another build's file for this one's. Cargo never considers a missing file fresh.
    for stale in [&output.wasm, &output.dep_info, &folder.join("deps").join(format!("{stem}.wasm"))] {
        remove_if_present(stale)?;
    }
    let mut command = cargo_command();
    command
        .args(arguments(build, workspace, toolchain))
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(workspace, toolchain).join("\u{1f}"))
        .current_dir(&workspace.root)
        .stdin(Stdio::null())
        // Standard output is reserved for the table or JSON that this program prints.
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // Cargo does not write colors into a pipe by default.
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if std::io::stderr().is_terminal() && !is_set("CARGO_TERM_COLOR") && !is_set("NO_COLOR") {
        command.env("CARGO_TERM_COLOR", "always");
    }
    if let Route::Distribution { rustc, linker } = &toolchain.route {
        command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        if let Some(linker) = linker {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let cannot_run = |source| BuildError::Spawn { program: program.clone(), source };
    let mut child = command.spawn().map_err(cannot_run)?;
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            progress.line(&String::from_utf8_lossy(&line));
        }
    }
    let status = child.wait().map_err(cannot_run)?;
    if !status.success() {
        return Err(BuildError::Failed {
            command: command_line(&command),
            status: status.to_string(),
            detail: ", see its messages above".into(),
        });
    }
    Ok(output)
}

fn remove_if_present(path: &Path) -> Result<(), BuildError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(BuildError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
