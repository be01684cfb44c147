//! Eviction: makes room for new uploads, within the limits, by ending sessions that have reserved more than
//! they have sent.
//!
//! A begin reserves the declared size without having to send anything. So that nobody can lock others out by
//! reserving, a session may be evicted, if its room is needed, once it lags: nothing has arrived, or the
//! share that has arrived is smaller than the share of the maximum session age that has passed. Expired
//! sessions are evicted first, then the emptiest, and among these the oldest; never the caller's own
//! sessions, since the caller can abort them.

use std::cmp::{Ordering, Reverse};

use crate::api::{AdminConfig, Error, Result};
use crate::blob::RELEASE_AT_ONCE;
use crate::session::{SessionId, Time};

use super::Outcome;
use super::in_flight::Upload;
use super::limits::{CATCH_UP_INSTRUCTIONS, EVICTED_CHUNKS, EVICTION_LOOKS};
use super::service::UploadService;
use super::usage::Shortage;

/// What a call wants to store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// A session, which will fill its room later.
    Session,
    /// A file in one call.
    File,
}

/// A session that may be evicted.
struct Candidate {
    id: SessionId,
    upload: Upload,
    is_expired: bool,
}

impl UploadService<'_> {
    /// Reserves `bytes` in a capsule on every account.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] with the limit and the value that the call would need; nothing is changed
    /// then.
    pub(super) fn take_room(
        &mut self,
        capsule_id: &str,
        bytes: u64,
        wanted: Wanted,
        limits: &AdminConfig,
    ) -> Result<()> {
        let mut after = self.storage.usage.with(self.caller, capsule_id, bytes)?;
        after.check_caller(limits)?;
        let [in_capsule, in_all] = after.shortages(limits);
        let promised = match wanted {
            Wanted::Session => self.storage.promises.total().saturating_add(bytes),
            Wanted::File => 0,
        };
        let in_promises = Shortage {
            limit: "bytes promised in the canister",
            allowed: limits.max_promised_bytes(),
            requested: promised,
        };
        let shortages = [in_capsule, in_all, in_promises];
        if shortages.iter().any(|shortage| shortage.missing() > 0) {
            self.evict_for(capsule_id, shortages, limits)?;
            after = self.storage.usage.with(self.caller, capsule_id, bytes)?;
        }
        match wanted {
            Wanted::Session => self.storage.usage.reserve(&after),
            Wanted::File => self.storage.usage.store(&after),
        }
        Ok(())
    }

    /// Evicts as many sessions as necessary, or none.
    fn evict_for(&mut self, capsule_id: &str, shortages: [Shortage; 3], limits: &AdminConfig) -> Result<()> {
        let mut missing = shortages.map(|shortage| shortage.missing());
        let mut chunks = 0_u64;
        let mut evicted = Vec::new();
        let mut candidates = self.candidates(limits);
        candidates.sort_by(by_turn);
        for candidate in candidates {
            let session = &candidate.upload.session;
            let in_capsule = candidate.upload.meta.capsule_id == capsule_id;
            let counts = self.storage.promises.counts(candidate.id);
            let frees = [
                if in_capsule { session.bytes_expected } else { 0 },
                session.bytes_expected,
                if counts { session.bytes_missing() } else { 0 },
            ];
            let helps = missing.iter().zip(frees).any(|(missing, freed)| *missing > 0 && freed > 0);
            let at_once = session.received_idxs.len().min(RELEASE_AT_ONCE as u64);
            let chunks_with_it = chunks.saturating_add(at_once);
            if !helps || chunks_with_it > EVICTED_CHUNKS {
                continue;
            }
            chunks = chunks_with_it;
            for (missing, freed) in missing.iter_mut().zip(frees) {
                *missing = missing.saturating_sub(freed);
            }
            evicted.push(candidate);
            if missing == [0; 3] {
                break;
            }
        }
        let short = shortages.iter().zip(missing).find(|(_, missing)| *missing > 0);
        if let Some((Shortage { limit, allowed, requested }, _)) = short {
            return Err(Error::exhausted(limit, *allowed, *requested));
        }
        self.storage.eviction_cursor = None;
        for Candidate { id, upload, is_expired } in evicted {
            let outcome = if is_expired { Outcome::Expired } else { Outcome::Evicted };
            self.drop_session(id, &upload, outcome)?;
        }
        Ok(())
    }

    /// Returns sessions that may be evicted, among the next few of those that have been idle longest. If they
    /// do not suffice, the next call continues after them, so that many small sessions cannot shield a large
    /// one.
    fn candidates(&mut self, limits: &AdminConfig) -> Vec<Candidate> {
        let index = &self.storage.index;
        let mut entries = index.walk(self.storage.eviction_cursor, EVICTION_LOOKS);
        let left = EVICTION_LOOKS.saturating_sub(entries.len());
        if let Some(last) = self.storage.eviction_cursor {
            let before = index.walk(None, left).into_iter().take_while(|entry| *entry <= last);
            entries.extend(before);
        }
        let mut found = Vec::new();
        for entry in entries {
            self.storage.eviction_cursor = Some(entry);
            let id = SessionId(entry.1);
            // Loaded as a stranger, so that nothing is converted. The sweep reports records that do not
            // decode.
            if let Ok(Some(upload)) = self.path.load(self.storage, id, Some(self.caller), self.now) {
                let is_expired = upload.expires_at(limits) <= self.now;
                let is_own = upload.session.owner == self.caller.as_slice();
                if is_expired || !is_own && lags(&upload, limits, self.now) {
                    found.push(Candidate { id, upload, is_expired });
                }
            }
            if self.meter.used() > CATCH_UP_INSTRUCTIONS {
                break;
            }
        }
        found
    }
}

/// Returns whether the share of a session's bytes that has arrived is smaller than the share of its maximum
/// age that has passed. A session without any bytes always lags, and a complete one never does.
fn lags(upload: &Upload, limits: &AdminConfig, now: Time) -> bool {
    let session = &upload.session;
    let age = now.as_nanos().saturating_sub(upload.begun_at().as_nanos());
    let life = u128::from(limits.session_age_seconds()).saturating_mul(1_000_000_000);
    let arrived = u128::from(session.bytes_received).saturating_mul(life);
    let due = u128::from(session.bytes_expected).saturating_mul(age.into());
    session.bytes_missing() > 0 && (session.bytes_received == 0 || arrived < due)
}

/// Orders expired sessions first, then the emptiest, then the oldest.
fn by_turn(one: &Candidate, other: &Candidate) -> Ordering {
    let share = |one: &Candidate, of: &Candidate| {
        u128::from(one.upload.session.bytes_received).saturating_mul(of.upload.session.bytes_expected.into())
    };
    let rest = |candidate: &Candidate| (candidate.upload.begun_at(), candidate.id);
    Reverse(one.is_expired)
        .cmp(&Reverse(other.is_expired))
        .then_with(|| share(one, other).cmp(&share(other, one)))
        .then_with(|| rest(one).cmp(&rest(other)))
}
