//! One sequence of operations on the code under test and on the model, compared after every step.

use super::expect::{Begin, Sent, digest_sent, len_sent};
use super::operation::{FinishKind, Operation, PutKind, Stage, Who};
use super::state::{Capsule, Model, Session, chunk_count, chunk_len, idem};
use super::target::{Holdings, Put, Target};
use super::{PEOPLE, TTL_SECONDS, chunk_bytes, fill};

/// What a chunk with other bytes than the file's is filled with.
const OTHER_FILL: u8 = 0xee;

/// The code under test and what must be true of it.
struct Run<'a> {
    target: &'a mut dyn Target,
    model: Model,
    stage: Stage,
}

/// Does the operations one after the other; the first difference, in words.
///
/// In the end everything is deleted, aborted or expired, and then nothing may be left.
pub fn run(target: &mut dyn Target, operations: &[Operation], from: Stage) -> Result<(), String> {
    let mut run = Run { target, model: Model::default(), stage: from };
    for place in 0..2 {
        run.new_capsule(place);
    }
    for (number, operation) in operations.iter().enumerate() {
        run.step(operation).map_err(|what| format!("step {number}, {operation:?}: {what}"))?;
    }
    run.conclude().map_err(|what| format!("in the end: {what}"))
}

impl Run<'_> {
    fn step(&mut self, operation: &Operation) -> Result<(), String> {
        self.model.touched.clear();
        let before = self.target.now();
        self.act(operation)?;
        self.compare(before)
    }

    fn act(&mut self, operation: &Operation) -> Result<(), String> {
        match *operation {
            Operation::Begin { who, capsule, key, bytes, content, wrong_count } => {
                let capsule = self.model.places[usize::from(capsule)];
                self.begin(Begin { who, capsule, key, bytes, content, wrong_count })
            }
            Operation::BeginAgain { session } => {
                let (id, _) = self.model.session_at(session);
                let Some(Session { owner: who, capsule, key, bytes, content, .. }) =
                    self.model.sessions.get(&id).cloned()
                else {
                    return Ok(());
                };
                self.begin(Begin { who, capsule, key, bytes, content, wrong_count: false })
            }
            Operation::Put { who, session, idx, kind } => {
                let (id, who) = self.caller(who, session);
                self.put(who, id, idx, kind)
            }
            Operation::PutMissing { session, last } => {
                let (id, who) = self.caller(Who::Owner, session);
                let missing = self.model.sessions.get(&id).map(Session::missing).unwrap_or_default();
                let idx = if last { missing.last() } else { missing.first() };
                self.put(who, id, idx.copied().unwrap_or(0), PutKind::Right)
            }
            Operation::Finish { who, session, kind } => {
                let (id, who) = self.caller(who, session);
                self.finish(who, id, kind)
            }
            Operation::Complete { session } => {
                let (id, who) = self.caller(Who::Owner, session);
                let missing = self.model.sessions.get(&id).map(Session::missing).unwrap_or_default();
                for idx in missing {
                    self.put(who, id, idx, PutKind::Right)?;
                }
                self.finish(who, id, FinishKind::Right)
            }
            Operation::Abort { who, session } => {
                let (id, who) = self.caller(who, session);
                self.abort(who, id)
            }
            Operation::Status { who, session } => {
                let (id, who) = self.caller(who, session);
                let got = self.target.status(who, id);
                self.model.looked(self.target.now(), who, id, got.as_ref().map_err(|refusal| *refusal))
            }
            Operation::Pass { seconds } => {
                self.target.pass(seconds);
                self.model.sweep(self.target.now());
                Ok(())
            }
            Operation::PassQuietly { seconds } => {
                self.target.pass_without_timers(seconds);
                Ok(())
            }
            Operation::Share { capsule, guest } => {
                let number = self.model.places[usize::from(capsule)];
                let Capsule { id, owner, .. } = self.model.capsules[number].clone();
                let got = self.target.share(owner, &id, guest);
                if self.model.owner_only(owner, number, &got)? {
                    self.model.capsules[number].guest = guest;
                }
                Ok(())
            }
            Operation::DeleteMemory { who, memory } => {
                let Some(last) = self.model.made.len().checked_sub(1) else { return Ok(()) };
                let id = self.model.made[last - usize::from(memory) % (last + 1)].clone();
                let got = self.target.delete_memory(who, &id);
                self.model.memory_deleted(who, &id, &got)
            }
            Operation::DeleteCapsule { who, capsule } => {
                let number = self.model.places[usize::from(capsule)];
                let got = self.target.delete_capsule(who, &self.model.capsules[number].id);
                if self.model.owner_only(who, number, &got)? {
                    self.model.capsules[number].exists = false;
                }
                Ok(())
            }
            Operation::CreateCapsule { capsule } => {
                if !self.model.capsules[self.model.places[usize::from(capsule)]].exists {
                    self.new_capsule(capsule);
                }
                Ok(())
            }
            Operation::Upgrade { share } => {
                self.upgrade(share);
                Ok(())
            }
            Operation::UpgradeLate => {
                self.target.pass_without_timers(TTL_SECONDS + 37);
                self.upgrade(0);
                self.target.migrate(30);
                Ok(())
            }
            Operation::Restart { share } => {
                self.target.upgrade(self.stage, share);
                Ok(())
            }
            Operation::Migrate { steps } => {
                self.target.migrate(steps);
                Ok(())
            }
        }
    }

    fn caller(&self, who: Who, session: u8) -> (u64, u8) {
        let (id, owner) = self.model.session_at(session);
        (id, if who == Who::Owner { owner } else { (owner + 1) % PEOPLE })
    }

    fn upgrade(&mut self, share: u8) {
        self.stage = match self.stage {
            Stage::Legacy => Stage::Staged,
            Stage::Staged | Stage::Direct => Stage::Direct,
        };
        self.target.upgrade(self.stage, share);
    }

    /// The place's number is the owner's as well.
    fn new_capsule(&mut self, place: u8) {
        let id = self.target.create_capsule(place);
        self.model.places[usize::from(place)] = self.model.capsules.len();
        self.model.capsules.push(Capsule { id, owner: place, guest: true, exists: true });
    }

    fn begin(&mut self, call: Begin) -> Result<(), String> {
        let Begin { who, capsule, key, bytes, wrong_count, .. } = call;
        let now = self.target.now();
        let chunks = chunk_count(bytes) + u32::from(wrong_count);
        let capsule = self.model.capsules[capsule].id.clone();
        let got = self.target.begin(who, &capsule, bytes, chunks, &idem(key));
        self.model.begun(now, call, &got)
    }

    fn put(&mut self, who: u8, id: u64, idx: u32, kind: PutKind) -> Result<(), String> {
        let (bytes, content) = self.file_of(id);
        let sent =
            if kind == PutKind::OtherBytes { OTHER_FILL } else { fill(content, idx.min(CHUNKS_AT_MOST)) };
        let now = self.target.now();
        let digest = match kind {
            PutKind::WithDigest => Some(true),
            PutKind::WrongDigest => Some(false),
            _ => None,
        };
        let put = Put { session: id, idx, bytes: chunk_bytes(sent, len_sent(kind, bytes, idx)), digest };
        let got = self.target.put(who, &put);
        self.model.put(now, who, Sent { id, idx, kind, fill: sent }, &got)
    }

    fn finish(&mut self, who: u8, id: u64, kind: FinishKind) -> Result<(), String> {
        let (bytes, content) = self.file_of(id);
        let len = bytes + u64::from(kind == FinishKind::WrongLength);
        let digest = digest_sent(kind, content, bytes);
        let now = self.target.now();
        let got = self.target.finish(who, id, &digest, len, kind == FinishKind::Tired);
        self.model.finished(now, who, id, kind, content, &got)?;
        match got {
            Ok(finished) => self.read_back(&finished.locator),
            Err(_) => Ok(()),
        }
    }

    fn abort(&mut self, who: u8, id: u64) -> Result<(), String> {
        let now = self.target.now();
        let got = self.target.abort(who, id);
        self.model.aborted(now, who, id, &got)
    }

    /// Length and content of the file that the client of a session, also of an ended one, has at hand.
    fn file_of(&self, id: u64) -> (u64, u8) {
        if let Some(session) = self.model.sessions.get(&id) {
            return (session.bytes, session.content);
        }
        let receipt = self.model.receipts.get(&id);
        let content = receipt
            .and_then(|receipt| receipt.finished.as_ref())
            .and_then(|(_, fills)| fills.first())
            .map_or(0, |first| (first - 1) / 16);
        (receipt.map_or(1, |receipt| receipt.bytes), content)
    }

    /// Compares everything that can be seen with the model, after a step that began at `before`.
    fn compare(&mut self, before: u64) -> Result<(), String> {
        let now = self.target.now();
        for who in 0..PEOPLE {
            let seen = self.target.sessions_of(who);
            let ids: Vec<u64> = seen.iter().map(|view| view.id).collect();
            let alive = |session: &Session| session.owner == who && !session.expired(now);
            let expected: Vec<u64> =
                self.model.sessions.iter().filter(|(_, session)| alive(session)).map(|(id, _)| *id).collect();
            if ids != expected {
                return Err(format!("sessions of {who}: expected {expected:?}, got {ids:?}"));
            }
            for view in seen {
                let touched = self.model.touched.contains(&view.id);
                let Some(session) = self.model.sessions.get_mut(&view.id) else { continue };
                if touched && (before..=now).contains(&view.last_seen) {
                    session.last_seen = view.last_seen;
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
        if !self.acceptable(now, &got) {
            return Err(format!("kept: expected {:?}, got {got:?}", self.model.holdings()));
        }
        self.target.own_invariants(false)
    }

    /// What is kept is exactly what must be. What waits for the timers may be gone before they come.
    fn acceptable(&self, now: u64, got: &Holdings) -> bool {
        let at_most = self.model.holdings();
        if !self.model.waits_for_timers(now) {
            return *got == at_most;
        }
        let mut swept = self.model.clone();
        swept.sweep(now);
        let at_least = swept.holdings();
        let between = |of: fn(&Holdings) -> u64| (of(&at_least)..=of(&at_most)).contains(&of(got));
        between(|held| held.sessions)
            && between(|held| held.receipts)
            && between(|held| held.chunks)
            && between(|held| held.bytes)
            && (got.blobs, got.memories, got.capsules) == (at_most.blobs, at_most.memories, at_most.capsules)
    }

    /// Reads every byte of a blob.
    fn read_back(&mut self, locator: &str) -> Result<(), String> {
        // A finish that is repeated names a blob that may have been deleted since, with or without its capsule.
        let Some(blob) = self.model.blobs.get(locator).cloned() else { return Ok(()) };
        let Capsule { owner, exists: true, .. } = self.model.capsules[blob.capsule] else { return Ok(()) };
        for (idx, fill) in (0..).zip(&blob.fills) {
            let read = self.target.read(owner, locator, idx).ok_or(format!("{locator}: no chunk {idx}"))?;
            if read != chunk_bytes(*fill, chunk_len(blob.bytes, idx)) {
                return Err(format!("{locator}: chunk {idx} holds other bytes than were sent"));
            }
        }
        match self.target.read(owner, locator, blob.fills.len() as u32) {
            None => Ok(()),
            Some(_) => Err(format!("{locator}: a chunk too many")),
        }
    }

    /// Lets the migration balance, reads everything back, and then ends, deletes and expires everything.
    fn conclude(&mut self) -> Result<(), String> {
        self.target.pass(1);
        self.model.sweep(self.target.now());
        if self.stage != Stage::Legacy {
            self.target.conclude_migration()?;
        }
        self.model.touched.clear();
        self.compare(self.target.now())?;
        let locators: Vec<String> = self.model.blobs.keys().cloned().collect();
        for locator in locators {
            self.read_back(&locator)?;
        }
        let memories: Vec<String> = self.model.memories.keys().cloned().collect();
        for id in memories.into_iter().step_by(2) {
            let owner = self.model.capsules[self.model.memories[&id].capsule].owner;
            let got = self.target.delete_memory(owner, &id);
            self.model.memory_deleted(owner, &id, &got)?;
        }
        let sessions: Vec<(u64, u8)> = self.model.sessions.iter().map(|(id, s)| (*id, s.owner)).collect();
        for (id, owner) in sessions.into_iter().step_by(2) {
            self.abort(owner, id)?;
        }
        for number in 0..self.model.capsules.len() {
            let Capsule { id, owner, .. } = self.model.capsules[number].clone();
            let got = self.target.delete_capsule(owner, &id);
            if self.model.owner_only(owner, number, &got)? {
                self.model.capsules[number].exists = false;
            }
        }
        self.target.pass(TTL_SECONDS + 37);
        self.model.sweep(self.target.now());
        self.compare(self.target.now())?;
        let nothing = self.model.holdings();
        if nothing.sessions + nothing.receipts + nothing.chunks + nothing.bytes + nothing.capsules > 0 {
            return Err(format!("the model itself keeps {nothing:?}"));
        }
        self.target.own_invariants(true)
    }
}

/// Beyond this index every chunk is refused, whatever it is filled with.
const CHUNKS_AT_MOST: u32 = 4;
