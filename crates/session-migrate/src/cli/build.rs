//! The command `build`: the canister's wasms and their Candid interfaces.

use std::path::PathBuf;

use clap::Args;
use comfy_table::Table;
use session_migrate::build::{self, Artifact, Build, Options};

use super::LOSS;
use super::failure::Failure;
use super::table::table;

#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// Which build to make; may be repeated [default: all three].
    #[arg(long = "build", value_name = "legacy|staged|direct")]
    builds: Vec<Build>,
    /// Output folder [default: dist in the source tree].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Cargo.toml of the source tree [default: the tree from which this program was built].
    #[arg(long, value_name = "FILE")]
    manifest_path: Option<PathBuf>,
    /// Overwrite the checked-in Candid interfaces under candid/ with the interfaces of the wasms.
    #[arg(long)]
    update_did: bool,
    /// Exit with code 1 if an interface differs from the checked-in one.
    #[arg(long, conflicts_with = "update_did")]
    check: bool,
}

pub(super) fn run(args: BuildArgs) -> Result<u8, Failure> {
    let mut builds = args.builds;
    builds.sort();
    builds.dedup();
    if builds.is_empty() {
        builds = Build::ALL.into();
    }
    let options = Options { manifest_path: args.manifest_path, out: args.out, update_did: args.update_did };
    let artifacts = build::ensure_with(&builds, &options).map_err(Failure::environment)?;
    say!("{}", artifact_table(&artifacts));
    let mut code = 0;
    for artifact in artifacts.iter().filter(|artifact| !artifact.did_is_checked_in) {
        let build = artifact.build;
        eprintln!(
            "{}: the {build} canister's interface differs from candid/{build}.did; \
             if this is intended, run: cargo migrate build --update-did",
            if args.check { "error" } else { "warning" }
        );
        if args.check {
            code = LOSS;
        }
    }
    Ok(code)
}

fn artifact_table(artifacts: &[Artifact]) -> Table {
    let rows = artifacts.iter().map(|artifact| {
        [
            artifact.build.to_string(),
            artifact.features.join(","),
            artifact.wasm_bytes.to_string(),
            artifact.wasm_gz_bytes.to_string(),
            artifact.sha256.clone(),
        ]
    });
    let header = ["build", "features", "wasm bytes", "gz bytes", "SHA-256 of the gz (module hash)"];
    table(header, rows, [2, 3])
}
