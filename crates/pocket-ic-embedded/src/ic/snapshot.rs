//! Snapshots of a canister: taken from the canister or uploaded piece by piece, and read piece by piece.
//!
//! Reading and writing snapshot folders is in `snapshot_dir.rs`; access is checked in `management/snapshots.rs`.

use super::chunks::ChunkStore;
use super::error::UserError;
use super::replies::SnapshotMetadata;
use crate::engine::{
    CanisterState, GlobalValue, Heap, MAX_MODULE_BYTES, MAX_STABLE_BYTES, MAX_WASM_MEMORY, StableMemory,
    WASM_PAGE,
};
use candid::{Nat, Principal, Reserved};
use ic_management_canister_types::{
    CanisterTimer, ChunkHash, OnLowWasmMemoryHookStatus, Snapshot as SnapshotSummary, SnapshotDataKind,
    SnapshotDataOffset, SnapshotMetadataGlobal, SnapshotSource, UploadCanisterSnapshotMetadataArgs,
};
use num_traits::ToPrimitive;
use pocket_ic::ErrorCode;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;

/// Maximum number of snapshots of one canister, as on the IC.
pub const MAX_SNAPSHOTS: usize = 10;
/// Maximum number of bytes that one management call reads from a snapshot's module, wasm memory or stable memory.
pub const MAX_SLICE_BYTES: u64 = 2_000_000;
const MAX_CERTIFIED_DATA_BYTES: u64 = 32;

/// The snapshots of one canister by id, in order of creation.
#[derive(Clone, Debug, Default)]
pub struct SnapshotStore {
    snapshots: BTreeMap<Vec<u8>, Snapshot>,
    next_number: u64,
}

impl SnapshotStore {
    /// Stores a snapshot under a new id: the canister's id and a counter. First removes `replaced`, which must exist.
    pub fn insert(
        &mut self,
        canister: Principal,
        snapshot: Snapshot,
        replaced: Option<&[u8]>,
    ) -> Result<Vec<u8>, UserError> {
        if let Some(id) = replaced {
            self.get(canister, id)?;
        } else if self.snapshots.len() >= MAX_SNAPSHOTS {
            return Err(UserError::rejected(format!(
                "Canister {canister} has reached the maximum number of snapshots allowed: {MAX_SNAPSHOTS}."
            )));
        }
        if let Some(id) = replaced {
            self.snapshots.remove(id);
        }
        let id = [canister.as_slice(), &self.next_number.to_be_bytes()].concat();
        self.next_number += 1;
        self.snapshots.insert(id.clone(), snapshot);
        Ok(id)
    }

    /// Returns a snapshot; `canister` is only named in the error. The same holds for the next two functions.
    pub fn get(&self, canister: Principal, id: &[u8]) -> Result<&Snapshot, UserError> {
        self.snapshots.get(id).ok_or_else(|| snapshot_not_found(canister, id))
    }

    pub fn get_mut(&mut self, canister: Principal, id: &[u8]) -> Result<&mut Snapshot, UserError> {
        self.snapshots.get_mut(id).ok_or_else(|| snapshot_not_found(canister, id))
    }

    pub fn remove(&mut self, canister: Principal, id: &[u8]) -> Result<(), UserError> {
        match self.snapshots.remove(id) {
            Some(_) => Ok(()),
            None => Err(snapshot_not_found(canister, id)),
        }
    }

    pub fn list(&self) -> Vec<SnapshotSummary> {
        self.snapshots.iter().map(|(id, snapshot)| snapshot.summary(id.clone())).collect()
    }

    pub fn bytes(&self) -> u64 {
        self.snapshots.values().map(Snapshot::total_size).sum()
    }
}

pub(super) fn snapshot_not_found(canister: Principal, id: &[u8]) -> UserError {
    UserError::new(
        ErrorCode::CanisterSnapshotNotFound,
        format!("Could not find the snapshot ID {} for canister {canister}.", hex::encode(id)),
    )
}

/// Module, heap, globals and stable memory: taken from the canister, or uploaded.
#[derive(Clone, Debug)]
pub(super) enum Contents {
    Taken(CanisterState),
    Uploaded { module: Vec<u8>, heap: Heap, stable: StableMemory, globals: Vec<GlobalValue> },
}

/// A snapshot. Whether the parts of an uploaded one fit each other is checked only when it is loaded.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) contents: Contents,
    /// The chunk store when the snapshot was taken, or the uploaded chunks.
    pub chunks: ChunkStore,
    pub certified_data: Vec<u8>,
    /// The global timer. Loading a snapshot sets the canister's timer only if the snapshot was uploaded and this is not
    /// `None`.
    pub global_timer: Option<CanisterTimer>,
    /// The status of the low-memory hook; used like the global timer.
    pub hook_status: Option<OnLowWasmMemoryHookStatus>,
    /// The canister's version when the snapshot was taken or its upload began.
    pub version: u64,
    /// When the snapshot was taken or its upload began, nanoseconds since 1970.
    pub taken_at: u64,
}

impl Snapshot {
    /// Returns a snapshot of the declared sizes that consists of zeros, to be filled with [`Self::write`]. `version` is
    /// the canister's.
    pub fn with_declared_sizes(
        args: &UploadCanisterSnapshotMetadataArgs,
        version: u64,
        now: u64,
    ) -> Result<Self, UserError> {
        let module = checked_size("wasm_module_size", args.wasm_module_size, MAX_MODULE_BYTES)?;
        let heap_pages = whole_pages("wasm_memory_size", args.wasm_memory_size)?;
        if args.wasm_memory_size > MAX_WASM_MEMORY {
            return Err(out_of_range("wasm_memory_size", args.wasm_memory_size, MAX_WASM_MEMORY));
        }
        let stable_pages = whole_pages("stable_memory_size", args.stable_memory_size)?;
        let mut stable = StableMemory::new();
        if stable.grow(stable_pages, MAX_STABLE_BYTES).is_none() {
            return Err(out_of_range("stable_memory_size", args.stable_memory_size, MAX_STABLE_BYTES));
        }
        let certified_bytes = args.certified_data.len() as u64;
        if certified_bytes > MAX_CERTIFIED_DATA_BYTES {
            return Err(out_of_range("certified_data", certified_bytes, MAX_CERTIFIED_DATA_BYTES));
        }
        Ok(Self {
            contents: Contents::Uploaded {
                module: vec![0; module],
                heap: Heap::zeroed(heap_pages),
                stable,
                globals: args.globals.iter().map(global_from_wire).collect::<Result<_, _>>()?,
            },
            chunks: ChunkStore::default(),
            certified_data: args.certified_data.clone(),
            global_timer: args.global_timer.clone(),
            hook_status: args.on_low_wasm_memory_hook_status.clone(),
            version,
            taken_at: now,
        })
    }

    pub fn source(&self) -> SnapshotSource {
        match self.contents {
            Contents::Taken(_) => SnapshotSource::TakenFromCanister(Reserved),
            Contents::Uploaded { .. } => SnapshotSource::MetadataUpload(Reserved),
        }
    }

    pub fn summary(&self, id: Vec<u8>) -> SnapshotSummary {
        SnapshotSummary { id, taken_at_timestamp: self.taken_at, total_size: self.total_size() }
    }

    /// Returns the sizes of the module, the wasm memory and the stable memory, in bytes.
    fn sizes(&self) -> (u64, u64, u64) {
        (self.module().len() as u64, self.heap().size_bytes(), self.stable().size_bytes())
    }

    pub fn total_size(&self) -> u64 {
        let (module, wasm_memory, stable) = self.sizes();
        module + wasm_memory + stable + self.chunks.bytes() + self.certified_data.len() as u64
    }

    /// Returns the metadata: everything except the bytes of module, heap, stable memory and chunks.
    pub fn metadata(&self) -> SnapshotMetadata {
        let (wasm_module_size, wasm_memory_size, stable_memory_size) = self.sizes();
        let globals = match &self.contents {
            Contents::Taken(state) => state.globals(),
            Contents::Uploaded { globals, .. } => globals.clone(),
        };
        SnapshotMetadata {
            source: self.source(),
            taken_at_timestamp: self.taken_at,
            wasm_module_size,
            globals: globals.into_iter().map(global_to_wire).collect(),
            wasm_memory_size,
            stable_memory_size,
            wasm_chunk_store: self.chunks.hashes().map(|hash| ChunkHash { hash: hash.to_vec() }).collect(),
            canister_version: self.version,
            certified_data: self.certified_data.clone(),
            global_timer: self.global_timer.clone(),
            on_low_wasm_memory_hook_status: self.hook_status.clone(),
        }
    }

    /// Returns whether a part of the heap or stable memory is known to be zeros without being read; `false` for the
    /// module and chunks.
    pub fn is_hole(&self, part: &SnapshotDataKind) -> bool {
        let length = |size: u64| usize::try_from(size).ok();
        match part {
            SnapshotDataKind::WasmMemory { offset, size } => {
                length(*size).is_some_and(|size| self.heap().is_untouched(*offset, size))
            }
            SnapshotDataKind::StableMemory { offset, size } => {
                length(*size).is_some_and(|size| self.stable().is_untouched(*offset, size))
            }
            SnapshotDataKind::WasmModule { .. } | SnapshotDataKind::WasmChunk { .. } => false,
        }
    }

    /// Returns a part of the snapshot, of any length; an error if it extends beyond the end.
    pub fn read(&self, part: &SnapshotDataKind) -> Result<Vec<u8>, UserError> {
        match part {
            SnapshotDataKind::WasmModule { offset, size } => {
                slice(self.module(), *offset, *size).ok_or_else(|| slice_error("wasm module", *offset, *size))
            }
            SnapshotDataKind::WasmMemory { offset, size } => {
                self.heap().read(*offset, *size).ok_or_else(|| slice_error("main memory", *offset, *size))
            }
            SnapshotDataKind::StableMemory { offset, size } => {
                let stable = self.stable();
                let in_bounds = offset.checked_add(*size).is_some_and(|end| end <= stable.size_bytes());
                let length = usize::try_from(*size).ok().filter(|_| in_bounds);
                let out_of_bounds = || slice_error("stable memory", *offset, *size);
                let mut bytes = vec![0; length.ok_or_else(out_of_bounds)?];
                stable.read(*offset, &mut bytes).map_err(|_| out_of_bounds())?;
                Ok(bytes)
            }
            SnapshotDataKind::WasmChunk { hash } => match self.chunks.get(hash) {
                Some(chunk) => Ok(chunk.to_vec()),
                None => Err(UserError::contract_violation(format!(
                    "Error from Wasm chunk store: Chunk hash {} was not found.",
                    hex::encode(hash)
                ))),
            },
        }
    }

    /// Fills a part of an uploaded snapshot, within the declared sizes. A snapshot that was taken never changes.
    pub fn write(&mut self, place: &SnapshotDataOffset, bytes: &[u8]) -> Result<(), UserError> {
        let Contents::Uploaded { module, heap, stable, .. } = &mut self.contents else {
            return Err(UserError::new(
                ErrorCode::CanisterSnapshotImmutable,
                "Only canister snapshots created by metadata upload can be mutated.",
            ));
        };
        let size = bytes.len() as u64;
        match place {
            SnapshotDataOffset::WasmModule { offset } => {
                overwrite(module, *offset, bytes).ok_or_else(|| slice_error("wasm module", *offset, size))
            }
            SnapshotDataOffset::WasmMemory { offset } => {
                heap.write(*offset, bytes).ok_or_else(|| slice_error("main memory", *offset, size))
            }
            SnapshotDataOffset::StableMemory { offset } => {
                stable.write(*offset, bytes).map_err(|_| slice_error("stable memory", *offset, size))
            }
            SnapshotDataOffset::WasmChunk => self.chunks.insert(bytes).map(drop),
        }
    }

    /// Makes a file the stable memory of an uploaded snapshot; see [`StableMemory::from_file`]. Leaves a snapshot that
    /// was taken unchanged.
    pub fn use_stable_file(&mut self, file: File) -> io::Result<()> {
        if let Contents::Uploaded { stable, .. } = &mut self.contents {
            *stable = StableMemory::from_file(file)?;
        }
        Ok(())
    }

    fn module(&self) -> &[u8] {
        match &self.contents {
            Contents::Taken(state) => state.module().uploaded(),
            Contents::Uploaded { module, .. } => module,
        }
    }

    fn heap(&self) -> &Heap {
        match &self.contents {
            Contents::Taken(state) => state.heap(),
            Contents::Uploaded { heap, .. } => heap,
        }
    }

    fn stable(&self) -> &StableMemory {
        match &self.contents {
            Contents::Taken(state) => state.stable(),
            Contents::Uploaded { stable, .. } => stable,
        }
    }
}

fn slice(bytes: &[u8], offset: u64, size: u64) -> Option<Vec<u8>> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    bytes.get(start..end).map(<[u8]>::to_vec)
}

fn overwrite(target: &mut [u8], offset: u64, bytes: &[u8]) -> Option<()> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(bytes.len())?;
    target.get_mut(start..end)?.copy_from_slice(bytes);
    Some(())
}

/// Returns the error for an upload whose parts do not fit each other or the canister.
pub(super) fn inconsistent(message: String) -> UserError {
    UserError::new(ErrorCode::InvalidManagementPayload, message)
}

/// The error for a part that extends beyond the snapshot's module or memory.
fn slice_error(what: &str, offset: u64, size: u64) -> UserError {
    UserError::new(
        ErrorCode::InvalidManagementPayload,
        format!("Invalid subslice into {what}: offset: {offset}, size: {size}"),
    )
}

/// The error for a declared size that no canister can have.
fn out_of_range(name: &str, got: u64, max: u64) -> UserError {
    UserError::new(
        ErrorCode::InvalidManagementPayload,
        format!("{name} of {got} bytes exceeds the maximum of {max} bytes"),
    )
}

fn checked_size(name: &str, got: u64, max: u64) -> Result<usize, UserError> {
    usize::try_from(got).ok().filter(|_| got <= max).ok_or_else(|| out_of_range(name, got, max))
}

fn whole_pages(name: &str, bytes: u64) -> Result<u64, UserError> {
    if !bytes.is_multiple_of(WASM_PAGE) {
        return Err(UserError::new(
            ErrorCode::InvalidManagementPayload,
            format!("{name} of {bytes} bytes is not a multiple of {WASM_PAGE}"),
        ));
    }
    Ok(bytes / WASM_PAGE)
}

fn global_to_wire(value: GlobalValue) -> SnapshotMetadataGlobal {
    match value {
        GlobalValue::I32(value) => SnapshotMetadataGlobal::I32(value),
        GlobalValue::I64(value) => SnapshotMetadataGlobal::I64(value),
        GlobalValue::F32(bits) => SnapshotMetadataGlobal::F32(f32::from_bits(bits)),
        GlobalValue::F64(bits) => SnapshotMetadataGlobal::F64(f64::from_bits(bits)),
        GlobalValue::V128(value) => SnapshotMetadataGlobal::V128(value.into()),
    }
}

fn global_from_wire(value: &SnapshotMetadataGlobal) -> Result<GlobalValue, UserError> {
    Ok(match value {
        SnapshotMetadataGlobal::I32(value) => GlobalValue::I32(*value),
        SnapshotMetadataGlobal::I64(value) => GlobalValue::I64(*value),
        SnapshotMetadataGlobal::F32(value) => GlobalValue::F32(value.to_bits()),
        SnapshotMetadataGlobal::F64(value) => GlobalValue::F64(value.to_bits()),
        SnapshotMetadataGlobal::V128(value) => GlobalValue::V128(parse_v128(value)?),
    })
}

fn parse_v128(value: &Nat) -> Result<u128, UserError> {
    value.0.to_u128().ok_or_else(|| {
        UserError::new(
            ErrorCode::InvalidManagementPayload,
            format!("a v128 global of value {value} has more than 128 bits"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globals_of_each_type_are_written_and_read() {
        let all = [
            GlobalValue::I32(-1),
            GlobalValue::I64(i64::MIN),
            GlobalValue::F32(0x7fc0_0001),
            GlobalValue::F64(0x7ff8_0000_0000_0001),
            GlobalValue::V128(u128::MAX),
        ];
        for value in all {
            assert_eq!(global_from_wire(&global_to_wire(value)).unwrap(), value);
        }
        let large = SnapshotMetadataGlobal::V128(Nat::from(u128::MAX) + 1_u8);
        let error = global_from_wire(&large).unwrap_err();
        assert!(error.message.contains("more than 128 bits"), "{}", error.message);
    }
}
