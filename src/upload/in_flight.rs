//! Uploads in flight, and when they expire.

use crate::api::{AdminConfig, SessionPath};
use crate::session::{Session, Time};

use super::UploadMeta;

/// An upload in flight: the session and its upload meta, whichever path stores them.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    /// The session, including which chunks have arrived.
    pub session: Session,
    /// The capsule of the upload, its metadata, and the id of the memory that finish will create.
    pub meta: UploadMeta,
    /// The path that stores the session.
    pub path: SessionPath,
}

/// 2001-09-09 in nanoseconds. A smaller creation time is one of the first public release, in another unit.
const EARLIEST_NANOS: u64 = 1_000_000_000_000_000_000;

impl Upload {
    /// Returns when the upload began; if that is unknown, when it was last active.
    pub fn begun_at(&self) -> Time {
        let created_at = self.meta.created_at;
        if created_at < EARLIEST_NANOS {
            self.session.session_meta.last_seen
        } else {
            Time::from_nanos(created_at)
        }
    }

    /// Returns when the upload expires unless there is further activity: when it has been idle for the time to live, or
    /// when it reaches the maximum age, whichever is earlier. May be in the past.
    pub fn expires_at(&self, limits: &AdminConfig) -> Time {
        let idle_expiry = self.session.session_meta.last_seen.plus_seconds(limits.session_ttl_seconds);
        idle_expiry.min(self.begun_at().plus_seconds(limits.session_age_seconds()))
    }
}
