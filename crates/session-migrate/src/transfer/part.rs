//! The three large files of a snapshot folder.

use serde::{Deserialize, Serialize};

use ic_management_canister_types::{
    ReadCanisterSnapshotMetadataResult, SnapshotDataKind, SnapshotDataOffset,
};

use super::SLICE_BYTES;
use crate::snapshot::{STABLE_MEMORY, WASM_MEMORY, WASM_MODULE};

/// One of the large files; `Heap` is the wasm memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Module,
    Heap,
    Stable,
}

impl Part {
    pub const ALL: [Part; 3] = [Part::Module, Part::Heap, Part::Stable];

    pub fn file(self) -> &'static str {
        match self {
            Part::Module => WASM_MODULE,
            Part::Heap => WASM_MEMORY,
            Part::Stable => STABLE_MEMORY,
        }
    }

    pub fn bytes(self, metadata: &ReadCanisterSnapshotMetadataResult) -> u64 {
        match self {
            Part::Module => metadata.wasm_module_size,
            Part::Heap => metadata.wasm_memory_size,
            Part::Stable => metadata.stable_memory_size,
        }
    }

    /// Returns the argument that selects the bytes to download.
    pub fn data_kind(self, offset: u64, size: u64) -> SnapshotDataKind {
        match self {
            Part::Module => SnapshotDataKind::WasmModule { offset, size },
            Part::Heap => SnapshotDataKind::WasmMemory { offset, size },
            Part::Stable => SnapshotDataKind::StableMemory { offset, size },
        }
    }

    /// Returns the argument that says where uploaded bytes belong.
    pub fn data_offset(self, offset: u64) -> SnapshotDataOffset {
        match self {
            Part::Module => SnapshotDataOffset::WasmModule { offset },
            Part::Heap => SnapshotDataOffset::WasmMemory { offset },
            Part::Stable => SnapshotDataOffset::StableMemory { offset },
        }
    }
}

/// Divides the bytes `from..end` into slices, each with offset and length.
pub(super) fn slices(from: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut offset = from;
    std::iter::from_fn(move || {
        let len = end.saturating_sub(offset).min(SLICE_BYTES);
        let slice = (offset, len);
        offset += len;
        (len > 0).then_some(slice)
    })
}

/// How far a file is transferred: every byte before the offset `frontier`. The format is that of `icp`, which also
/// records slices after this offset, in `ahead`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartProgress {
    pub frontier: u64,
    #[serde(default)]
    ahead: Vec<u64>,
}

/// How far each file is transferred, in the format of `icp`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TransferProgress {
    wasm_module: PartProgress,
    wasm_memory: PartProgress,
    stable_memory: PartProgress,
}

impl TransferProgress {
    pub fn frontier_mut(&mut self, part: Part) -> &mut u64 {
        let reached = match part {
            Part::Module => &mut self.wasm_module,
            Part::Heap => &mut self.wasm_memory,
            Part::Stable => &mut self.stable_memory,
        };
        &mut reached.frontier
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_every_byte_once() {
        assert_eq!(slices(0, 0).count(), 0);
        assert_eq!(slices(7, 7).count(), 0);
        assert_eq!(slices(0, SLICE_BYTES).collect::<Vec<_>>(), [(0, SLICE_BYTES)]);
        assert_eq!(slices(5, SLICE_BYTES + 6).collect::<Vec<_>>(), [(5, SLICE_BYTES), (SLICE_BYTES + 5, 1)]);
    }
}
