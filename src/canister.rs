//! The entry points: decode, guard, call, reply. The only file that knows the IC's macros; with the modules
//! below it, the only one that knows the IC.

mod entry;
mod message;
#[cfg_attr(not(feature = "direct"), path = "canister/no_migration.rs")]
mod migration;
mod put_args;
mod streams;
mod uploads;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::time::Duration;

use candid::Principal;
use macro_rules_attribute::apply;
use serde_bytes::ByteBuf;

use entry::{query, update};

use crate::api::*;
use crate::blob::BlobId;
use crate::capsule::Access;
use crate::config::Config;
use crate::memories::NewContent;
use crate::meter::Meter;
use crate::session::Time;
use crate::stable::RawMemory;
use crate::stable::layout::Layout;
use crate::storage::Storage;
use crate::upload::path::{ActivePath, BUILD, FEATURES, LAYOUTS};
use crate::upload::{UploadService, limits};
use crate::{memories, metrics};

/// How often idle sessions, old receipts and released chunks are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// The canister at work.
struct App {
    storage: Storage,
    path: ActivePath,
}

thread_local! {
    static APP: RefCell<Option<App>> = const { RefCell::new(None) };
}

/// The IC's counter of the present message.
struct MessageMeter;

impl Meter for MessageMeter {
    fn used(&self) -> u64 {
        ic_cdk::api::performance_counter(0)
    }
}

fn now() -> Time {
    Time::from_nanos(ic_cdk::api::time())
}

fn with_app<T>(f: impl FnOnce(&mut App) -> Result<T>) -> Result<T> {
    APP.with_borrow_mut(|app| match app {
        Some(app) => f(app),
        None => Err(Error::Internal("the canister is not initialised".into())),
    })
}

fn uploads<T>(f: impl FnOnce(&mut UploadService<'_>) -> Result<T>) -> Result<T> {
    with_app(|App { storage, path }| {
        let meter = &MessageMeter;
        f(&mut UploadService { storage, path, caller: ic_cdk::api::msg_caller(), now: now(), meter })
    })
}

fn controllers_only() -> Result<()> {
    let caller = ic_cdk::api::msg_caller();
    if ic_cdk::api::is_controller(&caller) {
        Ok(())
    } else {
        Err(Error::Unauthorized { caller, needs: "to be a controller".into() })
    }
}

fn caller() -> Principal {
    ic_cdk::api::msg_caller()
}

#[ic_cdk::init]
fn init() {
    let storage = match Storage::create(RawMemory::default()) {
        Ok(storage) => storage,
        Err(error) => ic_cdk::trap(format!("installation refused: {error}")),
    };
    APP.set(Some(App { storage, path: Default::default() }));
    start_timers();
}

#[ic_cdk::post_upgrade]
fn post_upgrade() {
    // Refusing an upgrade is done by trapping: the old code goes on over untouched memory.
    let storage = match Storage::open_existing(RawMemory::default()) {
        Ok(storage) => storage,
        Err(error) => ic_cdk::trap(format!("upgrade refused: {error}")),
    };
    APP.set(Some(App { storage, path: Default::default() }));
    migration::start();
    start_timers();
}

fn start_timers() {
    ic_cdk_timers::set_timer(SWEEP_EVERY, async {
        if let Err(error) = streams::write_heads() {
            ic_cdk::api::debug_print(format!("type tables: {error}"));
        }
    });
    ic_cdk_timers::set_timer_interval(SWEEP_EVERY, || async {
        sweep();
        migration::watch();
    });
}

/// One slice of clearing up; goes on at once while there is more.
fn sweep() {
    let swept = uploads(|uploads| uploads.sweep()).and_then(|uploads_done| {
        with_app(|App { storage, .. }| Ok(memories::sweep(storage)? && uploads_done))
    });
    match swept {
        Ok(true) => {}
        Ok(false) => {
            ic_cdk_timers::set_timer(Duration::ZERO, async { sweep() });
        }
        Err(error) => ic_cdk::api::debug_print(format!("sweep: {error}")),
    }
}

/// Number of entries in one page.
fn page(limit: Option<u32>) -> usize {
    limit.unwrap_or(limits::MAX_PAGE).min(limits::MAX_PAGE) as usize
}

/// Which build is running.
#[apply(query)]
fn build_info() -> BuildInfo {
    BuildInfo {
        build: BUILD.into(),
        features: FEATURES.iter().map(|feature| (*feature).to_owned()).collect(),
        version: env!("CARGO_PKG_VERSION").into(),
        layouts: LAYOUTS.iter().map(|layout| layout.0).collect(),
    }
}

/// The blob of a locator, if the caller may read a capsule that holds it.
fn readable_blob(storage: &Storage, locator: &str) -> Result<BlobId> {
    let missing = || Error::not_found("blob", locator);
    let id = BlobId::from_locator(locator).ok_or_else(missing)?;
    let capsule = storage.blobs.capsule_of(id).map_err(|_| missing())?;
    storage.capsules.authorize(caller(), Access::Read, &capsule).map_err(|_| missing())?;
    Ok(id)
}

/// Size of a blob and number of its chunks, for readers of a capsule that holds it.
#[apply(query)]
fn blob_get_meta(locator: String) -> Result<BlobMeta> {
    with_app(|App { storage, .. }| {
        let blob = storage.blobs.blob(readable_blob(storage, &locator)?)?;
        Ok(BlobMeta { size: blob.size, chunk_count: blob.chunk_count() })
    })
}

/// Replies with stored bytes, or with why not.
fn reply_stored(read: impl FnOnce(&Storage) -> Result<()>) {
    if let Err(error) = with_app(|App { storage, .. }| read(storage)) {
        streams::reply(&Result::<ByteBuf>::Err(error));
    }
}

/// One chunk of a blob.
#[apply(query)]
fn blob_read_chunk(locator: String, idx: u32) -> PhantomData<Result<ByteBuf>> {
    reply_stored(|storage| {
        let id = readable_blob(storage, &locator)?;
        let blob = storage.blobs.blob(id)?;
        let (offset, len) = storage.blobs.chunk_range(id, &blob, idx)?;
        streams::reply_stored(&storage.blobs, &blob.place, offset, len)
    });
    PhantomData
}

/// `len` bytes of a blob from `offset` on.
#[apply(query)]
fn blob_read_range(locator: String, offset: u64, len: u64) -> PhantomData<Result<ByteBuf>> {
    reply_stored(|storage| {
        let id = readable_blob(storage, &locator)?;
        if len > limits::MAX_RANGE_BYTES {
            return Err(Error::invalid("len", format!("at most {} bytes", limits::MAX_RANGE_BYTES), len));
        }
        let blob = storage.blobs.blob(id)?;
        storage.blobs.check_range(id, &blob, offset, len)?;
        streams::reply_stored(&storage.blobs, &blob.place, offset, len)
    });
    PhantomData
}

/// Deletes a blob with the one memory that it belongs to; a blob that several share goes with the last of them.
#[apply(update)]
fn blob_delete(locator: String) -> Result<()> {
    with_app(|App { storage, .. }| {
        let id = readable_blob(storage, &locator)?;
        memories::delete_blob(storage, caller(), id)
    })
}

/// Makes a capsule that the caller owns, about `subject` or else about the caller.
#[apply(update)]
fn capsules_create(subject: Option<PersonRef>) -> Result<Capsule> {
    with_app(|App { storage, .. }| {
        let allowed = storage.config()?.capsules_per_caller();
        Ok(storage.capsules.create_within(allowed, caller(), subject, now())?)
    })
}

/// A capsule, for its readers.
#[apply(query)]
fn capsules_read(capsule_id: String) -> Result<Capsule> {
    with_app(|App { storage, .. }| {
        Ok(storage.capsules.authorize(caller(), Access::Read, &capsule_id)?.to_api(&capsule_id))
    })
}

/// Capsules that the caller may read, after the id `after`; at most 100.
#[apply(query)]
fn capsules_list(after: Option<String>, limit: Option<u32>) -> Result<Vec<Capsule>> {
    with_app(|App { storage, .. }| {
        Ok(storage.capsules.list_capsules(caller(), after.as_deref(), page(limit))?)
    })
}

/// Deletes a capsule, for its owners.
#[apply(update)]
fn capsules_delete(capsule_id: String) -> Result<()> {
    with_app(|App { storage, .. }| Ok(storage.capsules.delete(caller(), &capsule_id)?))
}

/// Says who owns, writes to and reads a capsule.
#[apply(update)]
fn capsules_set_access(capsule_id: String, access: CapsuleAccess) -> Result<Capsule> {
    with_app(|App { storage, .. }| Ok(storage.capsules.set_access(caller(), &capsule_id, access)?))
}

/// A memory, for readers of its capsule.
#[apply(query)]
fn memories_read(memory_id: String) -> Result<Memory> {
    with_app(|App { storage, .. }| Ok(storage.capsules.memory(caller(), &memory_id)?))
}

/// Memories of a capsule, after the id `after`; at most 100.
#[apply(query)]
fn memories_list(capsule_id: String, after: Option<String>, limit: Option<u32>) -> Result<Vec<Memory>> {
    with_app(|App { storage, .. }| {
        Ok(storage.capsules.list(caller(), &capsule_id, after.as_deref(), page(limit))?)
    })
}

/// Makes a memory of bytes that are small, already here, or elsewhere. The arguments and their order are
/// those of the first public release.
#[allow(clippy::too_many_arguments, reason = "the interface is older than this code")]
#[apply(update)]
fn memories_create(
    capsule_id: String,
    inline: Option<ByteBuf>,
    blob: Option<BlobRef>,
    backend: Option<StorageBackend>,
    storage_key: Option<String>,
    url: Option<String>,
    size: Option<u64>,
    sha256: Option<ByteBuf>,
    asset_metadata: AssetMetadata,
    idem: String,
) -> Result<String> {
    let size = size.unwrap_or(asset_metadata.base().bytes);
    let external = backend.map(|backend| (ExternalAsset { backend, storage_key, url }, size, sha256));
    let new = NewContent { inline, blob, external };
    with_app(|App { storage, .. }| {
        memories::create(storage, caller(), now(), capsule_id, new, asset_metadata, &idem)
    })
}

/// Replaces what is known of the asset of a memory.
#[apply(update)]
fn memories_update(memory_id: String, asset_metadata: AssetMetadata) -> Result<Memory> {
    with_app(|App { storage, .. }| memories::update(storage, caller(), &memory_id, asset_metadata))
}

/// Deletes a memory, and its blob when nothing else refers to it.
#[apply(update)]
fn memories_delete(memory_id: String) -> Result<()> {
    with_app(|App { storage, .. }| memories::delete(storage, caller(), &memory_id))
}

/// Phase and counts of the migration.
#[apply(query)]
fn migration_status() -> Result<MigrationStatus> {
    with_app(|App { storage, .. }| {
        let layout = storage.layout.get()?.unwrap_or(Layout::LEGACY);
        Ok(storage.migration.status(layout)?)
    })
}

/// Entries of the journal of the migration, from number `from` on.
#[apply(query)]
fn migration_journal(from: Option<u64>) -> Result<Vec<JournalEntry>> {
    with_app(|App { storage, .. }| Ok(storage.migration.journal(from.unwrap_or(0))?))
}

/// Records that the migration has kept aside, after the session `after`. For controllers.
#[apply(query)]
fn migration_quarantine(after: Option<u64>) -> Result<Vec<QuarantinedRecord>> {
    controllers_only()?;
    with_app(|App { storage, .. }| Ok(storage.migration.quarantined(after)?))
}

/// What the migration would do to the records after the session `after`, and the price; changes nothing. For controllers.
#[apply(query)]
fn migration_dry_run(after: Option<u64>, limit: Option<u32>) -> Result<DryRun> {
    controllers_only()?;
    migration::dry_run(after, limit)
}

/// Runs a control of the migration, then the engine, and says where that leads.
fn control(control: impl FnOnce(&mut Storage, Time) -> Result<()>) -> Result<MigrationStatus> {
    controllers_only()?;
    with_app(|App { storage, .. }| control(storage, now()))?;
    migration::go_on();
    migration_status()
}

/// Stops the migration after the record in hand; on the legacy build, holds it back before it begins. For controllers.
#[apply(update)]
fn migration_pause() -> Result<MigrationStatus> {
    control(migration::controls::pause)
}

/// Lets a paused or stuck migration go on. For controllers.
#[apply(update)]
fn migration_resume() -> Result<MigrationStatus> {
    control(migration::controls::resume)
}

/// Turns everything back into the old layout. For controllers, until it is finalized.
#[apply(update)]
fn migration_rollback() -> Result<MigrationStatus> {
    control(migration::controls::rollback)
}

/// Looks at every record in the new form again, and compares the digests. For controllers.
#[apply(update)]
fn migration_verify() -> Result<MigrationStatus> {
    control(migration::controls::verify)
}

/// Tries one record in quarantine again, or all of them. For controllers.
#[apply(update)]
fn migration_retry(session: Option<u64>) -> Result<MigrationStatus> {
    control(|storage, now| migration::controls::retry(storage, now, session))
}

/// Ends the migration; there is no way back. For controllers.
#[apply(update)]
fn migration_finalize() -> Result<MigrationStatus> {
    control(migration::controls::finalize)
}

/// The limits and the share of new sessions on the compat path. For controllers.
#[apply(query)]
fn admin_config_get() -> Result<AdminConfig> {
    controllers_only()?;
    with_app(|App { storage, .. }| Ok(storage.config()?))
}

/// Changes those that are given. For controllers.
#[apply(update)]
fn admin_config_set(config: AdminConfig) -> Result<()> {
    controllers_only()?;
    with_app(|App { storage, .. }| {
        let checked = Config::checked(config.or(storage.config()?))?;
        migration::controls::check_share(storage, config.compat_share_percent)?;
        storage.settings.set(&checked);
        Ok(())
    })?;
    migration::go_on();
    Ok(())
}

/// Size of stable memory, bytes; a page has 64 KiB.
fn stable_memory_bytes() -> u64 {
    ic_cdk::stable::stable_size() << 16
}

/// What the canister holds. For controllers.
#[apply(query)]
fn admin_stats() -> Result<AdminStats> {
    controllers_only()?;
    with_app(|App { storage, .. }| metrics::stats(storage, stable_memory_bytes()))
}

/// `GET /metrics` and `GET /health`.
#[apply(query)]
fn http_request(request: HttpRequest) -> HttpResponse {
    let path = request.url.split('?').next().unwrap_or_default();
    match (request.method.as_str(), path) {
        ("GET", "/metrics") => {
            match with_app(|App { storage, .. }| metrics::prometheus(storage, stable_memory_bytes())) {
                Ok(text) => HttpResponse::text(200, text),
                Err(error) => HttpResponse::text(500, error.to_string()),
            }
        }
        ("GET", "/health") => match with_app(|App { storage, .. }| Ok(storage.config()?)) {
            Ok(_) => HttpResponse::text(200, "ok\n"),
            Err(error) => HttpResponse::text(503, error.to_string()),
        },
        ("GET", _) => HttpResponse::text(404, "there are /metrics and /health\n"),
        (method, _) => HttpResponse::text(405, format!("GET only, got {method}\n")),
    }
}

/// What the entry point is that reads its arguments itself, for the interface alone.
#[allow(missing_docs, unused_variables, dead_code, reason = "never called")]
mod interface {
    use super::*;

    /// Stores a chunk, in any order; the same bytes may come again. All chunks but the last have the size that
    /// `upload_config` tells. With `sha256` the chunk is checked on its own.
    #[candid::candid_method(update)]
    fn uploads_put_chunk(session: u64, idx: u32, chunk: ByteBuf, sha256: Option<ByteBuf>) -> Result<()> {
        Ok(())
    }

    ic_cdk::export_candid!();
}
