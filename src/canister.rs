//! The entry points: decode, guard, call, reply. Only this module and those below it depend on the IC and its
//! macros.

mod access_keys;
mod arguments;
mod blobs;
mod capsules;
mod controls;
mod downloads;
mod entry;
mod headers;
mod http;
mod message;
#[cfg_attr(not(feature = "direct"), path = "canister/no_migration.rs")]
mod migration;
mod put_args;
mod streams;
mod timers;
mod uploads;

use std::cell::RefCell;

use candid::Principal;
use macro_rules_attribute::apply;
use serde_bytes::ByteBuf;

use entry::{query, update};
use timers::Job;

use crate::api::*;
use crate::build_profile::{BUILD, FEATURES, LAYOUTS};
use crate::config::Config;
use crate::meter::Meter;
use crate::metrics::Readings;
use crate::session::Time;
use crate::stable::RawMemory;
use crate::storage::Storage;
use crate::upload::path::{ActivePath, cache_record_headers};
use crate::upload::{UploadService, limits};
use crate::{memories, metrics};

/// The running canister.
struct App {
    storage: Storage,
    path: ActivePath,
}

thread_local! {
    static APP: RefCell<Option<App>> = const { RefCell::new(None) };
    static SWEEPS: timers::Chain = const { timers::Chain::new() };
}

/// The IC's instruction counter for the current message.
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
        None => Err(Error::Internal("the canister is not initialized".into())),
    })
}

fn uploads<T>(f: impl FnOnce(&mut UploadService<'_>) -> Result<T>) -> Result<T> {
    with_app(|App { storage, path }| {
        let meter = &MessageMeter;
        f(&mut UploadService::new(storage, path, ic_cdk::api::msg_caller(), now(), meter))
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
    put_to_work(storage);
    timers::start();
}

#[ic_cdk::post_upgrade]
fn post_upgrade() {
    // An upgrade is refused by trapping: the old code keeps running, and memory is unchanged.
    let storage = match Storage::open_existing(RawMemory::default()) {
        Ok(storage) => storage,
        Err(error) => ic_cdk::trap(format!("upgrade refused: {error}")),
    };
    put_to_work(storage);
    migration::start();
    timers::start();
}

fn put_to_work(mut storage: Storage) {
    storage.number_by(ic_cdk::api::canister_version);
    APP.set(Some(App { storage, path: Default::default() }));
    http::certify();
}

/// Logs an error in a message that nobody waits for, and stores it for `admin_errors`.
fn report(source: &str, error: impl ToString) {
    let error = error.to_string();
    ic_cdk::api::debug_print(format!("{source}: {error}"));
    APP.with_borrow(|app| {
        if let Some(App { storage, .. }) = app {
            storage.errors.note(source, &error, now());
        }
    });
}

/// Ends what has expired, and starts to remove what is left of it.
fn sweep() {
    sweep_some();
    if let Err(error) = with_app(|App { storage, .. }| crate::downloads::sweep(storage, now())) {
        report("sweep", error);
    }
}

/// Runs one slice of the sweep; continues immediately as long as there is more to do.
fn sweep_some() {
    let sessions = uploads(|uploads| uploads.sweep());
    let memories = with_app(|App { storage, .. }| memories::sweep(storage, &MessageMeter));
    // A memory that cannot be removed is skipped, and there may be others after it.
    if sessions == Ok(false) || memories != Ok(true) {
        SWEEPS.with(|sweeps| sweeps.run_next(sweep_some));
    }
    for error in [sessions, memories].into_iter().filter_map(Result::err) {
        report("sweep", error);
    }
}

/// Skips a removal that made the sweep's message trap.
fn watch_removals() {
    let watched = with_app(|App { storage, .. }| {
        storage.blobs.watch_removals();
        Ok(())
    });
    if let Err(error) = watched {
        report("sweep", error);
    }
}

/// Returns the number of entries in one page.
fn page(limit: Option<u32>) -> usize {
    limit.unwrap_or(limits::MAX_PAGE).min(limits::MAX_PAGE) as usize
}

/// Returns the running build.
#[apply(query)]
fn build_info() -> BuildInfo {
    BuildInfo {
        build: BUILD.into(),
        features: FEATURES.iter().map(|feature| (*feature).to_owned()).collect(),
        version: env!("CARGO_PKG_VERSION").into(),
        layouts: LAYOUTS.iter().map(|layout| layout.0).collect(),
    }
}

/// Returns the limits and the share of new sessions on the compat path. For controllers.
#[apply(query)]
fn admin_config_get() -> Result<AdminConfig> {
    controllers_only()?;
    with_app(|App { storage, .. }| Ok(storage.config()?))
}

/// Changes the given settings. Settings that would refuse every upload are accepted only with `opt true`. For
/// controllers.
#[apply(update)]
fn admin_config_set(config: AdminConfig, force: Option<bool>) -> Result<()> {
    controllers_only()?;
    with_app(|App { storage, .. }| {
        let config = config.or(storage.settings.get()?.unwrap_or_default());
        let checked = Config::checked(config)?;
        if force != Some(true) {
            config.check_open(&storage.config()?, storage.usage.total()?)?;
        }
        migration::controls::check_share(storage, config.compat_share_percent)?;
        storage.settings.set(&checked);
        Ok(())
    })?;
    migration::run_slice();
    Ok(())
}

/// Returns the size of stable memory, bytes; a page has 64 KiB.
fn stable_memory_bytes() -> u64 {
    ic_cdk::stable::stable_size() << 16
}

/// Returns the size of the heap, bytes.
fn heap_memory_bytes() -> u64 {
    #[cfg(target_arch = "wasm32")]
    let pages = core::arch::wasm32::memory_size(0);
    #[cfg(not(target_arch = "wasm32"))]
    let pages = 0_usize;
    (pages as u64) << 16
}

fn readings() -> Readings {
    let now = ic_cdk::api::time();
    let age = |at: u64| now.saturating_sub(at).div_euclid(1_000_000_000);
    Readings {
        stable_memory_bytes: stable_memory_bytes(),
        heap_memory_bytes: heap_memory_bytes(),
        cycle_balance: ic_cdk::api::canister_cycle_balance(),
        jobs: Job::ALL.iter().map(|job| (job.name(), age(job.ran_at()))).collect(),
        migration_step_age: migration::stepped_at().map(age),
    }
}

/// Returns statistics about the contents of the canister. For controllers.
#[apply(query)]
fn admin_stats() -> Result<AdminStats> {
    controllers_only()?;
    with_app(|App { storage, .. }| metrics::stats(storage, stable_memory_bytes()))
}

/// Begins a canary: from now on `admin_canary_report` compares the sessions that begin on the two paths of
/// the staged build, at the current share. Discards the counts of an earlier canary. For controllers.
#[apply(update)]
fn admin_canary_begin() -> Result<()> {
    controllers_only()?;
    with_app(|App { storage, .. }| {
        let share = storage.config()?.compat_share_percent;
        if !(1..=99).contains(&share) {
            let detail = "set compat_share_percent from 1 to 99 first, on the staged build";
            return Err(Error::conflict("canary", format!("at a share of {share} %"), detail));
        }
        storage.counters.begin_canary(now(), share);
        Ok(())
    })
}

/// Reports whether the sessions of the canary do worse on the direct path than on the compat path, by more
/// than a margin in percentage points (2 by default): no difference seen, worse, or more sessions needed. For
/// controllers.
#[apply(query)]
fn admin_canary_report(margin_percent: Option<u8>) -> Result<CanaryReport> {
    controllers_only()?;
    let margin = margin_percent.unwrap_or(2);
    if !(1..=50).contains(&margin) {
        return Err(Error::invalid("margin_percent", "1 to 50", margin));
    }
    with_app(|App { storage, .. }| storage.counters.canary_report(margin))
}

/// Returns the last errors that clients cannot do anything about, latest first: from timers and from damaged
/// stored data. They survive upgrades, however many uploads are finished. For controllers.
#[apply(query)]
fn admin_errors() -> Result<Vec<RecentError>> {
    controllers_only()?;
    with_app(|App { storage, .. }| Ok(storage.errors.recent()))
}

/// Writes the Candid headers of the replies, and of the records that this build stores as Candid.
fn write_headers() -> std::result::Result<(), candid::Error> {
    cache_record_headers()?;
    uploads::write_headers()?;
    blobs::write_headers()?;
    capsules::write_headers()?;
    controls::write_headers()?;
    downloads::write_headers()?;
    http::write_headers()?;
    entry::write_headers!(
        build_info,
        admin_config_get,
        admin_config_set,
        admin_canary_begin,
        admin_canary_report,
        admin_stats,
        admin_errors
    )
}

/// The entry point that reads its arguments itself; this one is only for the interface description.
#[allow(missing_docs, unused_variables, dead_code, reason = "never called")]
mod interface {
    use super::entry::Replied;
    use super::*;

    /// Stores a chunk, in any order; sending the same bytes again is allowed. All chunks but the last must
    /// have the size in `upload_config`. If `sha256` is given, the chunk is checked against it.
    #[candid::candid_method(update)]
    fn uploads_put_chunk(session: u64, idx: u32, chunk: ByteBuf, sha256: Option<ByteBuf>) -> Result<()> {
        Ok(())
    }

    ic_cdk::export_candid!();
}
