//! Uploads of large files by several clients at the same time, with the time that they take on this machine.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::peer::{Content, Peer, Stored};
use super::{CLIENTS, FILE_BYTES, Install, PeerFigures};
use crate::cost::Cost;
use crate::error::BenchError;

/// Number of rounds. Each round measures every load once on each canister. The fastest measurement of a load counts,
/// since other programs on the machine can only slow it down.
const ROUNDS: u32 = 3;

/// The figures of a load: one or more clients that upload at the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Number of clients.
    pub clients: u32,
    /// Bytes of all files.
    pub bytes: u64,
    /// Time from the first begin to the last finish, in seconds on this machine.
    pub seconds: f64,
    /// The cost of the uploads.
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

/// Measures the loads of [`CLIENTS`] on one canister after the other; calls `done` after each load.
pub fn measure(peers: &[(&str, Install<'_>)], done: &dyn Fn(&str)) -> Result<Vec<PeerFigures>, BenchError> {
    let most = CLIENTS.into_iter().max().unwrap_or_default();
    let contents: Vec<Content> =
        (0..most).map(|number| Content::new(u64::from(number), FILE_BYTES)).collect();
    let mut figures: Vec<PeerFigures> = peers.iter().map(|(name, _)| PeerFigures::of(name)).collect();
    for _ in 0..ROUNDS {
        for clients in CLIENTS {
            for ((name, install), figures) in peers.iter().zip(&mut figures) {
                let load = measure_one(figures, install, &contents[..clients as usize])?;
                done(&format!("{name}, {clients} clients: {:.1} s", load.seconds));
                figures.keep_fastest(load);
            }
        }
    }
    Ok(figures)
}

/// Measures one load on a fresh canister; after the load of a single client, also an upgrade, whose cost it puts into
/// `figures`.
fn measure_one(
    figures: &mut PeerFigures,
    install: &Install<'_>,
    contents: &[Content],
) -> Result<Load, BenchError> {
    let peer = install()?;
    peer.canister().take_cost()?;
    let load = upload_all(peer.as_ref(), contents)?;
    if load.clients == 1 {
        peer.upgrade()?;
        figures.upgrade = peer.canister().take_cost()?;
    }
    Ok(load)
}

/// Uploads each file from a thread of its own; then reads the files back, and compares them.
fn upload_all(peer: &dyn Peer, contents: &[Content]) -> Result<Load, BenchError> {
    let began = Instant::now();
    let stored: Vec<Result<Stored, BenchError>> = std::thread::scope(|scope| {
        let clients: Vec<_> =
            contents.iter().map(|content| scope.spawn(move || peer.upload(content))).collect();
        let join = |client: std::thread::ScopedJoinHandle<'_, _>| {
            client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        clients.into_iter().map(join).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    let cost = peer.canister().take_cost()?;
    for (stored, content) in stored.into_iter().zip(contents) {
        let read = peer.read(&stored?)?;
        let same = read.len() as u64 == content.spec.bytes && content.chunks.iter().flatten().eq(read.iter());
        peer.canister().check_equal(
            "the file read back",
            "the same bytes",
            if same { "the same bytes" } else { "different bytes" },
        )?;
    }
    // The cost of reading back is discarded.
    peer.canister().take_cost()?;
    let bytes = contents.iter().map(|content| content.spec.bytes).sum();
    Ok(Load { clients: contents.len() as u32, bytes, seconds, cost })
}
