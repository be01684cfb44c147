//! Preflight: checks the raw bytes of stable memory before anything in it is opened.
//!
//! The library creates a new structure over bytes that it does not recognize, and panics on other damage. So the raw
//! headers are read first, and then the first and the last record of every table: foreign or damaged bytes stop the
//! upgrade while nothing is lost yet. `storage/contents.rs` lists the types of the records in each table.

mod error;

use ic_stable_structures::Memory;
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};

use super::buckets::{MAX_BUCKETS, allocated_buckets};
use super::ends::{self, Damage};
use super::layout::Layout;
use super::memory_ids::{ALL, LAST_OF_FIRST_BUILD, Structure, numbers};
use super::{End, Marks, Memories, RawMap, RawMemory, Record};

pub use error::PreflightError;

/// Opens the memory manager of an installed canister, after checking its header, and checks the header of every
/// structure. Reads no record: [`check_map`] and [`decode_cell`] do.
///
/// # Errors
/// The first header that is not as expected; see [`PreflightError`].
pub fn open_existing(raw: RawMemory) -> Result<Memories, PreflightError> {
    check_manager(&raw)?;
    let memories = Memories::init(raw);
    check_public_release(&memories)?;
    for (id, name, structure) in ALL {
        check_structure(&memories, *id, name, *structure)?;
        check_structure_header(&memories, *id, *structure)?;
    }
    Ok(memories)
}

/// Memories that the first public release always uses, and this canister never does.
const PUBLIC_RELEASE: [u8; 4] = [
    numbers::RESERVED_BY_SUBJECT,
    numbers::RESERVED_BY_OWNER,
    numbers::RESERVED_BLOB_COUNTER,
    numbers::RESERVED_ADMINS,
];

/// Returns `Ok(())` unless the first public release has written the memory: there is no layout header, and one of the
/// memories that only that release uses is in use.
///
/// # Errors
/// [`PreflightError::PublicRelease`].
pub fn check_public_release<M: Memory>(memories: &MemoryManager<M>) -> Result<(), PreflightError> {
    let is_used = |id: u8| memories.get(MemoryId::new(id)).size() > 0;
    if !is_used(numbers::LAYOUT) && PUBLIC_RELEASE.into_iter().any(is_used) {
        return Err(PreflightError::PublicRelease { in_use: list_used_ids(memories) });
    }
    Ok(())
}

/// Returns `Ok(())` if no memory of this canister is missing.
///
/// With a layout header, every memory that was created must be in use: in layout 3 the marked ones; in layout 1 or 2,
/// or without marks, those up to `LAST_OF_FIRST_BUILD`. Without a layout header, there must be sessions of layout 1;
/// the caller must check their records.
///
/// # Errors
/// [`PreflightError::NoLayout`], [`PreflightError::WrittenInPart`], [`PreflightError::DamagedStructure`] for the layout
/// header.
pub fn check_none_missing<M: Memory>(memories: &MemoryManager<M>) -> Result<(), PreflightError> {
    let memory = |id: u8| memories.get(MemoryId::new(id));
    let Some(header) = cell_value(memories, numbers::LAYOUT)? else {
        let sessions = RawMap::open(memory(numbers::LEGACY_SESSIONS)).ok().flatten();
        let has_sessions = sessions.is_some_and(|sessions| sessions.len > 0);
        return if has_sessions {
            Ok(())
        } else {
            Err(PreflightError::NoLayout { in_use: list_used_ids(memories) })
        };
    };
    let is_missing = |id: &u8| memory(*id).size() == 0;
    let is_in_extents = Layout::decode(&header).is_ok_and(|layout| layout >= Layout::EXTENTS);
    let marks = if is_in_extents { Marks::read(&memory(numbers::UPLOAD_COUNTS)) } else { Marks::default() };
    let (missing_id, why) = if marks.are_none() {
        let created =
            ALL.iter().filter(|(.., structure)| *structure != Structure::Reserved).map(|(id, ..)| *id);
        let missing = created.take_while(|id| *id <= LAST_OF_FIRST_BUILD).find(is_missing);
        (missing, "every build creates it together with the layout header in memory id 10")
    } else {
        (marks.ids().find(is_missing), "the marks in memory id 45 show that it existed")
    };
    missing_id.map_or(Ok(()), |id| Err(PreflightError::WrittenInPart { id, name: name_of(id), why }))
}

fn list_used_ids<M: Memory>(memories: &MemoryManager<M>) -> String {
    let is_used = |id: &u8| memories.get(MemoryId::new(*id)).size() > 0;
    let used: Vec<String> = (0..u8::MAX).filter(is_used).map(|id| id.to_string()).collect();
    if used.is_empty() { "no memory ids".into() } else { format!("memory ids {}", used.join(", ")) }
}

/// The expected contents of a map.
#[derive(Clone, Copy)]
pub struct MapContents {
    /// The function that returns whether bytes are a key.
    pub is_key: fn(&[u8]) -> bool,
    /// The function that returns a key as text.
    pub show_key: fn(&[u8]) -> String,
    /// The length of the keys, bytes; `None` if their lengths differ.
    pub key_len: Option<u32>,
    /// How the values are checked: as records, or only by their length.
    pub values: Values,
    /// How an upgrade treats a record that does not decode.
    pub on_damage: OnDamage,
}

/// How an upgrade treats a record that does not decode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OnDamage {
    /// The upgrade is refused.
    Refuse,
    /// The canister tolerates such a record, and an upgrade may repair it. The upgrade is refused if the first and the
    /// last record are different records and neither decodes, if a newer build wrote one of them, or if a key is not a
    /// key of the map.
    Tolerate,
    /// Like [`Self::Tolerate`], but a Candid record is refused, since the first public release wrote it.
    TolerateUnlessCandid,
    /// Every such record under a valid key is quarantined, or stays in quarantine, so any number of them is accepted.
    Quarantine,
}

/// The values of a map.
#[derive(Clone, Copy)]
pub enum Values {
    /// Records.
    Records(CheckRecord),
    /// Any bytes, at most this many; they are not read. An empty value is a chunk that was emptied because there was no
    /// room to remove it.
    Bytes(u32),
}

/// A function that returns `Ok(())` if bytes are a record, and otherwise what is wrong with them.
pub type CheckRecord = fn(&[u8]) -> Result<(), Undecodable>;

/// Why bytes are not a record that this build can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// The bytes are a record in the format of a newer build.
    Newer {
        /// Format of the record.
        found: u8,
        /// Newest format that this build supports.
        known: u8,
    },
    /// The bytes do not decode, for this reason.
    Damaged(String),
}

impl From<String> for Undecodable {
    fn from(reason: String) -> Self {
        Self::Damaged(reason)
    }
}

impl Undecodable {
    fn into_error(self, id: u8, which: &'static str, key: String) -> PreflightError {
        let name = name_of(id);
        match self {
            Self::Newer { found, known } => {
                PreflightError::NewerRecord { id, name, which, key, found, known }
            }
            Self::Damaged(reason) => PreflightError::ForeignRecord { id, name, which, key, reason },
        }
    }
}

/// Returns `Ok(())` if the first and the last record of a map are as `contents` requires.
///
/// # Errors
/// [`PreflightError::ForeignRecord`], [`PreflightError::NewerRecord`], [`PreflightError::DamagedStructure`].
pub fn check_map<M: Memory>(
    memories: &MemoryManager<M>,
    id: u8,
    contents: MapContents,
) -> Result<(), PreflightError> {
    let to_error = |damage| damaged_structure(id, damage);
    let Some(map) = RawMap::open(memories.get(MemoryId::new(id))).map_err(to_error)? else {
        return Ok(());
    };
    let MapContents { is_key, show_key, key_len, values, on_damage } = contents;
    // Whether either end has a Candid value; whether either end has bytes that are not a key.
    let (mut is_candid, mut is_foreign_key) = (false, false);
    let mut check_end = |end: End| {
        let found = match values {
            Values::Bytes(max) => map.key(end, key_len).map_err(to_error)?.map(|(key, len)| {
                let too_long = || format!("a value of {len} bytes in its node, expected at most {max}");
                (key, if len <= max { Ok(()) } else { Err(too_long().into()) })
            }),
            Values::Records(check_record) => map.entry(end, key_len).map_err(to_error)?.map(|entry| {
                let value = entry.value.as_deref();
                is_candid |= value.is_some_and(|value| value.starts_with(b"DIDL"));
                // A value too long to be read counts as a record.
                (entry.key, value.map_or(Ok(()), check_record))
            }),
        };
        let Some((key, decoded)) = found else { return Ok(()) };
        let refuse = |key, why: Undecodable| Err(why.into_error(id, end.name(), key));
        match decoded {
            _ if !is_key(&key) => {
                is_foreign_key = true;
                let start = key.get(..16).unwrap_or(&key);
                refuse(
                    format!("{start:02x?}"),
                    format!("{} bytes that are not a key of this map", key.len()).into(),
                )
            }
            Ok(()) => Ok(()),
            Err(why) => refuse(show_key(&key), why),
        }
    };
    let results = [check_end(End::First), check_end(End::Last)];
    // Nothing tolerates a record under a foreign key: the library panics on the key in every call that passes it.
    let tolerates_damage = !is_foreign_key
        && match on_damage {
            OnDamage::Refuse => false,
            OnDamage::Tolerate | OnDamage::Quarantine => true,
            OnDamage::TolerateUnlessCandid => !is_candid,
        };
    let is_tolerated_result = |end: &Result<(), PreflightError>| match end {
        Ok(()) | Err(PreflightError::ForeignRecord { .. }) => true,
        // In a quarantine, no client depends on the record.
        Err(PreflightError::NewerRecord { .. }) => on_damage == OnDamage::Quarantine,
        Err(_) => false,
    };
    if tolerates_damage
        && results.iter().all(is_tolerated_result)
        && (on_damage == OnDamage::Quarantine || map.len == 1 || results.iter().any(Result::is_ok))
    {
        return Ok(());
    }
    // If a newer build wrote the record at one end, and that at the other is damaged, the newer build is the way out
    // for both.
    let newer = results.iter().find(|end| matches!(end, Err(PreflightError::NewerRecord { .. }))).cloned();
    newer.unwrap_or_else(|| results.into_iter().collect())
}

/// Returns the record of a cell; `None` if none was ever stored.
///
/// # Errors
/// [`PreflightError::ForeignRecord`], [`PreflightError::NewerRecord`], [`PreflightError::DamagedStructure`].
pub fn decode_cell<M: Memory, V>(
    memories: &MemoryManager<M>,
    id: u8,
    decode: impl FnOnce(&[u8]) -> Result<V, Undecodable>,
) -> Result<Option<V>, PreflightError> {
    let Some(value) = cell_value(memories, id)? else { return Ok(None) };
    decode(&value).map(Some).map_err(|why| why.into_error(id, "only", "(register)".into()))
}

/// Returns the record of a cell, undecoded; `None` if none was ever stored.
fn cell_value<M: Memory>(memories: &MemoryManager<M>, id: u8) -> Result<Option<Vec<u8>>, PreflightError> {
    let value =
        ends::read_cell(&memories.get(MemoryId::new(id))).map_err(|damage| damaged_structure(id, damage))?;
    Ok(value.filter(|value| !value.is_empty()))
}

fn name_of(id: u8) -> &'static str {
    ALL.iter().find(|(known, ..)| *known == id).map_or("unknown", |(_, name, _)| name)
}

fn damaged_structure(id: u8, damage: Damage) -> PreflightError {
    let Damage { offset, what } = damage;
    PreflightError::DamagedStructure { id, name: name_of(id), offset, what }
}

/// Checks the version and the fields in the header of a structure; [`check_structure`] checks only its magic.
fn check_structure_header<M: Memory>(
    memories: &MemoryManager<M>,
    id: u8,
    structure: Structure,
) -> Result<(), PreflightError> {
    let memory = memories.get(MemoryId::new(id));
    let checked = match structure {
        Structure::Map => RawMap::open(memory).map(drop),
        Structure::Cell => ends::check_cell(&memory).map(drop),
        Structure::Region | Structure::Counters if memory.size() > 0 => {
            let mut version = [0];
            memory.read(3, &mut version);
            let [found] = version;
            let what = || format!("version {found}, expected {HEADER_VERSION}");
            if found == HEADER_VERSION { Ok(()) } else { Err(Damage::at(3, what())) }
        }
        Structure::Region | Structure::Counters | Structure::Reserved => Ok(()),
    };
    checked.map_err(|damage| damaged_structure(id, damage))
}

/// Version of the headers of the region and of the counters, the byte after the magic.
const HEADER_VERSION: u8 = 1;

/// Returns `Ok(())` if the memory begins with a memory manager whose header is consistent with itself and
/// with the size of the memory, so that the library can open it without a panic.
///
/// # Errors
/// [`PreflightError::Empty`], [`PreflightError::NotAMemoryManager`], [`PreflightError::DamagedHeader`].
pub fn check_manager(raw: &impl Memory) -> Result<(), PreflightError> {
    if raw.size() == 0 {
        return Err(PreflightError::Empty);
    }
    let mut found = [0; 4];
    raw.read(0, &mut found);
    if found != *b"MGR\x01" {
        let hint = match &found {
            b"DIDL" => {
                ", found Candid, as written by `stable_save` over everything else: the first public release does so at every upgrade, and this refusal rolls it back; keep that release running, and see docs/adopting.md"
            }
            _ => "",
        };
        return Err(PreflightError::NotAMemoryManager { found, hint });
    }
    check_manager_header(raw)
}

/// Returns `Ok(())` if every memory in use is one of this build or of the first public release. Must be called after
/// the layout is checked, since a newer layout explains an unknown memory better.
///
/// # Errors
/// [`PreflightError::UnknownMemory`].
pub fn check_unknown<M: Memory>(memories: &MemoryManager<M>) -> Result<(), PreflightError> {
    // Memories that the first public release has written stay where they are; a memory that a second memory manager has
    // written is refused.
    let is_known = |id: u8| ALL.iter().any(|(known, ..)| *known == id) && id != numbers::RESERVED_HTTP_SECRET;
    for id in (0..u8::MAX).filter(|id| !is_known(*id)) {
        let pages = memories.get(MemoryId::new(id)).size();
        if pages > 0 {
            return Err(PreflightError::UnknownMemory { id, pages });
        }
    }
    Ok(())
}

/// Checks the fields of the memory manager's header against each other and against the size of the memory.
///
/// ```text
/// byte 0..4        "MGR", 1
/// byte 4..6        number of allocated buckets, little-endian
/// byte 6..8        pages of a bucket, little-endian
/// byte 8..40       reserved
/// byte 40..2080    pages of each of 255 memories, eight bytes each
/// byte 2080..      the memory that each bucket belongs to, one byte each
/// ```
fn check_manager_header(raw: &impl Memory) -> Result<(), PreflightError> {
    let damaged_header =
        |offset, what, found, expected| Err(PreflightError::DamagedHeader { offset, what, found, expected });
    let [buckets, bucket_pages] = allocated_buckets(raw);
    if bucket_pages == 0 {
        return damaged_header(6, "the size of a bucket", 0, "at least one page".into());
    }
    let buckets_that_fit = raw.size().saturating_sub(1).div_euclid(bucket_pages);
    if buckets > buckets_that_fit.min(MAX_BUCKETS) {
        let expected = format!("at most {}, in {} pages", buckets_that_fit.min(MAX_BUCKETS), raw.size());
        return damaged_header(4, "the number of buckets", buckets, expected);
    }
    // By memory id: number of buckets that belong to the memory.
    let mut owned = [0_u64; 256];
    let mut owners = [[UNOWNED; 8]; 512];
    for first in (0..MAX_BUCKETS).step_by(owners.as_flattened().len()) {
        raw.read(OWNERS_OFFSET.saturating_add(first), owners.as_flattened_mut());
        // Most owners are compared eight at a time: comparing each of 32,768 bytes would double the cost of an upgrade.
        let bits = |eight: [u8; 8]| u64::from_ne_bytes(eight);
        if first >= buckets && owners.iter().fold(u64::MAX, |all, eight| all & bits(*eight)) == u64::MAX {
            continue;
        }
        for (bucket, eight) in (first..).step_by(8).zip(owners) {
            if bucket >= buckets && bits(eight) == u64::MAX {
                continue;
            }
            for (bucket, owner) in (bucket..).zip(eight) {
                // The manager would lose an allocated bucket without an owner, and would allocate an owned bucket
                // beyond the count a second time.
                if (owner == UNOWNED) == (bucket < buckets) {
                    let expected = match bucket < buckets {
                        true => format!("the id of a memory, since {buckets} buckets are allocated"),
                        false => format!("{UNOWNED} (none), since only {buckets} buckets are allocated"),
                    };
                    let offset = OWNERS_OFFSET.saturating_add(bucket);
                    return damaged_header(offset, "the memory id of a bucket", u64::from(owner), expected);
                }
                if let Some(buckets) = owned.get_mut(usize::from(owner)) {
                    *buckets = buckets.saturating_add(1);
                }
            }
        }
    }
    let mut sizes = [[0; 8]; u8::MAX as usize];
    raw.read(SIZES_OFFSET, sizes.as_flattened_mut());
    for ((id, size), owned) in (0..u8::MAX).zip(sizes).zip(owned) {
        let offset = SIZES_OFFSET.saturating_add(u64::from(id).saturating_mul(8));
        let pages = u64::from_le_bytes(size);
        if pages.div_ceil(bucket_pages) != owned {
            let expected = format!("that of {owned} buckets of {bucket_pages} pages");
            return damaged_header(offset, "the size of a memory", pages, expected);
        }
    }
    Ok(())
}

/// In place of the memory id of a bucket: the bucket is not allocated. So no memory has the id 255.
const UNOWNED: u8 = u8::MAX;

const SIZES_OFFSET: u64 = 40;

const OWNERS_OFFSET: u64 = 2_080;

/// Returns `Ok(())` if a memory is empty or begins with the magic of its structure.
///
/// # Errors
/// [`PreflightError::ForeignStructure`].
pub fn check_structure<M: Memory>(
    memories: &MemoryManager<M>,
    id: u8,
    name: &'static str,
    structure: Structure,
) -> Result<(), PreflightError> {
    let Some(magic) = structure.magic() else {
        return Ok(());
    };
    let memory = memories.get(MemoryId::new(id));
    if memory.size() == 0 {
        return Ok(());
    }
    let mut found = [0; 3];
    memory.read(0, &mut found);
    if found == *magic {
        return Ok(());
    }
    let expected = format!("\"{}\"", String::from_utf8_lossy(magic));
    Err(PreflightError::ForeignStructure { id, name, found, expected })
}
