//! The three builds and DFINITY's asset canister in comparison: same server, same files, same chunks, one
//! run.

mod assets;
mod report;
mod uploads;

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::cost::Cost;
use crate::error::BenchError;
use crate::metered_canister::{MeteredCanister, Wasm};
use crate::payload::File;

pub use report::{markdown, terminal};

/// Size of each client's file: that of the public release's own measurement, 20.8 MiB.
pub const FILE_BYTES: u64 = 21_827_484;

/// Numbers of clients that upload in parallel, each its own file.
pub const CLIENTS: [u32; 3] = [1, 4, 16];

/// How often every load runs, on the canisters alternately; the fastest round counts, since other load on the machine
/// can only slow a round down.
const ROUNDS: u32 = 3;

/// The public release's own figures, MB/s on a local replica: one file of 20.8 MiB, and four files at the same time.
pub const ORIGIN_MB_PER_S: [f64; 2] = [0.62, 0.50];

/// A file in memory, so that generating it takes no time while others are measured.
pub struct Content {
    /// Its name, unique among the files of a run.
    pub name: String,
    /// Its chunks.
    pub chunks: Vec<Vec<u8>>,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// What it was made from.
    pub file: File,
}

/// A canister that accepts files, on a separate instance.
pub trait Peer: Sync {
    /// Returns the canister.
    fn canister(&self) -> &MeteredCanister;

    /// Uploads a file from begin to finish; returns the key to read it by.
    fn upload(&self, content: &Content) -> Result<String, BenchError>;

    /// Reads all stored bytes of a file.
    fn read(&self, key: &str, sha256: [u8; 32]) -> Result<Vec<u8>, BenchError>;

    /// Upgrades the canister.
    fn upgrade(&self) -> Result<(), BenchError>;
}

/// What several clients did together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Number of clients.
    pub clients: u32,
    /// Bytes of all files.
    pub bytes: u64,
    /// From the first begin to the last finish, seconds on this machine.
    pub seconds: f64,
    /// What the canister used.
    pub cost: Cost,
}

impl Load {
    /// Returns millions of bytes per second, for all clients together.
    pub fn mb_per_s(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds
    }

    /// Returns millions of instructions per MiB.
    pub fn instructions_per_mib(&self) -> f64 {
        self.cost.instructions as f64 / 1e6 / (self.bytes as f64 / (1 << 20) as f64)
    }

    /// Returns the bytes written to stable memory per byte of the files.
    pub fn written_per_byte(&self) -> f64 {
        self.cost.stable_bytes_written as f64 / self.bytes as f64
    }
}

/// One canister's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerFigures {
    /// Its name.
    pub name: String,
    /// One for each number of clients: the fastest of several.
    pub loads: Vec<Load>,
    /// The upgrade that follows the upload of one client.
    pub upgrade: Cost,
}

impl PeerFigures {
    /// Keeps a load unless there is a faster one.
    fn keep(&mut self, load: Load) {
        match self.loads.iter_mut().find(|known| known.clients == load.clients) {
            Some(known) if known.seconds <= load.seconds => {}
            Some(known) => *known = load,
            None => self.loads.push(load),
        }
    }
}

/// A way to get a fresh canister of one kind.
type Install<'w> = Box<dyn Fn() -> Result<Box<dyn Peer>, BenchError> + 'w>;

/// Runs every load, on the canisters alternately; calls `done` after each load.
///
/// # Errors
/// If a canister cannot be built or installed, a call fails, or a file that is read back differs.
pub fn run(wasms: &[Wasm], done: &dyn Fn(&str, &Load)) -> Result<Vec<PeerFigures>, BenchError> {
    let most = CLIENTS.into_iter().max().unwrap_or_default();
    let contents: Vec<Content> = (0..most).map(content).collect();
    let module = assets::module()?;
    let mut peers: Vec<(&str, Install<'_>)> = Vec::new();
    for wasm in wasms {
        let install = move || Ok(Box::new(uploads::Uploads::install(wasm)?) as Box<dyn Peer>);
        peers.push((wasm.build.name(), Box::new(install)));
    }
    let install = || Ok(Box::new(assets::Assets::install(module.clone())?) as Box<dyn Peer>);
    peers.push((assets::NAME, Box::new(install)));

    let mut figures: Vec<PeerFigures> = peers
        .iter()
        .map(|(name, _)| PeerFigures {
            name: (*name).to_owned(),
            loads: Vec::new(),
            upgrade: Cost::default(),
        })
        .collect();
    for _ in 0..ROUNDS {
        for clients in CLIENTS {
            for ((name, install), figures) in peers.iter().zip(&mut figures) {
                let load = measure(figures, install, &contents[..clients as usize])?;
                done(name, &load);
                figures.keep(load);
            }
        }
    }
    Ok(figures)
}

fn content(number: u32) -> Content {
    let file = File { bytes: FILE_BYTES, seed: u64::from(number) + 1 };
    let chunks = (0..file.chunks()).map(|index| file.chunk(index)).collect();
    Content { name: format!("/file-{number}"), chunks, sha256: file.sha256(), file }
}

/// Measures one load on a fresh canister and, after that of one client, an upgrade.
fn measure(
    figures: &mut PeerFigures,
    install: &Install<'_>,
    contents: &[Content],
) -> Result<Load, BenchError> {
    let peer = install()?;
    peer.canister().cost()?;
    let load = upload_all(peer.as_ref(), contents)?;
    if load.clients == 1 {
        peer.upgrade()?;
        figures.upgrade = peer.canister().cost()?;
    }
    Ok(load)
}

/// Uploads from one thread per client, each with its own file; then reads every file back.
fn upload_all(peer: &dyn Peer, contents: &[Content]) -> Result<Load, BenchError> {
    let began = Instant::now();
    let keys: Vec<Result<String, BenchError>> = std::thread::scope(|scope| {
        let clients: Vec<_> =
            contents.iter().map(|content| scope.spawn(move || peer.upload(content))).collect();
        let join = |client: std::thread::ScopedJoinHandle<'_, _>| {
            client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        clients.into_iter().map(join).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    let cost = peer.canister().cost()?;
    for (key, content) in keys.into_iter().zip(contents) {
        let read = peer.read(&key?, content.sha256)?;
        let same = read.len() as u64 == content.file.bytes && content.chunks.iter().flatten().eq(read.iter());
        peer.canister().expect(
            "the file read back",
            "the same bytes",
            if same { "the same bytes" } else { "others" },
        )?;
    }
    // Reading back is not part of the upload.
    peer.canister().cost()?;
    let bytes = contents.iter().map(|content| content.file.bytes).sum();
    Ok(Load { clients: contents.len() as u32, bytes, seconds, cost })
}
