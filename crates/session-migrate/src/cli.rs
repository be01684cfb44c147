//! The commands, their options, and how their outcomes become exit codes and lines on the terminal.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use session_migrate::build::{self, Artifact, Build, Options};

const LOSS: u8 = 1;
const USAGE: u8 = 2;
const ENVIRONMENT: u8 = 3;

/// Builds, rehearses and proves the staged upgrade of an upload canister.
#[derive(Debug, Parser)]
#[command(name = "session-migrate", version, about)]
#[command(
    after_help = "Exit codes: 0 pass, 1 a loss or difference was found, 2 wrong usage or input, 3 environment"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the canister's wasms and their Candid interfaces.
    Build(BuildArgs),
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// Which build to make; may be repeated [default: all three].
    #[arg(long = "build", value_name = "legacy|staged|direct")]
    builds: Vec<Build>,
    /// The folder for the finished files [default: dist in the source tree].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// The Cargo.toml of the source tree [default: the tree this program was built from].
    #[arg(long, value_name = "FILE")]
    manifest_path: Option<PathBuf>,
    /// Write the Candid interfaces of the wasms over the ones checked in under candid/.
    #[arg(long)]
    update_did: bool,
    /// Exit with 1 when an interface differs from the checked-in one.
    #[arg(long, conflicts_with = "update_did")]
    check: bool,
}

/// Parses the command line, runs the command, and returns the exit code.
pub fn run() -> ExitCode {
    let code = match Cli::parse().command {
        Command::Build(args) => run_build(args),
    };
    ExitCode::from(code)
}

/// One line on stderr, then the code.
fn fail(code: u8, error: impl std::fmt::Display) -> u8 {
    eprintln!("error: {error}");
    code
}

fn run_build(args: BuildArgs) -> u8 {
    let mut builds = args.builds;
    builds.sort();
    builds.dedup();
    if builds.is_empty() {
        builds = Build::ALL.into();
    }
    let options = Options { manifest_path: args.manifest_path, out: args.out, update_did: args.update_did };
    let artifacts = match build::ensure_with(&builds, &options) {
        Ok(artifacts) => artifacts,
        Err(error) => return fail(ENVIRONMENT, error),
    };
    println!("{}", artifact_table(&artifacts));
    let mut code = 0;
    for artifact in artifacts.iter().filter(|artifact| !artifact.did_is_checked_in) {
        let build = artifact.build;
        eprintln!(
            "{}: the {build} canister's interface differs from candid/{build}.did; \
             if that is meant, run: cargo migrate build --update-did",
            if args.check { "error" } else { "warning" }
        );
        if args.check {
            code = LOSS;
        }
    }
    code
}

fn artifact_table(artifacts: &[Artifact]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header([
        "build",
        "features",
        "wasm bytes",
        "gz bytes",
        "SHA-256 of the gz (module hash)",
    ]);
    for artifact in artifacts {
        table.add_row([
            artifact.build.to_string(),
            artifact.features.join(","),
            artifact.wasm_bytes.to_string(),
            artifact.wasm_gz_bytes.to_string(),
            artifact.sha256.clone(),
        ]);
    }
    for column in [2, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
