//! The types of the keys and records in each memory, for the preflight.
//!
//! The stores open their tables with these types. They are collected here so that the ends of every table can be read
//! before any table is opened.

use candid::Principal;
use ic_stable_migrate::newer_format;
use ic_stable_structures::storable::Blob;

use crate::blob::extents::AllocatorState;
use crate::blob::{BlobRecord, CHUNK_SIZE, Sha256Blob};
use crate::capsule::{CapsuleRecord, MemoryRecord};
use crate::capsule_creation::Listed;
use crate::config::Config;
use crate::migrate::{JournalRecord, MigrationState, QuarantineRecord};
use crate::stable::keys::{NumberAndText, TwoTexts};
use crate::stable::layout::Layout;
use crate::stable::memory_ids::numbers as ids;
use crate::stable::preflight::OnDamage::{self, Quarantine, Refuse, Tolerate, TolerateUnlessCandid};
use crate::stable::preflight::{self, CheckRecord, MapContents, PreflightError, Undecodable, Values};
use crate::stable::{Key, Memories, Record, fixed_len};
use crate::upload::mapped_sessions::MappedSessions;
use crate::upload::{Leftovers, PayloadState, Receipt, SessionRecord, UploadMeta};

enum Contents {
    Map(MapContents),
    Cell(CheckRecord),
}

/// The expected contents of each map and cell, by id. If a record that belongs to a client does not decode, callers who
/// request it get an error, or the record is quarantined, and everything else keeps working; so one such record does
/// not stop an upgrade.
const CONTENTS: &[(u8, Contents)] = &[
    (ids::CAPSULES, map::<String, CapsuleRecord>(TolerateUnlessCandid)),
    (
        ids::LEGACY_SESSIONS,
        Contents::Map(map_contents::<u64>(Values::Records(check_legacy_record), Quarantine)),
    ),
    (ids::SESSION_COUNTER, cell::<u64>()),
    (ids::CHUNKS, Contents::Map(map_contents::<([u8; 32], u32)>(Values::Bytes(CHUNK_SIZE), Refuse))),
    (ids::BLOB_META, map::<u64, Sha256Blob>(Tolerate)),
    (ids::LAYOUT, cell::<Layout>()),
    (ids::SESSIONS, map::<u64, SessionRecord>(TolerateUnlessCandid)),
    (ids::UPLOAD_META, map::<u64, UploadMeta>(TolerateUnlessCandid)),
    (ids::SESSION_BY_IDEM, map::<[u8; 32], u64>(Refuse)),
    (ids::SESSION_BY_ACTIVITY, map::<(u64, u64), ()>(Refuse)),
    (ids::SESSION_BY_OWNER, map::<(Principal, u64), ()>(Refuse)),
    (ids::PAYLOAD_STATES, map::<u64, PayloadState>(TolerateUnlessCandid)),
    (ids::RECEIPTS, map::<u64, Receipt>(TolerateUnlessCandid)),
    (ids::MEMORIES, map::<String, MemoryRecord>(TolerateUnlessCandid)),
    (ids::MEMORY_BY_CAPSULE, map::<TwoTexts, ()>(Refuse)),
    (ids::BLOB_REFS, map::<NumberAndText, String>(Refuse)),
    (ids::CAPSULE_COUNTER, cell::<u64>()),
    (ids::CONFIG, cell::<Config>()),
    (ids::LEGACY_ACTIVITY, map::<u64, u64>(Refuse)),
    (ids::RELEASED_CHUNKS, map::<[u8; 32], ()>(Refuse)),
    (ids::MIGRATION_STATE, cell::<MigrationState>()),
    (ids::MIGRATION_JOURNAL, map::<u64, JournalRecord>(Refuse)),
    (ids::MIGRATION_QUARANTINE, map::<u64, QuarantineRecord>(Quarantine)),
    (ids::RECEIPT_BY_EXPIRY, map::<(u64, u64), ()>(Refuse)),
    (ids::CAPSULE_BY_MEMBER, map::<(Principal, Blob<32>), ()>(Refuse)),
    (ids::USAGE, map::<TwoTexts, u64>(Refuse)),
    (ids::BLOB_BY_CONTENT, map::<TwoTexts, u64>(Refuse)),
    (ids::CONDEMNED_CAPSULES, map::<String, ()>(Refuse)),
    (ids::MEMORY_BY_IDEM, map::<[u8; 32], String>(Refuse)),
    (ids::MIGRATION_STATES, map::<u16, MigrationState>(Refuse)),
    (ids::MIGRATION_QUARANTINES, map::<(u16, u64), QuarantineRecord>(Quarantine)),
    (ids::FREE_EXTENTS, map::<u64, u64>(Refuse)),
    (ids::FREE_EXTENTS_BY_LEN, map::<(u64, u64), ()>(Refuse)),
    (ids::EXTENT_STATE, cell::<AllocatorState>()),
    (ids::BLOBS, map::<u64, BlobRecord>(TolerateUnlessCandid)),
    (ids::MAPPED_BLOBS, map::<u64, BlobRecord>(TolerateUnlessCandid)),
    (ids::MAPPED_SESSIONS, cell::<MappedSessions>()),
    (ids::CAPSULES_BY_CREATOR, map::<Principal, u64>(Refuse)),
    (ids::LEGACY_LEFT_BEHIND, cell::<Leftovers>()),
    (ids::CAPSULE_MAKERS, cell::<Listed>()),
    // Any value is accepted: the canister replaces damaged access keys.
    (ids::ACCESS_KEYS, Contents::Cell(|_| Ok(()))),
    (ids::DOWNLOADS, map::<u64, SessionRecord>(TolerateUnlessCandid)),
];

/// Returns the expected contents of a map of records; `on_damage` is the treatment of records that do not decode.
const fn map<K: Key, V: Record>(on_damage: OnDamage) -> Contents {
    Contents::Map(map_contents::<K>(Values::Records(check_record::<V>), on_damage))
}

const fn map_contents<K: Key>(values: Values, on_damage: OnDamage) -> MapContents {
    MapContents { is_key: is_key::<K>, show_key: show_key::<K>, key_len: fixed_len::<K>(), values, on_damage }
}

const fn cell<V: Record>() -> Contents {
    Contents::Cell(check_record::<V>)
}

fn is_key<K: Key>(bytes: &[u8]) -> bool {
    K::parse(bytes).is_some()
}

/// Returns a key as text; empty if the bytes are not a key.
fn show_key<K: Key>(bytes: &[u8]) -> String {
    K::parse(bytes).map_or_else(String::new, |key| key.shown())
}

fn decode<V: Record>(bytes: &[u8]) -> Result<V, Undecodable> {
    V::decode(bytes).map_err(|reason| match newer_format::<V>(bytes) {
        Some((found, known)) if is_one_value_after_format(bytes) => Undecodable::Newer { found, known },
        _ => Undecodable::Damaged(reason),
    })
}

/// Returns whether the first byte of a record is followed by exactly one CBOR value, as in every record that has a
/// format. The first byte of a damaged record may be any number, so it alone does not show that a newer build wrote the
/// record.
fn is_one_value_after_format(record: &[u8]) -> bool {
    let body = record.get(1..).unwrap_or_default();
    let mut decoder = minicbor::Decoder::new(body);
    decoder.skip().is_ok() && decoder.position() == body.len()
}

fn check_record<V: Record>(bytes: &[u8]) -> Result<(), Undecodable> {
    decode::<V>(bytes).map(drop)
}

fn check_legacy_record(bytes: &[u8]) -> Result<(), Undecodable> {
    cfg_if::cfg_if! {
        if #[cfg(feature = "direct")] {
            use crate::migrations::split_sessions::LegacyUploadSession;
            LegacyUploadSession::decode(bytes).map(drop).map_err(|error| Undecodable::Damaged(error.to_string()))
        } else {
            check_record::<crate::upload::path::compat::UploadSessionMeta>(bytes)
        }
    }
}

/// Checks the first and the last record of every map, and every cell, against [`CONTENTS`]. `layout` is `None` if there
/// is no layout header: then only these records show which canister wrote the memory, so none of them may be damaged.
pub fn check(memories: &Memories, layout: Option<Layout>) -> Result<(), PreflightError> {
    CONTENTS.iter().try_for_each(|(id, contents)| match *contents {
        Contents::Map(map) => {
            let on_damage = if layout.is_some() { map.on_damage } else { Refuse };
            preflight::check_map(memories, *id, MapContents { on_damage, ..map })
        }
        Contents::Cell(check_value) => preflight::decode_cell(memories, *id, check_value).map(drop),
    })
}

/// Returns the layout in the header; `None` if there is no header.
pub fn read_layout(memories: &Memories) -> Result<Option<Layout>, PreflightError> {
    preflight::decode_cell(memories, ids::LAYOUT, decode)
}

/// Returns the state of migration 1.
pub fn read_migration_state(memories: &Memories) -> Result<MigrationState, PreflightError> {
    let state = preflight::decode_cell(memories, ids::MIGRATION_STATE, decode::<MigrationState>)?;
    Ok(state.unwrap_or_default())
}

#[cfg(test)]
mod tests;
