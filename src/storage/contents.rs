//! The types of the keys and records in each memory, for the preflight.
//!
//! The stores open their tables with these types. They are collected here so that the ends of every table can be read
//! before any table is opened.

use candid::Principal;
use ic_stable_migrate::newer_format;
use ic_stable_structures::storable::Blob;

use crate::blob::extents::AllocatorState;
use crate::blob::{BlobRecord, CHUNK_SIZE, MappedBlob};
use crate::capsule::{CapsuleRecord, MemoryRecord};
use crate::capsule_makers::Listed;
use crate::config::Config;
use crate::migrate::{JournalRecord, MigrationState, QuarantineRecord};
use crate::stable::keys::{NumberAndText, TwoTexts};
use crate::stable::layout::Layout;
use crate::stable::memory_ids::numbers as ids;
use crate::stable::preflight::{self, Damaged, Decodes, MapContents, PreflightError, Undecodable, Values};
use crate::stable::{Key, Memories, Record, fixed_len};
use crate::upload::mapped_sessions::MappedSessions;
use crate::upload::{Leftovers, PayloadState, Receipt, SessionRecord, UploadMeta};

enum Contents {
    Map(MapContents),
    Cell(Decodes),
}

/// The expected contents of each map and cell, by id. If a client's record does not decode, callers who request it get
/// an error, or the record is quarantined, and everything else keeps working; so one such record does not stop an
/// upgrade.
const CONTENTS: &[(u8, Contents)] = &[
    (ids::CAPSULES, treated::<String, CapsuleRecord>()),
    (ids::LEGACY_SESSIONS, quarantined(keys::<u64>(Values::Records(decodes_legacy)))),
    (ids::SESSION_COUNTER, cell::<u64>()),
    (ids::CHUNKS, Contents::Map(keys::<([u8; 32], u32)>(Values::Bytes(CHUNK_SIZE)))),
    (ids::BLOB_META, legacy(records::<u64, MappedBlob>())),
    (ids::LAYOUT, cell::<Layout>()),
    (ids::SESSIONS, treated::<u64, SessionRecord>()),
    (ids::UPLOAD_META, treated::<u64, UploadMeta>()),
    (ids::SESSION_BY_IDEM, map::<[u8; 32], u64>()),
    (ids::SESSION_BY_ACTIVITY, map::<(u64, u64), ()>()),
    (ids::SESSION_BY_OWNER, map::<(Principal, u64), ()>()),
    (ids::PAYLOAD_STATES, treated::<u64, PayloadState>()),
    (ids::RECEIPTS, treated::<u64, Receipt>()),
    (ids::MEMORIES, treated::<String, MemoryRecord>()),
    (ids::MEMORY_BY_CAPSULE, map::<TwoTexts, ()>()),
    (ids::BLOB_REFS, map::<NumberAndText, String>()),
    (ids::CAPSULE_COUNTER, cell::<u64>()),
    (ids::CONFIG, cell::<Config>()),
    (ids::LEGACY_ACTIVITY, map::<u64, u64>()),
    (ids::RELEASED_CHUNKS, map::<[u8; 32], ()>()),
    (ids::MIGRATION_STATE, cell::<MigrationState>()),
    (ids::MIGRATION_JOURNAL, map::<u64, JournalRecord>()),
    (ids::MIGRATION_QUARANTINE, quarantined(records::<u64, QuarantineRecord>())),
    (ids::RECEIPT_BY_EXPIRY, map::<(u64, u64), ()>()),
    (ids::CAPSULE_BY_MEMBER, map::<(Principal, Blob<32>), ()>()),
    (ids::USAGE, map::<TwoTexts, u64>()),
    (ids::BLOB_BY_CONTENT, map::<TwoTexts, u64>()),
    (ids::CONDEMNED_CAPSULES, map::<String, ()>()),
    (ids::MEMORY_BY_IDEM, map::<[u8; 32], String>()),
    (ids::MIGRATION_STATES, map::<u16, MigrationState>()),
    (ids::MIGRATION_QUARANTINES, quarantined(records::<(u16, u64), QuarantineRecord>())),
    (ids::FREE_EXTENTS, map::<u64, u64>()),
    (ids::FREE_EXTENTS_BY_LEN, map::<(u64, u64), ()>()),
    (ids::EXTENT_STATE, cell::<AllocatorState>()),
    (ids::BLOBS, treated::<u64, BlobRecord>()),
    (ids::MAPPED_BLOBS, treated::<u64, BlobRecord>()),
    (ids::MAPPED_SESSIONS, cell::<MappedSessions>()),
    (ids::CAPSULES_BY_CREATOR, map::<Principal, u64>()),
    (ids::LEGACY_LEFT_BEHIND, cell::<Leftovers>()),
    (ids::CAPSULE_MAKERS, cell::<Listed>()),
    // Not checked: a damaged record of the keys is replaced.
    (ids::ACCESS_KEYS, Contents::Cell(|_| Ok(()))),
    (ids::DOWNLOADS, treated::<u64, SessionRecord>()),
];

const fn map<K: Key, V: Record>() -> Contents {
    Contents::Map(records::<K, V>())
}

const fn records<K: Key, V: Record>() -> MapContents {
    keys::<K>(Values::Records(decodes::<V>))
}

const fn keys<K: Key>(value: Values) -> MapContents {
    MapContents {
        is_key: is_key::<K>,
        show_key: show_key::<K>,
        key_len: fixed_len::<K>(),
        value,
        damaged: Damaged::Refused,
    }
}

const fn treated<K: Key, V: Record>() -> Contents {
    Contents::Map(MapContents { damaged: Damaged::TreatedUnlessCandid, ..records::<K, V>() })
}

/// A table whose records are Candid.
const fn legacy(contents: MapContents) -> Contents {
    Contents::Map(MapContents { damaged: Damaged::Treated, ..contents })
}

const fn quarantined(contents: MapContents) -> Contents {
    Contents::Map(MapContents { damaged: Damaged::Quarantined, ..contents })
}

const fn cell<V: Record>() -> Contents {
    Contents::Cell(decodes::<V>)
}

fn is_key<K: Key>(bytes: &[u8]) -> bool {
    K::parse(bytes).is_some()
}

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

fn decodes<V: Record>(bytes: &[u8]) -> Result<(), Undecodable> {
    decode::<V>(bytes).map(drop)
}

fn decodes_legacy(bytes: &[u8]) -> Result<(), Undecodable> {
    cfg_if::cfg_if! {
        if #[cfg(feature = "direct")] {
            use crate::migrations::split_sessions::LegacyUploadSession;
            LegacyUploadSession::decode(bytes).map(drop).map_err(|error| Undecodable::Damaged(error.to_string()))
        } else {
            decodes::<crate::upload::path::compat::UploadSessionMeta>(bytes)
        }
    }
}

/// Checks the first and the last record of every map, and every cell, against [`CONTENTS`]. Without a layout header,
/// only the records show whose memory it is, so none of them may be damaged.
pub fn check(memories: &Memories, layout: Option<Layout>) -> Result<(), PreflightError> {
    CONTENTS.iter().try_for_each(|(id, contents)| match *contents {
        Contents::Map(map) => {
            let damaged = if layout.is_some() { map.damaged } else { Damaged::Refused };
            preflight::check_map(memories, *id, MapContents { damaged, ..map })
        }
        Contents::Cell(decodes) => preflight::decode_cell(memories, *id, decodes).map(drop),
    })
}

/// Returns the layout in the header; `None` if there is no header.
pub fn layout(memories: &Memories) -> Result<Option<Layout>, PreflightError> {
    preflight::decode_cell(memories, ids::LAYOUT, decode)
}

/// Returns the state of migration 1.
pub fn migration_state(memories: &Memories) -> Result<MigrationState, PreflightError> {
    let state = preflight::decode_cell(memories, ids::MIGRATION_STATE, decode::<MigrationState>)?;
    Ok(state.unwrap_or_default())
}

#[cfg(test)]
mod tests;
