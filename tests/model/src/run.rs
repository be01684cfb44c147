//! Runs one sequence of operations on the code under test and on the model, and compares the two after every step.

use super::operation::{Operation, Stage};
use super::state::{Capsule, Model, Session, chunk_len};
use super::target::{Holdings, Payload, Target};
use super::{ALL_EXPIRED_SECONDS, PEOPLE, chunk_bytes};

/// The code under test and the model, after the operations so far.
pub struct ModelRun<'a> {
    pub target: &'a mut dyn Target,
    pub model: Model,
    pub stage: Stage,
    /// The model and the build when the snapshot was taken.
    pub snapshot: Option<(Model, Stage)>,
}

/// Executes the operations one after the other; the error describes the first difference.
///
/// In the end, everything that is stored is deleted, aborted or expires, and nothing may be left.
pub fn run(target: &mut dyn Target, operations: &[Operation], from: Stage) -> Result<(), String> {
    let model = Model::new(target.limits());
    let mut run = ModelRun { target, model, stage: from, snapshot: None };
    for place in 0..2 {
        run.new_capsule(place)?;
    }
    for (number, operation) in operations.iter().enumerate() {
        run.step(operation).map_err(|what| format!("step {number}, {operation:?}: {what}"))?;
    }
    run.conclude().map_err(|what| format!("in the end: {what}"))
}

impl ModelRun<'_> {
    fn step(&mut self, operation: &Operation) -> Result<(), String> {
        self.model.active_in_step.clear();
        let before = self.target.now();
        self.execute(operation)?;
        self.compare(before)
    }

    /// Compares everything that the target shows with the model, after a step that began at `before`.
    fn compare(&mut self, before: u64) -> Result<(), String> {
        let now = self.target.now();
        for who in 0..PEOPLE {
            let seen = self.target.sessions_of(who);
            let ids: Vec<u64> = seen.iter().map(|view| view.id).collect();
            let alive = |session: &Session| session.owner == who && !session.is_expired(now);
            let expected: Vec<u64> =
                self.model.sessions.iter().filter(|(_, session)| alive(session)).map(|(id, _)| *id).collect();
            if ids != expected {
                return Err(format!("sessions of {who}: expected {expected:?}, got {ids:?}"));
            }
            for view in seen {
                let is_active = self.model.active_in_step.contains(&view.id);
                let Some(session) = self.model.sessions.get_mut(&view.id) else { continue };
                // The model does not know the exact time of a message within the step.
                if is_active && (before..=now).contains(&view.last_seen) {
                    session.last_seen = view.last_seen;
                }
                if std::mem::take(&mut session.is_new) {
                    session.begun_at = session.last_seen;
                }
                if session.memory.is_none() && !view.memory.is_empty() {
                    session.memory = Some(view.memory.clone());
                }
                let expected = self.model.view(view.id, &self.model.sessions[&view.id]);
                if expected != view {
                    return Err(format!("session {}: expected {expected:?}, got {view:?}", view.id));
                }
            }
        }
        let got = self.target.holdings();
        if !self.is_acceptable(now, &got) {
            return Err(format!("stored: expected {:?}, got {got:?}", self.model.holdings()));
        }
        self.target.own_invariants(false)
    }

    /// Returns whether the target stores what the model requires, and nothing else. Items that wait for the timers may
    /// still be stored, or removed already.
    fn is_acceptable(&self, now: u64, got: &Holdings) -> bool {
        let at_most = self.model.holdings();
        let mut swept = self.model.clone();
        if self.model.waits_for_timers(now) {
            swept.sweep(now, true);
        }
        let at_least = swept.holdings();
        let expired_sessions =
            self.model.sessions.values().filter(|session| session.is_expired(now)).count() as u64;
        let live_receipts =
            self.model.receipts.values().filter(|receipt| receipt.expires_at > now).count() as u64;
        let is_between =
            |figure: fn(&Holdings) -> u64| (figure(&at_least)..=figure(&at_most)).contains(&figure(got));
        is_between(|held| held.sessions)
            && (live_receipts..=at_most.receipts + expired_sessions).contains(&got.receipts)
            && is_between(|held| held.bytes)
            && self.model.explains_payload(&swept, got.payload)
            && (got.blobs, got.memories, got.capsules) == (at_most.blobs, at_most.memories, at_most.capsules)
    }

    /// Applies the timers' sweep to the model.
    pub fn sweep(&mut self) {
        let all_converted = self.target.all_converted();
        self.model.sweep(self.target.now(), all_converted);
    }

    /// Reads every byte of a blob, and compares it with the model.
    pub fn read_back(&mut self, locator: &str) -> Result<(), String> {
        // A repeated finish names a blob that may have been deleted since, with or without its capsule.
        let Some(blob) = self.model.blobs.get(locator).cloned() else { return Ok(()) };
        let Capsule { owner, exists: true, .. } = self.model.capsules[blob.capsule] else { return Ok(()) };
        for (idx, fill) in (0..).zip(&blob.fills) {
            let read = self.target.read(owner, locator, idx).ok_or(format!("{locator}: no chunk {idx}"))?;
            if read != chunk_bytes(*fill, chunk_len(blob.bytes, idx)) {
                return Err(format!("{locator}: chunk {idx} has other bytes than were sent"));
            }
        }
        match self.target.read(owner, locator, blob.fills.len() as u32) {
            None => Ok(()),
            Some(_) => Err(format!("{locator}: a chunk too many")),
        }
    }

    /// Lets the migration reconcile, reads everything back, and then removes everything by deletions, aborts and
    /// expiry.
    fn conclude(&mut self) -> Result<(), String> {
        self.model.check_phase(self.target.phase())?;
        self.target.pass(1);
        self.sweep();
        if self.stage != Stage::Legacy {
            self.target.conclude_migration()?;
        }
        self.model.active_in_step.clear();
        self.compare(self.target.now())?;
        let locators: Vec<String> = self.model.blobs.keys().cloned().collect();
        for locator in locators {
            self.read_back(&locator)?;
        }
        let memories: Vec<String> = self.model.memories.keys().cloned().collect();
        for id in &memories {
            for who in 0..PEOPLE {
                self.model.check_read_memory(who, id, &self.target.memory(who, id))?;
            }
        }
        // Every second memory is deleted; the others are removed with their capsules. Every second session is aborted;
        // the others expire.
        for id in memories.into_iter().step_by(2) {
            let owner = self.model.capsules[self.model.memories[&id].capsule].owner;
            let got = self.target.delete_memory(owner, &id);
            self.model.check_delete_memory(owner, &id, &got)?;
        }
        let sessions: Vec<(u64, u8)> = self.model.sessions.iter().map(|(id, s)| (*id, s.owner)).collect();
        for (id, owner) in sessions.into_iter().step_by(2) {
            self.abort(owner, id)?;
        }
        for number in 0..self.model.capsules.len() {
            let Capsule { id, owner, .. } = self.model.capsules[number].clone();
            let got = self.target.delete_capsule(owner, &id);
            if self.model.check_owner_only(owner, number, &got)? {
                self.model.capsules[number].exists = false;
            }
        }
        // Sessions that expire in the first round leave receipts, which expire in the second.
        for _ in 0..2 {
            self.target.pass(ALL_EXPIRED_SECONDS);
            self.sweep();
        }
        self.compare(self.target.now())?;
        let left = self.model.holdings();
        let has_payload = left.payload != Payload::default();
        if has_payload || left.sessions + left.receipts + left.bytes + left.capsules > 0 {
            return Err(format!("the model itself still has {left:?}"));
        }
        self.target.own_invariants(true)
    }
}
