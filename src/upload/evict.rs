//! Eviction: makes room for new uploads, within the limits, by ending sessions that have expired or lag.
//!
//! A begin reserves the declared size before any byte is sent. So that nobody can lock others out by reserving, a
//! session that lags may be evicted when its room is needed. A session lags if nothing has arrived, or if the share of
//! its bytes that has arrived is smaller than the share of the maximum session age that has passed. Expired sessions
//! are evicted first, then those of which the smallest share has arrived; among equals, the oldest. A caller's own
//! sessions are evicted only once they have expired, since the caller can abort them.

use std::cmp::{Ordering, Reverse};

use candid::Principal;

use crate::api::{AdminConfig, Error, Result};
use crate::blob::RELEASE_AT_ONCE;
use crate::session::{SessionId, Time};

use super::Outcome;
use super::in_flight::Upload;
use super::limits::{CATCH_UP_INSTRUCTIONS, EVICTED_CHUNKS, EVICTION_CHECKS};
use super::service::UploadService;
use super::usage::Demand;

/// What needs the room.
#[derive(Clone, Copy, Debug)]
pub(super) enum RoomFor {
    /// A session, whose bytes arrive later.
    Session,
    /// A whole file, whose bytes are in the call.
    File,
}

struct Candidate {
    id: SessionId,
    upload: Upload,
    is_expired: bool,
}

impl UploadService<'_> {
    /// Reserves `bytes` for a session or a whole file in a capsule, after evicting sessions if the limits require it.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] with the limit and the value that the call would need; then nothing is reserved,
    /// and no session is evicted. Also a damaged record.
    pub(super) fn reserve_room(
        &mut self,
        capsule_id: &str,
        bytes: u64,
        room_for: RoomFor,
        limits: &AdminConfig,
    ) -> Result<()> {
        let mut reservation = self.storage.usage.after_adding(self.caller, capsule_id, bytes)?;
        reservation.check_caller(limits)?;
        let [on_capsule, on_canister] = reservation.demands(limits);
        let promised_bytes = match room_for {
            RoomFor::Session => self.storage.promises.total().saturating_add(bytes),
            // The bytes of a file are stored in the same call, so they are never promised.
            RoomFor::File => 0,
        };
        let on_promises = Demand {
            limit: "bytes promised in the canister",
            allowed: limits.max_promised_bytes(),
            requested: promised_bytes,
        };
        let demands = [on_capsule, on_canister, on_promises];
        if demands.iter().any(|demand| demand.excess() > 0) {
            self.evict_for(capsule_id, demands, limits)?;
            reservation = self.storage.usage.after_adding(self.caller, capsule_id, bytes)?;
        }
        match room_for {
            RoomFor::Session => self.storage.usage.reserve(&reservation),
            RoomFor::File => self.storage.usage.charge_file(&reservation),
        }
        Ok(())
    }

    /// Evicts as many candidates as necessary; if those that one message can evict do not suffice, evicts none and
    /// returns an error. The demands are, in this order, those on the capsule, on the canister and on the promised
    /// bytes.
    fn evict_for(&mut self, capsule_id: &str, demands: [Demand; 3], limits: &AdminConfig) -> Result<()> {
        // Bytes that are still to be freed for each demand; not a session's `bytes_missing()`, those not yet received.
        let mut missing = demands.map(|demand| demand.excess());
        let mut released_chunks = 0_u64;
        let mut evicted = Vec::new();
        let mut candidates = self.find_candidates(limits);
        candidates.sort_by(eviction_order);
        for candidate in candidates {
            let session = &candidate.upload.session;
            let is_in_capsule = candidate.upload.meta.capsule_id == capsule_id;
            let has_counted_promise = self.storage.promises.is_counted(candidate.id);
            let freed_bytes = [
                if is_in_capsule { session.bytes_expected } else { 0 },
                session.bytes_expected,
                if has_counted_promise { session.bytes_missing() } else { 0 },
            ];
            let is_useful = missing.iter().zip(freed_bytes).any(|(missing, freed)| *missing > 0 && freed > 0);
            // Dropping a session removes up to `RELEASE_AT_ONCE` of its chunks in this message, the sweep the rest.
            let released_at_once = session.received_idxs.len().min(RELEASE_AT_ONCE as u64);
            let released_with_candidate = released_chunks.saturating_add(released_at_once);
            if !is_useful || released_with_candidate > EVICTED_CHUNKS || !self.can_end(&candidate) {
                continue;
            }
            released_chunks = released_with_candidate;
            for (missing, freed) in missing.iter_mut().zip(freed_bytes) {
                *missing = missing.saturating_sub(freed);
            }
            evicted.push(candidate);
            if missing == [0; 3] {
                break;
            }
        }
        let unmet = demands.iter().zip(missing).find(|(_, missing)| *missing > 0);
        if let Some((Demand { limit, allowed, requested }, _)) = unmet {
            return Err(Error::exhausted(limit, *allowed, *requested));
        }
        self.storage.eviction_cursor = None;
        for Candidate { id, upload, is_expired } in evicted {
            let outcome = if is_expired { Outcome::Expired } else { Outcome::Evicted };
            self.drop_session(id, &upload, outcome)?;
        }
        Ok(())
    }

    /// Returns whether a session can be ended: `false` if its accounts or its payload state are damaged. Such damage
    /// must not fail another client's call, or be reported to that client.
    fn can_end(&self, candidate: &Candidate) -> bool {
        let Upload { session, meta, .. } = &candidate.upload;
        let Ok(owner) = Principal::try_from_slice(&session.owner) else { return false };
        let accounts = self.storage.usage.after_adding(owner, &meta.capsule_id, 0);
        accounts.is_ok() && self.storage.payload_of(candidate.id).is_ok()
    }

    /// Checks up to [`EVICTION_CHECKS`] sessions, cyclically in the order of their last activity, and returns those
    /// that may be evicted. If they do not suffice, the next call continues after the last session checked, so that
    /// many small sessions cannot shield a large one; if they do, `evict_for` resets the cursor.
    fn find_candidates(&mut self, limits: &AdminConfig) -> Vec<Candidate> {
        let index = &self.storage.index;
        let mut entries = index.activity_after(self.storage.eviction_cursor, EVICTION_CHECKS);
        let checks_left = EVICTION_CHECKS.saturating_sub(entries.len());
        if let Some(last) = self.storage.eviction_cursor {
            let from_the_start =
                index.activity_after(None, checks_left).into_iter().take_while(|entry| *entry <= last);
            entries.extend(from_the_start);
        }
        let mut candidates = Vec::new();
        for entry in entries {
            self.storage.eviction_cursor = Some(entry);
            let (_, id) = entry;
            let id = SessionId(id);
            // With an asker, `load` converts no other owner's session. On the direct path, a legacy record of another
            // owner is `None`, so it is not evicted until it is converted. Records that do not decode are skipped, too;
            // the sweep reports them.
            if let Ok(Some(upload)) = self.path.load(self.storage, id, Some(self.caller), self.now) {
                let is_expired = upload.expires_at(limits) <= self.now;
                let is_own = upload.session.owner == self.caller.as_slice();
                if is_expired || !is_own && lags(&upload, limits, self.now) {
                    candidates.push(Candidate { id, upload, is_expired });
                }
            }
            // The limit after which a put stops catching up is used here, too.
            if self.meter.used() > CATCH_UP_INSTRUCTIONS {
                break;
            }
        }
        candidates
    }
}

/// Returns whether a session lags, as the header of this file defines it. A complete session never lags.
fn lags(upload: &Upload, limits: &AdminConfig, now: Time) -> bool {
    let session = &upload.session;
    let age = now.as_nanos().saturating_sub(upload.begun_at().as_nanos());
    let max_age = u128::from(limits.session_age_seconds()).saturating_mul(1_000_000_000);
    // The shares received / expected and age / max_age are compared as products, without a division.
    let received_by_max_age = u128::from(session.bytes_received).saturating_mul(max_age);
    let expected_by_age = u128::from(session.bytes_expected).saturating_mul(age.into());
    session.bytes_missing() > 0 && (session.bytes_received == 0 || received_by_max_age < expected_by_age)
}

/// Orders candidates in the order in which they are evicted: the lesser one first.
fn eviction_order(one: &Candidate, other: &Candidate) -> Ordering {
    // An empty file is complete, so its share is 1. As 0 of 0, its share would compare as equal to every other share,
    // and the order would not be total.
    let received_and_expected = |Candidate { upload, .. }: &Candidate| match upload.session.bytes_expected {
        0 => (1, 1),
        expected => (u128::from(upload.session.bytes_received), u128::from(expected)),
    };
    let (one_received, one_expected) = received_and_expected(one);
    let (other_received, other_expected) = received_and_expected(other);
    let age_and_id = |candidate: &Candidate| (candidate.upload.begun_at(), candidate.id);
    Reverse(one.is_expired)
        .cmp(&Reverse(other.is_expired))
        .then_with(|| {
            one_received.saturating_mul(other_expected).cmp(&other_received.saturating_mul(one_expected))
        })
        .then_with(|| age_and_id(one).cmp(&age_and_id(other)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::SessionPath;
    use crate::session::{ChunkSet, Session, SessionMeta, SessionStatus};
    use crate::upload::UploadMeta;
    use crate::upload::tests::metadata;

    fn candidate(id: u64, (bytes_received, bytes_expected): (u64, u64), begun_at: u64) -> Candidate {
        let last_seen = Time::from_nanos(begun_at);
        let session = Session {
            owner: vec![4],
            chunk_size: 1,
            bytes_expected,
            bytes_received,
            received_idxs: ChunkSet::default(),
            session_meta: SessionMeta { idem: String::new(), last_seen, status: SessionStatus::Pending },
        };
        let meta = UploadMeta {
            capsule_id: String::new(),
            provisional_memory_id: String::new(),
            asset_metadata: metadata(bytes_expected),
            blob_id: None,
            // The begin is unknown, so the session counts as begun when it was last seen.
            created_at: 0,
            expected_chunks: 1,
        };
        let upload = Upload { session, meta, path: SessionPath::Direct };
        Candidate { id: SessionId(id), upload, is_expired: true }
    }

    /// If the order were not total, sorting might panic, and every begin that needs room would trap.
    #[test]
    fn the_order_of_eviction_is_total() {
        // Bytes received, of bytes expected.
        let shares = [(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2), (1, 3), (u64::MAX, u64::MAX)];
        let begun = [1, 2, 3].into_iter().flat_map(|begun_at| shares.map(|share| (share, begun_at)));
        let all: Vec<Candidate> =
            (0..).zip(begun).map(|(id, (share, begun_at))| candidate(id, share, begun_at)).collect();
        for one in &all {
            for other in &all {
                assert_eq!(eviction_order(one, other), eviction_order(other, one).reverse());
                for third in all.iter().filter(|third| eviction_order(other, third).is_lt()) {
                    let is_in_order =
                        !eviction_order(one, other).is_lt() || eviction_order(one, third).is_lt();
                    assert!(
                        is_in_order,
                        "the order of {}, {}, {} is not transitive",
                        one.id, other.id, third.id
                    );
                }
            }
        }
    }
}
