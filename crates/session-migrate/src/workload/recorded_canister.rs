//! The canister and the generated files of a workload. Every call is recorded.

use std::path::Path;
use std::time::Duration;

use candid::Principal;
use candid::utils::ArgumentEncoder;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_bytes::{ByteBuf, Bytes};
use tempfile::TempDir;
use upload_canister::api;
use upload_canister::session::Chunking;

use super::WorkloadError;
use crate::client::{Asset, Canister, ClientError, EncodedCall, Uploader};
use crate::temporary;
use crate::trace::Tape;

/// Maximum pause between two calls. Pauses are whole milliseconds, like the times in a trace.
const MAX_PAUSE_MILLIS: u64 = 2_000;

/// Number of file seeds for each seed of a workload, so that workloads with consecutive seeds have different files.
const FILE_SEEDS: u64 = 1_000_000;

pub(super) struct RecordedCanister<'p> {
    /// The canister itself; calls through it are recorded, too, without a pause before them.
    pub handle: Canister<'p>,
    tape: &'p Tape,
    folder: TempDir,
    rng: ChaCha8Rng,
    /// Number of files generated so far.
    file_count: u64,
    seed: u64,
    pub chunk_size: u32,
}

/// A file that is uploaded in one call.
pub(super) struct WholeFile {
    asset: Asset,
    bytes: Vec<u8>,
    capsule: String,
}

impl WholeFile {
    pub fn argument(&self) -> api::SmallFile<'_> {
        api::SmallFile {
            capsule_id: self.capsule.clone(),
            asset_metadata: self.asset.metadata(),
            idem: format!("key of {}", self.asset.name),
            bytes: Bytes::new(&self.bytes),
            digest: ByteBuf::from(self.asset.sha256),
            hash: None,
        }
    }
}

pub(super) fn controller() -> Principal {
    Principal::self_authenticating("controller of the workload")
}

pub(super) fn client_principal(number: u32) -> Principal {
    Principal::self_authenticating(format!("client {number} of the workload"))
}

impl<'p> RecordedCanister<'p> {
    pub fn new(handle: Canister<'p>, tape: &'p Tape, seed: u64) -> Result<Self, WorkloadError> {
        let folder = temporary::folder().map_err(WorkloadError::Folder)?;
        let chunk_size = handle.upload_config()?.chunk_size;
        Ok(RecordedCanister {
            handle,
            tape,
            folder,
            rng: ChaCha8Rng::seed_from_u64(seed),
            file_count: 0,
            seed,
            chunk_size,
        })
    }

    /// Returns a random number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder does not matter here.
        self.rng.next_u64() % bound
    }

    /// Returns `true` in one of `times` cases, at random.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        crate::rehearse::shuffle(items, &mut self.rng);
    }

    pub fn pause_between_calls(&mut self) {
        let millis = 1 + self.below(MAX_PAUSE_MILLIS);
        self.handle.pic().advance_time(Duration::from_millis(millis));
    }

    /// Returns a seed that no earlier file of the workload has.
    fn next_seed(&mut self) -> u64 {
        self.file_count += 1;
        self.seed.wrapping_mul(FILE_SEEDS).wrapping_add(self.file_count)
    }

    fn generate_file(&mut self, bytes: u64) -> Result<Asset, ClientError> {
        let seed = self.next_seed();
        let name = format!("file-{seed}.bin");
        let path = self.folder.path().join(&name);
        self.write_file(&path, seed, bytes)
            .map_err(|source| ClientError::File { path: path.clone(), source })?;
        Asset::open(&path, name, api::AssetType::Original)
    }

    /// Generates a file chunk by chunk, as it will be sent, so that the tape knows the seed of every chunk.
    fn write_file(&self, path: &Path, seed: u64, bytes: u64) -> std::io::Result<()> {
        use std::io::Write;
        let mut file = std::fs::File::create(path)?;
        let chunking = Chunking::new(bytes, u64::from(self.chunk_size));
        for (offset, length) in (0..chunking.count()).filter_map(|index| chunking.range(index)) {
            file.write_all(&self.tape.generate(seed, offset, length as usize))?;
        }
        file.flush()
    }

    pub fn new_upload(
        &mut self,
        client: Principal,
        capsule: &str,
        bytes: u64,
    ) -> Result<Uploader, ClientError> {
        let asset = self.generate_file(bytes)?;
        let idem = format!("key of {}", asset.name);
        Ok(Uploader::new(client, capsule, asset, idem, self.chunk_size))
    }

    pub fn whole_file(&mut self, capsule: &str, bytes: u64) -> Result<WholeFile, ClientError> {
        let asset = self.generate_file(bytes)?;
        Ok(WholeFile { bytes: asset.chunk(0, self.chunk_size)?, asset, capsule: capsule.to_owned() })
    }

    pub fn create_capsule(&mut self, client: Principal) -> Result<String, ClientError> {
        self.pause_between_calls();
        Ok(self.handle.capsules_create(client, None)?.id)
    }

    /// Makes an update call whose answer only the trace needs.
    pub fn update(
        &mut self,
        caller: Principal,
        method: &'static str,
        args: impl ArgumentEncoder,
    ) -> Result<(), ClientError> {
        self.pause_between_calls();
        ignore_refusal(self.handle.call(caller, EncodedCall::new(method, args)?))
    }

    /// Makes a query call whose answer only the trace needs.
    pub fn query(
        &mut self,
        caller: Principal,
        method: &'static str,
        args: impl ArgumentEncoder,
    ) -> Result<(), ClientError> {
        ignore_refusal(self.handle.query_raw(caller, EncodedCall::new(method, args)?))
    }

    /// Makes an update call with any bytes as its arguments.
    pub fn update_raw(
        &mut self,
        caller: Principal,
        method: &'static str,
        arg: &[u8],
    ) -> Result<(), ClientError> {
        self.pause_between_calls();
        ignore_refusal(self.handle.call(caller, EncodedCall { method, arg: arg.to_vec() }))
    }

    /// Reads what a client can see: the first pages of sessions and capsules, and all memories and bytes of each
    /// capsule.
    pub fn read_everything(&mut self, client: Principal) -> Result<(), ClientError> {
        self.query(client, "uploads_list", (None::<u64>, None::<u32>))?;
        let capsules: Vec<api::Capsule> =
            self.handle.query(client, "capsules_list", (None::<String>, None::<u32>))?;
        for capsule in capsules {
            self.handle.capsules_read(client, &capsule.id)?;
            for memory in self.handle.memories_all(client, &capsule.id)? {
                self.handle.memories_read(client, &memory.id)?;
                let locator = &memory.blob.locator;
                let Ok(meta) = self.handle.blob_get_meta(client, locator) else { continue };
                for index in 0..meta.chunk_count {
                    self.query(client, "blob_read_chunk", (locator, index))?;
                }
                if meta.size > 1 {
                    self.query(client, "blob_read_range", (locator, meta.size / 2, 1u64))?;
                }
            }
        }
        Ok(())
    }

    /// Lets time pass, and the canister's timers run.
    pub fn pass(&mut self, time: Duration) {
        const ROUNDS: u32 = 3;
        self.handle.pass(time, ROUNDS);
    }
}

/// Ignores refusals and rejections, which are answers of the canister; returns errors of the client itself.
pub(super) fn ignore_refusal<T>(result: Result<T, ClientError>) -> Result<(), ClientError> {
    match result {
        Err(
            error @ (ClientError::File { .. } | ClientError::Candid { .. } | ClientError::NotBegun { .. }),
        ) => Err(error),
        _ => Ok(()),
    }
}
