//! `Storage`: the only handle to each stable structure of the canister, and how a storage is created or opened. The
//! rules of uploads are in `upload/`.
//!
//! No state on the heap has to survive an upgrade, so there is no `pre_upgrade`.

use crate::api::AdminConfig;
use crate::blob::BlobStore;
use crate::blob_access::AccessKeys;
use crate::build_profile::{BUILD, FRESH_LAYOUT};
use crate::capsule::CapsuleStore;
use crate::capsule_creation::CapsuleMakerList;
use crate::config::Config;
use crate::downloads::Downloads;
use crate::error_log::ErrorLog;
use crate::migrate::{self, MigrationState, MigrationTables, Phase};
use crate::session::SessionId;
use crate::stable::layout::Layout;
use crate::stable::memory_ids::{
    CREATED_WITH_FIRST_UPLOAD, CREATED_WITH_LAYOUT_3, LAST_CREATED_BEFORE_LAYOUT_3,
};
use crate::stable::preflight::{self, PreflightError};
use crate::stable::{
    self, Memories, NoRoom, RawMemory, Register, StableError, StableRoom, Structures, Table, memory_ids,
};
use crate::upload::mapped_sessions::MappedSessions;
use crate::upload::{PathCounters, PayloadState, Promises, Receipts, SessionIndex, SessionTables, Usage};

mod contents;

/// All stable structures of the canister.
pub struct Storage {
    /// Number of the stable layout.
    pub layout: Register<Layout>,
    /// Sessions in flight.
    pub sessions: SessionTables,
    /// Ids of sessions in flight, by idempotency key, activity and owner.
    pub index: SessionIndex,
    /// Where the bytes of sessions in flight go, and how much of them is hashed, by session id.
    pub payloads: Table<u64, PayloadState>,
    /// In layout 3: the sessions whose bytes may still be in the chunk map. Every other session has its bytes in
    /// extents.
    pub mapped_sessions: Register<MappedSessions>,
    /// Receipts of ended sessions.
    pub receipts: Receipts,
    /// Bytes in use, by account.
    pub usage: Usage,
    /// Bytes that sessions in flight have reserved but not filled yet.
    pub promises: Promises,
    /// The entry of the index by activity (a time and a session id) after which the next search for a session to evict
    /// starts; `None`: it starts at the first entry. On the heap, since a search may start at any entry.
    pub eviction_cursor: Option<(u64, u64)>,
    /// Counts of sessions, calls and errors, by path.
    pub counters: PathCounters,
    /// The latest errors that only an operator can act on.
    pub errors: ErrorLog,
    /// Chunks and committed blobs.
    pub blobs: BlobStore,
    /// Capsules and memories.
    pub capsules: CapsuleStore,
    /// The callers who may create capsules, if the setting `capsule_makers` is `Listed`.
    pub capsule_maker_list: CapsuleMakerList,
    /// Keys that authenticate tokens for browsers.
    pub access_keys: AccessKeys,
    /// Tracked downloads.
    pub downloads: Downloads,
    /// Settings that controllers can change.
    pub settings: Register<Config>,
    /// States, journal and quarantines of the migrations.
    pub migration: MigrationTables,
    /// The structures that are created with the first upload.
    pub created_with_first_upload: Structures,
    /// Room left in stable memory.
    pub room: StableRoom,
}

/// Why the storage cannot be created or opened. The message must then trap, so that nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The preflight refuses stable memory.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// This build does not accept the layout.
    #[error(
        "stable memory is in layout {found}, the {build} build accepts {accepted}; {advice}; nothing was changed"
    )]
    LayoutRefused {
        /// Layout according to the header; 1 if there is no header.
        found: u16,
        /// Name of this build.
        build: &'static str,
        /// Layouts that this build accepts, as text.
        accepted: String,
        /// Advice on what to do.
        advice: &'static str,
    },
    /// A record does not decode.
    #[error(transparent)]
    Stable(#[from] StableError),
    /// The migrations of this build do not fit the layout and the progress in stable memory.
    #[error("{0}; nothing was changed")]
    Migration(#[from] ic_stable_migrate::Error),
    /// A structure that does not exist in this memory yet cannot be created.
    #[error("{0}; nothing was changed")]
    NoRoom(#[from] NoRoom),
}

/// Creates the structures that every stable memory of this layout has, unless they exist. In layout 3, also updates the
/// marks of the structures that exist ([`stable::mark_all`]).
fn make_structures(memories: &Memories, layout: Layout, room: &StableRoom) -> Result<(), NoRoom> {
    if layout < Layout::EXTENTS {
        return Structures::of(memories, |id| id <= LAST_CREATED_BEFORE_LAYOUT_3).create(room);
    }
    Structures::of(memories, |id| CREATED_WITH_LAYOUT_3.contains(&id)).create(room)?;
    stable::mark_all(memories);
    Ok(())
}

impl Storage {
    /// Creates the storage of a fresh installation.
    ///
    /// # Errors
    /// [`OpenError::NoRoom`].
    pub fn create(raw: RawMemory) -> Result<Self, OpenError> {
        Self::create_in(raw, FRESH_LAYOUT)
    }

    /// Creates the storage of a fresh installation in a layout.
    ///
    /// # Errors
    /// [`OpenError::NoRoom`].
    pub fn create_in(raw: RawMemory, layout: Layout) -> Result<Self, OpenError> {
        let memories = Memories::init(raw.clone());
        let mut storage = Self::open(&memories, raw, layout)?;
        storage.layout.set(&layout);
        storage.promises.start_counting_after(storage.sessions.ids.last()?);
        Ok(storage)
    }

    /// Opens the storage of an installed canister, after the preflight, for a build that accepts these layouts. Memory
    /// without a layout header is layout 1 if it holds sessions of that layout, and gets a header; otherwise this
    /// canister did not write the memory, and it is refused.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_accepting(raw: RawMemory, accepted: &[Layout]) -> Result<Self, OpenError> {
        let memories = preflight::open_existing(raw.clone())?;
        let stored_layout = contents::read_layout(&memories)?;
        let layout = stored_layout.unwrap_or(Layout::LEGACY);
        if !accepted.contains(&layout) {
            return Err(Self::layout_refused(layout, accepted, contents::read_migration_state(&memories)?));
        }
        preflight::check_none_missing(&memories)?;
        preflight::check_unknown(&memories)?;
        contents::check(&memories, stored_layout)?;
        let mut storage = Self::open(&memories, raw, layout)?;
        storage.promises.start_counting_after(storage.sessions.ids.last()?);
        if stored_layout.is_none() {
            storage.layout.set(&layout);
        }
        Ok(storage)
    }

    fn layout_refused(layout: Layout, accepted: &[Layout], state: MigrationState) -> OpenError {
        let accepted: Vec<String> = accepted.iter().map(|layout| layout.0.to_string()).collect();
        let is_stopped = matches!(state.phase, Phase::Paused | Phase::Stuck);
        OpenError::LayoutRefused {
            found: layout.0,
            build: BUILD,
            accepted: accepted.join(" and "),
            advice: if state.phase == Phase::Finalized {
                "the migration is finalized, so no rollback is possible"
            } else if layout > Layout::SPLIT {
                "this layout cannot be rolled back"
            } else if state.phase == Phase::RollingBack {
                "the rollback is in progress: wait for RolledBack on the staged build"
            } else if state.is_going_back() && is_stopped {
                "the rollback has stopped in the middle: resume it on the staged build"
            } else {
                "roll the migration back on the staged build first"
            },
        }
    }

    fn open(memories: &Memories, raw: RawMemory, layout: Layout) -> Result<Self, OpenError> {
        let room = StableRoom::of(memories, raw);
        make_structures(memories, layout, &room)?;
        Ok(Self {
            layout: Register::open(memories, memory_ids::LAYOUT),
            sessions: SessionTables::open(memories)?,
            index: SessionIndex::open(memories),
            payloads: Table::open(memories, memory_ids::PAYLOAD_STATES),
            mapped_sessions: Register::open(memories, memory_ids::MAPPED_SESSIONS),
            receipts: Receipts::open(memories),
            usage: Usage::open(memories),
            promises: Promises::open(memories),
            eviction_cursor: None,
            counters: PathCounters::open(memories),
            errors: ErrorLog::open(memories),
            blobs: BlobStore::open(memories, &room),
            capsules: CapsuleStore::open(memories, &room),
            capsule_maker_list: CapsuleMakerList::open(memories),
            access_keys: AccessKeys::open(memories),
            downloads: Downloads::open(memories),
            settings: Register::open(memories, memory_ids::CONFIG),
            migration: migrate::open_tables(memories),
            created_with_first_upload: Structures::of(memories, |id| CREATED_WITH_FIRST_UPLOAD.contains(&id)),
            room,
        })
    }

    /// From now on, every session id and capsule id contains the canister version that `version` returns.
    pub fn include_version_in_ids(&mut self, version: fn() -> u64) {
        self.sessions.ids.include_version(version);
        self.capsules.ids.include_version(version);
    }

    /// Returns where the bytes of a session are stored and how many bytes are hashed; without an entry, the bytes are
    /// in the chunk map, and none is hashed.
    ///
    /// # Errors
    /// The entry does not decode.
    pub fn payload_of(&self, id: SessionId) -> Result<PayloadState, StableError> {
        Ok(self.payloads.get(&id.0)?.unwrap_or_default())
    }

    /// Returns the effective settings, with `max_bytes` reduced to what stable memory has room for.
    ///
    /// # Errors
    /// The stored settings or the layout do not decode.
    pub fn limits(&self) -> Result<AdminConfig, StableError> {
        let limits = self.config()?;
        let is_in_extents = self.layout.get()?.is_some_and(|layout| layout >= Layout::EXTENTS);
        let region_capacity = is_in_extents.then(|| self.blobs.extents().capacity());
        Ok(AdminConfig { max_bytes: self.room.payload_limit(region_capacity, limits.max_bytes), ..limits })
    }

    /// Returns the effective settings, without the reduction of [`Self::limits`].
    ///
    /// # Errors
    /// The stored settings do not decode.
    pub fn config(&self) -> Result<AdminConfig, StableError> {
        Ok(self.settings.get()?.unwrap_or_default().effective())
    }

    /// Describes the stored structures, for the schema.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        to.register(memory_ids::numbers::LAYOUT, &self.layout);
        self.sessions.describe(to);
        self.index.describe(to);
        to.table(memory_ids::numbers::PAYLOAD_STATES, &self.payloads);
        to.register(memory_ids::numbers::MAPPED_SESSIONS, &self.mapped_sessions);
        self.receipts.describe(to);
        self.usage.describe(to);
        self.errors.describe(to);
        self.blobs.describe(to);
        self.capsules.describe(to);
        self.capsule_maker_list.describe(to);
        self.access_keys.describe(to);
        self.downloads.describe(to);
        to.register(memory_ids::numbers::CONFIG, &self.settings);
        migrate::describe(to);
    }
}
