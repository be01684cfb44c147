//! The model of begin if room is short: refusals by the limits, and evictions of other sessions.

use super::expect::{BeginCall, Judgement, SeenSessions};
use super::state::{Model, Session};
use super::target::{Refusal, TargetResult};
use super::{AGE_SECONDS, MAX_MEMORIES, MAX_PROMISED_PERCENT, SECOND};

/// A function that returns whether a session counts against the limits.
type Counts<'a> = &'a dyn Fn(&Session) -> bool;

impl Model {
    /// Returns the sessions that are in flight in the model, but no longer in the target.
    pub fn vanished(&self, now: u64, seen: &SeenSessions) -> Vec<u64> {
        let alive = self.sessions.iter().filter(|(_, session)| !session.is_expired(now));
        alive.map(|(id, _)| *id).filter(|id| !seen.alive.contains(id)).collect()
    }

    /// Checks the refusal of a begin for lack of room, or the evictions that made room for it. Returns `true` if the
    /// begin was refused.
    pub fn check_refusal_or_evictions(
        &self,
        now: u64,
        call: BeginCall,
        got: &TargetResult<u64>,
        seen: &SeenSessions,
        vanished: &[u64],
    ) -> Result<bool, String> {
        let counts_all: Counts<'_> = &|_| true;
        let counts_live: Counts<'_> = &|session| !session.is_expired(now);
        if self.lacks_room && *got == Err(Refusal::Exhausted) && vanished.is_empty() {
            return Ok(true);
        }
        let has_expired = self.sessions.values().any(|session| session.is_expired(now));
        let verdict = if seen.all_converted && !has_expired {
            self.check_exact_evictions(now, &call, got, vanished)
        } else {
            self.check_possible_evictions(now, &call, got, vanished, [counts_all, counts_live])
        };
        verdict.map_err(|what| format!("begin: {what}; got {got:?}, vanished {vanished:?}"))?;
        Ok(got.is_err())
    }

    fn check_exact_evictions(
        &self,
        now: u64,
        call: &BeginCall,
        got: &TargetResult<u64>,
        vanished: &[u64],
    ) -> Judgement {
        let expected = if self.refused_at_once(call, &|_| true) { None } else { self.victims(now, call) };
        match (expected, got) {
            (None, Err(Refusal::Exhausted)) if vanished.is_empty() => Ok(()),
            (Some(victims), Ok(_)) if victims == vanished => Ok(()),
            (expected, _) => Err(format!("expected the evictions {expected:?}; None means a refusal")),
        }
    }

    /// Checks a begin whose outcome the model cannot predict exactly: expired sessions may count until the timers run,
    /// and unconverted ones may not be evicted.
    fn check_possible_evictions(
        &self,
        now: u64,
        call: &BeginCall,
        got: &TargetResult<u64>,
        vanished: &[u64],
        [counts_all, counts_live]: [Counts<'_>; 2],
    ) -> Judgement {
        if let Some(wrong) = vanished.iter().find(|id| !self.may_be_evicted(now, call, **id)) {
            return Err(format!("session {wrong} may not be evicted"));
        }
        let mut without_vanished = self.clone();
        without_vanished.sessions.retain(|id, _| !vanished.contains(id));
        let is_refused = |model: &Self, counts| {
            model.refused_at_once(call, counts) || model.missing_bytes(call, counts) != [0; 3]
        };
        match got {
            Err(Refusal::Exhausted) if is_refused(self, counts_all) && vanished.is_empty() => Ok(()),
            Ok(_) if !is_refused(&without_vanished, counts_live) => Ok(()),
            _ => Err("the limits do not explain the answer".into()),
        }
    }

    /// Returns whether a limit that no eviction can help to meet refuses the new session.
    fn refused_at_once(&self, call: &BeginCall, counts: Counts<'_>) -> bool {
        let BeginCall { who, capsule, bytes, .. } = *call;
        let is_counted = |session: &Session| session.owner == who && counts(session);
        let sessions = self.sessions.values().filter(|session| is_counted(session)).count() as u64;
        self.memories_in(capsule) >= MAX_MEMORIES
            || sessions >= self.limits.sessions
            || self.reserved_bytes(is_counted) + bytes > self.limits.bytes_per_caller
    }

    /// Returns by how many bytes the new session would exceed the limits of the capsule, of the canister, and of the
    /// bytes that may be promised.
    fn missing_bytes(&self, call: &BeginCall, counts: Counts<'_>) -> [u64; 3] {
        let BeginCall { capsule, bytes, .. } = *call;
        let in_capsule = self.reserved_bytes(|session| session.capsule == capsule && counts(session))
            + self.stored_bytes(|blob| blob.capsule == capsule);
        let in_all = self.reserved_bytes(counts) + self.stored_bytes(|_| true);
        let promised: u64 = self
            .sessions
            .values()
            .filter(|session| counts(session))
            .map(|session| session.bytes - session.arrived_bytes())
            .sum();
        [
            (in_capsule + bytes).saturating_sub(self.limits.bytes_per_capsule),
            (in_all + bytes).saturating_sub(self.limits.bytes),
            (promised + bytes).saturating_sub(self.limits.bytes * u64::from(MAX_PROMISED_PERCENT) / 100),
        ]
    }

    /// Returns the ids, in ascending order, of the sessions that are evicted: the emptiest sessions are chosen first,
    /// and among equally empty ones the oldest, until there is room. Returns `None` if all candidates together do not
    /// suffice.
    fn victims(&self, now: u64, call: &BeginCall) -> Option<Vec<u64>> {
        let mut missing = self.missing_bytes(call, &|_| true);
        let mut candidates: Vec<(u64, &Session)> = self
            .sessions
            .iter()
            .filter(|(id, _)| self.may_be_evicted(now, call, **id))
            .map(|(id, session)| (*id, session))
            .collect();
        candidates.sort_by_key(|(id, session)| {
            // The files are so small that the product does not overflow.
            (session.arrived_bytes() * 1_000_000_000 / session.bytes.max(1), session.begun_at, *id)
        });
        let mut victims = Vec::new();
        for (id, session) in candidates {
            let in_capsule = if session.capsule == call.capsule { session.bytes } else { 0 };
            let frees = [in_capsule, session.bytes, session.bytes - session.arrived_bytes()];
            let helps = missing.iter().zip(frees).any(|(missing, freed)| *missing > 0 && freed > 0);
            if helps {
                missing = std::array::from_fn(|n| missing[n].saturating_sub(frees[n]));
                victims.push(id);
            }
        }
        victims.sort_unstable();
        (missing == [0; 3]).then_some(victims)
    }

    /// Returns whether a session is incomplete, lags, and does not belong to the caller. Whether it is converted is not
    /// checked here.
    fn may_be_evicted(&self, now: u64, call: &BeginCall, id: u64) -> bool {
        let Some(session) = self.sessions.get(&id) else { return false };
        let (arrived, bytes) = (u128::from(session.arrived_bytes()), u128::from(session.bytes));
        let age = u128::from(now - session.begun_at);
        let lags = arrived == 0 || arrived * u128::from(AGE_SECONDS * SECOND) < bytes * age;
        session.owner != call.who && arrived < bytes && lags
    }
}
