//! The command `upload`: uploads files to a canister on a live network.

use std::path::PathBuf;

use candid::Principal;
use clap::Args;
use comfy_table::Table;
use session_migrate::client::{Asset, Uploader};
use session_migrate::network::Retry;
use session_migrate::progress::Progress;
use session_migrate::upload::{self, Options, UploadError};
use upload_canister::api;

use super::failure::Failure;
use super::network_args::NetworkArgs;
use super::table::{on_one_line, table};
use super::{ENVIRONMENT, LOSS, USAGE, runtime};

#[derive(Debug, Args)]
pub(super) struct UploadArgs {
    /// Files to upload.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Id of the upload canister.
    #[arg(long, value_name = "ID")]
    canister: Principal,
    /// Capsule to upload into [default: the only capsule that the identity owns, or a new capsule if it owns none].
    #[arg(long, value_name = "ID")]
    capsule: Option<String>,
    /// Maximum number of chunks in flight.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
    #[command(flatten)]
    network: NetworkArgs,
}

/// A file and the result of its upload.
struct Uploaded {
    asset: Asset,
    result: api::UploadFinishResult,
}

pub(super) fn run(args: UploadArgs) -> Result<u8, Failure> {
    let mut uploaded = Vec::new();
    let result = upload_all(args, &mut uploaded);
    // The ids of the uploaded files are printed even if a later file fails.
    if !uploaded.is_empty() {
        say!("{}", upload_table(&uploaded));
    }
    result.map(|()| 0)
}

/// Uploads the files, one after the other, until one fails. Adds each file to `uploaded` once it is uploaded.
fn upload_all(args: UploadArgs, uploaded: &mut Vec<Uploaded>) -> Result<(), Failure> {
    args.network.check()?;
    let progress = Progress::stderr();
    progress.phase("hashing");
    let mut assets = Vec::new();
    for path in &args.files {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        assets.push(Asset::open(path, name, api::AssetType::Original).map_err(Failure::usage)?);
    }
    let runtime = runtime()?;
    let options = Options { parallel: args.parallel.into(), retry_for: args.network.retry_for() };
    let work = async {
        let network = args.network.connect().await?;
        let canister = network.canister(args.canister);
        let retry = Retry::new(options.retry_for, &progress);
        let config = retry.again(|| canister.query_plain::<api::UploadConfig>("upload_config")).await;
        let config = config.map_err(Failure::environment)?;
        let to_failure = |error: UploadError| Failure { code: exit_code(&error), text: error.to_string() };
        let capsule = match args.capsule {
            Some(capsule) => capsule,
            None => upload::own_capsule(&canister, network.caller(), retry).await.map_err(to_failure)?,
        };
        progress.set_total(assets.iter().map(|asset| asset.bytes).sum());
        for asset in assets {
            progress.phase(format!("uploading {}", asset.name));
            let key = upload::idempotency_key(&capsule, &asset);
            let uploader =
                Uploader::new(network.caller(), capsule.clone(), asset.clone(), key, config.chunk_size);
            let result = upload::upload(&canister, uploader, options, &progress).await.map_err(|error| {
                let text = match &error {
                    UploadError::FileChanged { .. } => {
                        format!("{error}; repeat the command to upload it again")
                    }
                    // The canister would refuse the same call again.
                    _ if exit_code(&error) == LOSS => format!("{}: {error}", asset.name),
                    _ => format!("{}: {error}; repeat the command to resume", asset.name),
                };
                Failure { code: exit_code(&error), text }
            })?;
            uploaded.push(Uploaded { asset, result });
        }
        Ok(())
    };
    let result = runtime.block_on(work);
    progress.finish();
    result
}

/// `LOSS`: the canister refuses the upload, or the file has changed.
fn exit_code(error: &UploadError) -> u8 {
    match error {
        UploadError::Client(error) if error.refusal().is_some() => LOSS,
        UploadError::WhichCapsule { .. } => USAGE,
        UploadError::FileChanged { .. } => LOSS,
        _ => ENVIRONMENT,
    }
}

fn upload_table(uploaded: &[Uploaded]) -> Table {
    let rows = uploaded.iter().map(|Uploaded { asset, result }| {
        [
            on_one_line(&asset.name),
            asset.bytes.to_string(),
            result.memory_id.clone(),
            result.blob_id.clone(),
            hex::encode(asset.sha256),
        ]
    });
    table(["file", "bytes", "memory", "blob", "SHA-256"], rows, [1])
}
