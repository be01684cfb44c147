//! The command `snapshot`: downloads, verifies and uploads snapshots of a live canister.

use std::path::{Path, PathBuf};

use candid::Principal;
use clap::{Args, Subcommand};
use session_migrate::progress::Progress;
use session_migrate::snapshot::{FileEntry, Manifest, SnapshotError, check_folder};
use session_migrate::transfer::{self, Options, SnapshotChoice, TransferError};

use super::failure::Failure;
use super::network_args::NetworkArgs;
use super::table::table;
use super::{ENVIRONMENT, LOSS, USAGE, runtime};

#[derive(Debug, Args)]
pub(super) struct SnapshotArgs {
    #[command(subcommand)]
    command: SnapshotCommand,
}

#[derive(Debug, Subcommand)]
enum SnapshotCommand {
    /// Download a snapshot into a folder and write a manifest next to it; repeat the command to resume.
    Download(DownloadArgs),
    /// Compare every byte of a folder with its manifest.
    Verify(VerifyArgs),
    /// Upload a folder as a new snapshot of a canister; repeat the command to resume.
    Upload(UploadArgs),
}

#[derive(Debug, Args)]
struct DownloadArgs {
    /// Id of the canister to download from.
    canister: Principal,
    /// Folder to write, in the format of `icp canister snapshot download`.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Id of the snapshot [default: the snapshot that is already in the folder, otherwise the latest one].
    #[arg(long, value_name = "ID", value_parser = parse_snapshot_id)]
    snapshot: Option<String>,
    /// Take a new snapshot first, while the canister keeps running; an unfinished download is only resumed.
    #[arg(long, conflicts_with = "snapshot")]
    take: bool,
    #[command(flatten)]
    transfer: TransferArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// A snapshot folder.
    folder: PathBuf,
}

#[derive(Debug, Args)]
struct UploadArgs {
    /// A snapshot folder.
    folder: PathBuf,
    /// Id of the canister to upload to.
    #[arg(long, value_name = "ID")]
    canister: Principal,
    /// Id of a snapshot to replace.
    #[arg(long, value_name = "ID", value_parser = parse_snapshot_id)]
    replace: Option<String>,
    #[command(flatten)]
    transfer: TransferArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Debug, Args)]
struct TransferArgs {
    /// Number of slices in flight, of 2 MB each.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
}

/// Parses a snapshot id: hexadecimal digits, returned in lower case.
pub(super) fn parse_snapshot_id(text: &str) -> Result<String, String> {
    match hex::decode(text) {
        Ok(id) if !id.is_empty() => Ok(text.to_ascii_lowercase()),
        _ => Err("expected hexadecimal digits, as `icp canister snapshot list` prints them".into()),
    }
}

pub(super) fn run(args: SnapshotArgs) -> Result<u8, Failure> {
    let done = match args.command {
        SnapshotCommand::Download(args) => download(&args),
        SnapshotCommand::Verify(args) => verify(&args.folder),
        SnapshotCommand::Upload(args) => upload(&args),
    };
    done.map(|()| 0)
}

/// Runs `work` to its end in a new runtime, with progress on stderr.
fn run_transfer<T>(work: impl AsyncFnOnce(&Progress) -> Result<T, Failure>) -> Result<T, Failure> {
    let runtime = runtime()?;
    let progress = Progress::stderr();
    let result = runtime.block_on(work(&progress));
    progress.finish();
    result
}

fn download(args: &DownloadArgs) -> Result<(), Failure> {
    args.network.check()?;
    let options = Options { parallel: args.transfer.parallel.into(), retry_for: args.network.retry_for() };
    let which = match &args.snapshot {
        Some(id) => SnapshotChoice::Id(id.clone()),
        None if args.take => SnapshotChoice::New,
        None => SnapshotChoice::Latest,
    };
    let downloaded = run_transfer(async |progress| {
        let network = args.network.connect().await?;
        transfer::download(&network, args.canister, &which, &args.out, options, progress)
            .await
            .map_err(transfer_failure)
    })?;
    print(&args.out, &downloaded.manifest);
    if downloaded.was_complete {
        say!("the folder was already complete; every byte matches the manifest");
    }
    Ok(())
}

fn verify(folder: &Path) -> Result<(), Failure> {
    let progress = Progress::stderr();
    progress.phase("verifying");
    let manifest = Manifest::next_to(folder).map_err(snapshot_failure)?.ok_or_else(|| {
        let (path, manifest) = (folder.to_path_buf(), Manifest::path(folder));
        snapshot_failure(SnapshotError::NoManifest { path, manifest })
    })?;
    check_folder(folder).map_err(snapshot_failure)?;
    progress.set_total(manifest.bytes());
    manifest.verify(folder, &mut |bytes| progress.add_bytes(bytes)).map_err(snapshot_failure)?;
    progress.finish();
    print(folder, &manifest);
    say!("every byte matches the manifest");
    Ok(())
}

fn upload(args: &UploadArgs) -> Result<(), Failure> {
    args.network.check()?;
    let options = Options { parallel: args.transfer.parallel.into(), retry_for: args.network.retry_for() };
    // `parse_snapshot_id` has checked the digits.
    let replace = args.replace.as_ref().and_then(|id| hex::decode(id).ok());
    let uploaded = run_transfer(async |progress| {
        let network = args.network.connect().await?;
        transfer::upload(&network, args.canister, &args.folder, replace.as_deref(), options, progress)
            .await
            .map_err(transfer_failure)
    })?;
    match &uploaded.manifest {
        Some(manifest) => print(&args.folder, manifest),
        None => eprintln!("note: {} is unverified: it has no manifest", args.folder.display()),
    }
    say!("uploaded as snapshot {} of {}", uploaded.snapshot, args.canister);
    say!(
        "to restore it, with the canister stopped: icp canister snapshot restore {} {}",
        args.canister,
        uploaded.snapshot
    );
    Ok(())
}

fn print(folder: &Path, manifest: &Manifest) {
    say!("{}: snapshot {} of {}", folder.display(), manifest.snapshot, manifest.canister);
    say!("manifest: {}", Manifest::path(folder).display());
    say!("module hash: {}", manifest.module_hash.as_deref().unwrap_or("none"));
    let rows = manifest
        .files
        .iter()
        .map(|FileEntry { path, bytes, sha256 }| [path.clone(), bytes.to_string(), sha256.clone()]);
    say!("{}", table(["file", "bytes", "SHA-256"], rows, [1]));
}

fn snapshot_failure(error: SnapshotError) -> Failure {
    Failure { code: snapshot_code(&error), text: error.to_string() }
}

fn snapshot_code(error: &SnapshotError) -> u8 {
    match error {
        SnapshotError::Differs { .. } => LOSS,
        _ if error.is_usage() => USAGE,
        _ => ENVIRONMENT,
    }
}

fn transfer_failure(error: TransferError) -> Failure {
    Failure { code: transfer_code(&error), text: error.to_string() }
}

fn transfer_code(error: &TransferError) -> u8 {
    match error {
        TransferError::Snapshot(error) => snapshot_code(error),
        TransferError::AfterTaking { source, .. } => transfer_code(source),
        _ if error.is_usage() => USAGE,
        _ => ENVIRONMENT,
    }
}
