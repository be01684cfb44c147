//! An upload in flight.

use crate::api::{AdminConfig, SessionPath};
use crate::session::{Session, Time};

use super::UploadMeta;

/// An upload in flight: the session and its meta, whichever layer stores them.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    /// Which chunks have arrived.
    pub session: Session,
    /// Its destination and metadata.
    pub meta: UploadMeta,
    /// The layer that stores it.
    pub path: SessionPath,
}

/// 2001-09-09 in nanoseconds. A smaller value is one that the first public release recorded in another unit.
const EARLIEST_NANOS: u64 = 1_000_000_000_000_000_000;

impl Upload {
    /// Returns when it began, if that is known.
    pub fn begun_at(&self) -> Time {
        let created_at = self.meta.created_at;
        if created_at < EARLIEST_NANOS {
            self.session.session_meta.last_seen
        } else {
            Time::from_nanos(created_at)
        }
    }

    /// Returns when it expires if nothing else happens: idle too long, or too old.
    pub fn expires_at(&self, limits: &AdminConfig) -> Time {
        let idle = self.session.session_meta.last_seen.plus_seconds(limits.session_ttl_seconds);
        idle.min(self.begun_at().plus_seconds(limits.session_age_seconds()))
    }
}
