//! The entry points: decode, guard, call, reply. Only this module and its submodules depend on the IC and its macros.

mod access_keys;
mod app;
mod arguments;
mod blobs;
mod candid_headers;
mod capsules;
mod controls;
mod downloads;
mod entry;
mod http;
mod message;
// In the legacy build, the module `migration` is the file `no_migration.rs`.
#[cfg_attr(not(feature = "direct"), path = "canister/no_migration.rs")]
mod migration;
mod put_args;
mod readings;
mod streams;
mod sweep;
mod timers;
mod uploads;

use macro_rules_attribute::apply;
use serde_bytes::ByteBuf;

use app::{App, controllers_only, now, with_app};
use entry::{query, update};
use readings::stable_memory_bytes;

use crate::api::*;
use crate::build_profile::{BUILD, FEATURES, LAYOUTS};
use crate::config::Config;
use crate::stable::RawMemory;
use crate::storage::Storage;
use crate::upload::path::cache_candid_headers_of_records;
use crate::{metrics, migrate};

#[ic_cdk::init]
fn init() {
    let storage = match Storage::create(RawMemory::default()) {
        Ok(storage) => storage,
        Err(error) => ic_cdk::trap(format!("installation refused: {error}")),
    };
    app::serve(storage);
    http::certify();
    timers::start(cache_candid_headers);
}

#[ic_cdk::post_upgrade]
fn post_upgrade() {
    // An upgrade is refused by trapping: the old code keeps running, and memory is unchanged.
    let storage = match migrate::open_storage(RawMemory::default()) {
        Ok(storage) => storage,
        Err(error) => ic_cdk::trap(format!("upgrade refused: {error}")),
    };
    app::serve(storage);
    http::certify();
    migration::start();
    timers::start(cache_candid_headers);
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

/// Changes the given settings. Settings that would refuse every upload, or every new capsule, are accepted only with
/// `opt true`. For controllers.
#[apply(update)]
fn admin_config_set(config: AdminConfig, force: Option<bool>) -> Result<()> {
    controllers_only()?;
    with_app(|App { storage, .. }| {
        let config = config.or(storage.settings.get()?.unwrap_or_default());
        let checked = Config::checked(config)?;
        if force != Some(true) {
            config.check_admits_uploads(&storage.config()?, storage.usage.total()?)?;
        }
        migration::controls::check_share(storage, config.compat_share_percent)?;
        storage.settings.set(&checked);
        Ok(())
    })?;
    migration::run_next_message();
    Ok(())
}

/// Returns statistics about the contents of the canister. For controllers.
#[apply(query)]
fn admin_stats() -> Result<AdminStats> {
    controllers_only()?;
    with_app(|App { storage, .. }| metrics::stats(storage, stable_memory_bytes()))
}

/// Begins a canary: from now on `admin_canary_report` compares new sessions on the two paths of the staged build,
/// at the current share. Discards the counts of an earlier canary. For controllers.
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

/// Reports whether the sessions of the canary do worse on the direct path than on the compat path, by more than a
/// margin in percentage points (2 by default): no difference seen, worse, or more sessions needed. For controllers.
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
/// stored data. They survive upgrades and any number of finished uploads. For controllers.
#[apply(query)]
fn admin_errors() -> Result<Vec<RecentError>> {
    controllers_only()?;
    with_app(|App { storage, .. }| Ok(storage.errors.recent()))
}

/// Caches the Candid headers of the entry points, and of the records that this build stores as Candid.
fn cache_candid_headers() -> std::result::Result<(), candid::Error> {
    cache_candid_headers_of_records()?;
    uploads::cache_candid_headers()?;
    blobs::cache_candid_headers()?;
    capsules::cache_candid_headers()?;
    controls::cache_candid_headers()?;
    downloads::cache_candid_headers()?;
    http::cache_candid_headers()?;
    entry::cache_candid_headers!(
        build_info,
        admin_config_get,
        admin_config_set,
        admin_canary_begin,
        admin_canary_report,
        admin_stats,
        admin_errors
    )
}

/// The signature of `uploads_put_chunk`, only for the interface; `uploads::put_chunk` is the entry point.
#[allow(missing_docs, unused_variables, dead_code, reason = "never called")]
mod interface {
    use candid::Principal;

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
