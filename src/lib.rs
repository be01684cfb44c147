//! Chunked, resumable uploads to an Internet Computer canister.
//!
//! This crate produces three builds, selected by cargo features: `compat` alone is the legacy build, `direct` alone the
//! direct build, and both together the staged build, which takes a canister from the legacy to the direct build while
//! clients keep uploading. See `ARCHITECTURE.md` for an overview.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unreachable,
        reason = "nothing traps on input"
    )
)]

pub mod api;
pub mod blob;
pub mod blob_access;
pub mod build_profile;
mod bytes;
pub mod canister;
pub mod capsule;
pub mod capsule_creation;
pub mod config;
pub mod downloads;
pub mod error_log;
mod leb128;
pub mod memories;
pub mod meter {
    //! How many instructions a message has used.
    pub use ic_stable_migrate::{Meter, Unmetered};
}
pub mod metrics;
pub mod migrate;
pub mod session;
pub mod stable;
pub mod storage;
pub mod upload;
pub mod web;

#[cfg(feature = "direct")]
#[path = "../migrations/mod.rs"]
pub mod migrations;
