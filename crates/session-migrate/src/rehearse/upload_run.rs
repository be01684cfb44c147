//! The uploads of a rehearsal, and the facts that are recorded about each.

use std::collections::BTreeSet;

use candid::Principal;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::stop_points::{self, StopPoint};
use super::{Options, RehearseError};
use crate::client::{Asset, Canister, ClientError, Uploader};

/// An upload, and what is recorded about it.
pub(super) struct UploadRun {
    /// Number of the client: from 1 for new clients, from 1,001 for those of uploads in flight in a snapshot.
    pub client: u32,
    /// The upload as its client sees it.
    pub uploader: Uploader,
    /// The point at which the upload stops before the first upgrade.
    pub stop: StopPoint,
    /// Whether the upload stays unfinished until the upgrade to the direct build.
    pub stays: bool,
    /// Stored chunks whose reply the client has missed.
    pub unseen: BTreeSet<u32>,
    /// Number of stored chunks before the first upgrade.
    pub chunks_before: u32,
    /// SHA-256 of the bytes that were read back; `None` if nothing was.
    pub read_back: Option<[u8; 32]>,
    pub problems: Vec<String>,
    /// Whether the client repeats begin when it reconnects. It does not for sessions of the first public release, which
    /// a begin does not find by their idempotency key.
    pub repeats_begin: bool,
    /// Whether the upload was in flight in the snapshot.
    pub is_from_snapshot: bool,
}

impl UploadRun {
    /// Returns the upload of a new client, before a stop point is assigned to it.
    pub fn new(client: u32, uploader: Uploader) -> Self {
        Self {
            client,
            uploader,
            stop: StopPoint::NotBegun,
            stays: false,
            unseen: BTreeSet::new(),
            chunks_before: 0,
            read_back: None,
            problems: Vec::new(),
            repeats_begin: true,
            is_from_snapshot: false,
        }
    }

    pub fn title(&self) -> String {
        format!("client {} {}", self.client, self.uploader.asset.name)
    }

    pub fn record_problem(&mut self, what: impl std::fmt::Display) {
        self.problems.push(what.to_string());
    }

    /// Returns whether the upload has no problem so far; an upload with a problem is not continued.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// Returns whether the client knows of an open session for the upload.
    pub fn is_in_flight(&self) -> bool {
        let uploader = &self.uploader;
        uploader.session().is_some() && uploader.result().is_none() && !uploader.aborted()
    }

    /// Returns the chunks that the canister must have: the acknowledged ones, and those whose reply was lost.
    pub fn must_be_stored(&self) -> BTreeSet<u32> {
        self.uploader.stored().union(&self.unseen).copied().collect()
    }
}

/// All uploads, and what is recorded about the rehearsal as a whole.
pub(super) struct Clients {
    /// The uploads, client by client.
    pub runs: Vec<UploadRun>,
    pub rng: ChaCha8Rng,
    /// What could not be rehearsed.
    pub notes: Vec<String>,
    /// Problems that do not concern a single upload.
    pub problems: Vec<String>,
    /// Ids of the memories that existed before the rehearsal.
    pub known_memories: BTreeSet<String>,
}

impl Clients {
    /// Creates a capsule for every client, and assigns a stop point to every upload.
    pub fn assemble(
        canister: &Canister<'_>,
        options: &Options,
        assets: Vec<Vec<Asset>>,
    ) -> Result<Clients, RehearseError> {
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        // A stream that no client's file uses.
        rng.set_stream(u64::MAX);
        let chunk_size = canister.upload_config()?.chunk_size;
        let mut runs = Vec::new();
        for (number, files) in (1u32..).zip(assets) {
            let principal = client_principal(options.seed, number);
            let capsule = canister.capsules_create(principal, None)?.id;
            for asset in files {
                let idem = format!("upload-{number}-{}-{:016x}", runs.len(), rng.next_u64());
                let mut uploader = Uploader::new(principal, &capsule, asset, idem, chunk_size);
                // Every second client sends chunk hashes, so that chunks with and without a hash occur.
                uploader.hash_chunks = number % 2 == 0;
                runs.push(UploadRun::new(number, uploader));
            }
        }
        let chunks: Vec<u32> = runs.iter().map(|run| run.uploader.chunks()).collect();
        let points = stop_points::assign(&chunks);
        let notes = stop_points::unassigned_notes(&chunks, &points);
        let mut open_count = 0;
        for (run, point) in runs.iter_mut().zip(points) {
            run.stop = point;
            if point.is_in_flight() || point == StopPoint::NotBegun {
                // Every second upload, starting with the first, is still open when the direct build is installed.
                run.stays = open_count % 2 == 0;
                open_count += 1;
            }
        }
        Ok(Clients { runs, rng, notes, problems: Vec::new(), known_memories: BTreeSet::new() })
    }

    /// Records the error of a call that belongs to no upload as a general problem, and returns `None` then.
    pub fn ok_or_problem<T>(&mut self, answer: Result<T, ClientError>) -> Option<T> {
        answer.map_err(|error| self.problems.push(error.to_string())).ok()
    }

    /// Returns the bytes to send and to read back, for the progress bar. Aborted uploads do not count.
    pub fn bytes_to_move(&self) -> u64 {
        self.runs
            .iter()
            .filter(|run| run.stop != StopPoint::Aborted)
            .map(|run| 2 * run.uploader.asset.bytes)
            .sum()
    }

    /// Returns the clients' numbers, principals and capsules, each once, since the uploads are ordered by client.
    pub fn principals(&self) -> Vec<(u32, Principal, String)> {
        let mut clients: Vec<_> = self
            .runs
            .iter()
            .map(|run| {
                let uploader = &run.uploader;
                (run.client, uploader.client, uploader.capsule.clone())
            })
            .collect();
        clients.dedup();
        clients
    }
}

fn client_principal(seed: u64, number: u32) -> Principal {
    Principal::self_authenticating(format!("client {number} of rehearsal {seed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_principal_the_same_in_every_run() {
        assert_eq!(client_principal(1, 1), client_principal(1, 1));
        assert_ne!(client_principal(1, 1), client_principal(1, 2));
        assert_ne!(client_principal(1, 1), client_principal(2, 1));
        assert_ne!(client_principal(1, 1), Principal::anonymous());
    }
}
