//! What controllers set and anybody may know about the running build.

use candid::CandidType;
use serde::{Deserialize, Serialize};

/// Settings of a controller.
#[derive(CandidType, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Share of new sessions that take the compat path, 0 to 100 %. Only a build with both paths accepts
    /// a value between its extremes.
    pub compat_share_percent: u8,
    /// A session expires this long after its last activity, seconds.
    pub session_ttl_seconds: u64,
}

/// Which build is running.
#[derive(CandidType, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// `legacy`, `staged` or `direct`.
    pub build: String,
    /// Cargo features it was compiled with.
    pub features: Vec<String>,
    /// Package version.
    pub version: String,
    /// Stable layouts it accepts at an upgrade.
    pub layouts: Vec<u16>,
}
