//! The running canister, and the caller, time and instruction count of the current message.

use std::cell::RefCell;

use candid::Principal;

use crate::api::{Error, Result};
use crate::meter::Meter;
use crate::session::Time;
use crate::storage::Storage;
use crate::upload::path::ActivePath;
use crate::upload::{UploadService, limits};

/// The state of the canister between messages. The path is on the heap only, and starts empty after an upgrade.
pub struct App {
    pub storage: Storage,
    pub path: ActivePath,
}

thread_local! {
    static APP: RefCell<Option<App>> = const { RefCell::new(None) };
}

/// The IC's instruction counter for the current message.
pub struct MessageMeter;

impl Meter for MessageMeter {
    fn used(&self) -> u64 {
        ic_cdk::api::performance_counter(0)
    }
}

pub fn now() -> Time {
    Time::from_nanos(ic_cdk::api::time())
}

/// Calls `f` with the canister's state; [`Error::Internal`] before [`serve`] was called.
pub fn with_app<T>(f: impl FnOnce(&mut App) -> Result<T>) -> Result<T> {
    APP.with_borrow_mut(|app| match app {
        Some(app) => f(app),
        None => Err(Error::Internal("the canister is not initialized".into())),
    })
}

/// Calls `f` with the upload service for the caller and the time of this message.
pub fn with_uploads<T>(f: impl FnOnce(&mut UploadService<'_>) -> Result<T>) -> Result<T> {
    with_app(|App { storage, path }| {
        let meter = &MessageMeter;
        f(&mut UploadService::new(storage, path, ic_cdk::api::msg_caller(), now(), meter))
    })
}

/// Returns [`Error::Unauthorized`] unless the caller is a controller.
pub fn controllers_only() -> Result<()> {
    let caller = ic_cdk::api::msg_caller();
    if ic_cdk::api::is_controller(&caller) {
        Ok(())
    } else {
        Err(Error::Unauthorized { caller, needs: "to be a controller".into() })
    }
}

pub fn caller() -> Principal {
    ic_cdk::api::msg_caller()
}

/// Makes `storage` the storage of this message and of all later ones.
pub fn serve(mut storage: Storage) {
    storage.include_version_in_ids(ic_cdk::api::canister_version);
    APP.set(Some(App { storage, path: Default::default() }));
}

/// Prints an error to the canister's log, and stores it for `admin_errors`. In a query, neither is kept.
pub fn report(source: &str, error: impl ToString) {
    let error = error.to_string();
    ic_cdk::api::debug_print(format!("{source}: {error}"));
    APP.with_borrow(|app| {
        if let Some(App { storage, .. }) = app {
            storage.errors.store(source, &error, now());
        }
    });
}

/// Returns the number of items on a page: `limit`, but at most [`limits::MAX_PAGE`], which is also the default.
pub fn page_limit(limit: Option<u32>) -> usize {
    limit.unwrap_or(limits::MAX_PAGE).min(limits::MAX_PAGE) as usize
}
