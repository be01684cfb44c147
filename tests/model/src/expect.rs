//! The expected answer of every call, and its effect.
//!
//! Each function compares an answer with the model and, if the call changed something, changes the model
//! accordingly. A refused call changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::operation::{FinishKind, PutKind};
use super::state::{Blob, Memory, Model, Receipt, Session, chunk_count, chunk_len, digest, fills};
use super::target::{Finished, Refusal, TargetResult};
use super::{SECOND, TTL_SECONDS};

/// `Ok(())`, or the difference between the expected and the actual answer as text.
pub type Judgement = Result<(), String>;

/// Returns an error that names `what` unless the values are equal.
pub fn check_same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, got: &T) -> Judgement {
    if expected == got {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, got {got:?}"))
}

/// A begin: by a person, in the capsule of this number, with the key of this number.
#[derive(Clone, Copy, Debug)]
pub struct BeginCall {
    pub who: u8,
    pub capsule: usize,
    pub key: u8,
    pub bytes: u64,
    pub content: u8,
    pub wrong_count: bool,
}

/// What the target shows about all sessions.
#[derive(Clone, Debug)]
pub struct SeenSessions {
    /// The sessions in flight of all people, after the begin was answered.
    pub alive: BTreeSet<u64>,
    /// Whether all sessions were converted before the begin.
    pub all_converted: bool,
}

/// A chunk that was sent.
#[derive(Clone, Copy, Debug)]
pub struct SentChunk {
    pub id: u64,
    pub idx: u32,
    pub kind: PutKind,
    /// The byte that fills the chunk.
    pub fill: u8,
}

impl Model {
    pub fn check_begin(
        &mut self,
        now: u64,
        call: BeginCall,
        got: &TargetResult<u64>,
        seen: &SeenSessions,
    ) -> Judgement {
        let BeginCall { who, capsule, key, bytes, wrong_count, .. } = call;
        if !self.may_write(who, capsule) {
            return check_same("begin", &Err(Refusal::Unauthorized), got);
        }
        if wrong_count {
            return check_same("begin", &Err(Refusal::Invalid), got);
        }
        if let Some(id) = self.keys.get(&(capsule, who, key)).copied() {
            let before = self.live_session(who, id, now).map(|session| session.bytes);
            let before = before.or(self.live_receipt(who, id, now).map(|receipt| receipt.bytes));
            match before {
                Some(before) if before == bytes => return check_same("begin again", &Ok(id), got),
                Some(_) => return check_same("begin again", &Err(Refusal::Conflict), got),
                // The key of an expired session is free again, and so are the bytes that the session reserved.
                None => self.drop_session(id, now, false),
            }
        }
        let vanished = self.vanished(now, seen);
        if self.check_refusal_or_evictions(now, call, got, seen, &vanished)? {
            return Ok(());
        }
        vanished.into_iter().for_each(|id| self.drop_session(id, now, false));
        let Ok(id) = *got else { return Ok(()) };
        if self.history.iter().any(|(before, _)| *before >= id) {
            return Err(format!("begin: session id {id} is not greater than all earlier ones"));
        }
        self.add_session(id, call, now, BTreeMap::new());
        self.keys.insert((capsule, who, key), id);
        self.active_in_step.push(id);
        Ok(())
    }

    /// Adds a session in which these chunks have arrived.
    pub fn add_session(&mut self, id: u64, call: BeginCall, now: u64, chunks: BTreeMap<u32, u8>) {
        let BeginCall { who: owner, capsule, key, bytes, content, .. } = call;
        let session = Session {
            owner,
            capsule,
            key,
            bytes,
            content,
            chunks,
            begun_at: now,
            is_new: true,
            last_seen: now,
            may_replace_chunks: false,
            memory: None,
        };
        self.sessions.insert(id, session);
        self.history.push((id, owner));
    }

    /// Returns the refusal of a call about a session; `None` if the session is one of the person's sessions in flight.
    fn refusal_unless_own(&self, who: u8, id: u64, now: u64) -> Option<Refusal> {
        if self.live_session(who, id, now).is_some() {
            return None;
        }
        // If the timers have not ended an expired session yet, the answer is the one that its receipt will give.
        let expired = self.sessions.get(&id).filter(|session| session.owner == who);
        let is_remembered = expired.is_some_and(|session| session.expires_at() + TTL_SECONDS * SECOND > now);
        let is_known = is_remembered || self.live_receipt(who, id, now).is_some();
        Some(if is_known { Refusal::Conflict } else { Refusal::NotFound })
    }

    /// Returns the refusal of a call that needs write access to a session; `None` if the person has that access.
    fn refusal_unless_writable(&self, who: u8, id: u64, now: u64) -> Option<Refusal> {
        self.refusal_unless_own(who, id, now)
            .or_else(|| (!self.may_write(who, self.sessions[&id].capsule)).then_some(Refusal::Unauthorized))
    }

    pub fn check_put(&mut self, now: u64, who: u8, chunk: SentChunk, got: &TargetResult<()>) -> Judgement {
        let SentChunk { id, idx, kind, fill } = chunk;
        let refusal = self.refusal_unless_writable(who, id, now).or_else(|| {
            let session = &self.sessions[&id];
            let out_of_range = idx >= chunk_count(session.bytes);
            match kind {
                PutKind::WrongDigest => Some(Refusal::Checksum),
                _ if out_of_range => Some(Refusal::Invalid),
                PutKind::TooLong | PutKind::Empty => Some(Refusal::Invalid),
                _ if session.may_replace_chunks => None,
                _ => session.chunks.get(&idx).filter(|stored| **stored != fill).map(|_| Refusal::Conflict),
            }
        });
        // The room that was promised to the session may have been taken.
        if refusal.is_none() && *got == Err(Refusal::Exhausted) && self.lacks_room && self.overpromised {
            return Ok(());
        }
        check_same("put", &refusal.map_or(Ok(()), Err), got)?;
        if let (Ok(()), Some(session)) = (got, self.sessions.get_mut(&id))
            && session.chunks.insert(idx, fill) != Some(fill)
        {
            self.active_in_step.push(id);
        }
        Ok(())
    }

    pub fn check_finish(
        &mut self,
        now: u64,
        who: u8,
        id: u64,
        kind: FinishKind,
        content: u8,
        got: &TargetResult<Finished>,
    ) -> Judgement {
        let is_right = matches!(kind, FinishKind::Right | FinishKind::WithoutBudget);
        if let Some(Receipt { finished: Some((before, stored)), bytes, .. }) = self.live_receipt(who, id, now)
        {
            let expected = if is_right && *stored == fills(content, *bytes) {
                Ok(before.clone())
            } else {
                Err(Refusal::Conflict)
            };
            return check_same("finish again", &expected, got);
        }
        let refusal = self.refusal_unless_writable(who, id, now).or_else(|| {
            let session = &self.sessions[&id];
            let missing = session.missing_chunks().len() as u32;
            let stored: Vec<u8> = session.chunks.values().copied().collect();
            match kind {
                FinishKind::ShortDigest | FinishKind::WrongLength => Some(Refusal::Invalid),
                _ if missing > 0 => Some(Refusal::Incomplete(missing)),
                FinishKind::WrongDigest => Some(Refusal::Checksum),
                _ => (stored != fills(content, session.bytes)).then_some(Refusal::Checksum),
            }
        });
        // A finish without budget for hashing may be postponed, if its result depends on the hash.
        let needs_hashing = matches!(refusal, None | Some(Refusal::Checksum));
        if kind == FinishKind::WithoutBudget && needs_hashing && *got == Err(Refusal::Hashing) {
            return Ok(());
        }
        if let (Some(Refusal::Checksum), Some(session)) = (refusal, self.sessions.get_mut(&id)) {
            session.may_replace_chunks = true;
        }
        match (refusal, got) {
            (Some(refusal), _) => check_same("finish", &Err(refusal), got),
            (None, Err(Refusal::Exhausted)) if self.lacks_room => Ok(()),
            (None, Ok(finished)) => self.commit(now, id, finished),
            (None, Err(got)) => Err(format!("finish: expected success, got {got:?}")),
        }
    }

    /// Turns a session into a memory and, unless the capsule has the same content already, a blob.
    fn commit(&mut self, now: u64, id: u64, got: &Finished) -> Judgement {
        let session = self.sessions.remove(&id).ok_or("finish: no such session")?;
        let Session { owner, capsule, key, bytes, chunks, memory, .. } = session;
        let blob = Blob { capsule, bytes, fills: chunks.into_values().collect() };
        check_same("size", &bytes, &got.size)?;
        // A session of the first public release has no id for its memory before it is finished.
        if let Some(memory) = memory {
            check_same("memory", &memory, &got.memory)?;
        }
        if self.memory_ids.contains(&got.memory) {
            return Err(format!("finish: memory {} was created before", got.memory));
        }
        let stored = self.blobs.iter().find(|(_, stored)| **stored == blob).map(|(locator, _)| locator);
        match stored {
            Some(locator) => check_same("blob of the same content", locator, &got.locator)?,
            None if self.blobs.contains_key(&got.locator) => {
                return Err(format!("finish: {} holds another content", got.locator));
            }
            None => {
                self.blobs.insert(got.locator.clone(), blob.clone());
            }
        }
        let memory = Memory { capsule, locator: got.locator.clone(), bytes, version: None };
        self.memories.insert(got.memory.clone(), memory);
        self.memory_ids.push(got.memory.clone());
        let finished = Some((got.clone(), blob.fills));
        let expires_at = now + TTL_SECONDS * SECOND;
        self.receipts
            .insert(id, Receipt { owner, capsule, key, bytes, finished, is_aborted: false, expires_at });
        Ok(())
    }

    pub fn check_abort(&mut self, now: u64, who: u8, id: u64, got: &TargetResult<()>) -> Judgement {
        if matches!(self.live_receipt(who, id, now), Some(Receipt { is_aborted: true, .. })) {
            return check_same("abort again", &Ok(()), got);
        }
        check_same("abort", &self.refusal_unless_own(who, id, now).map_or(Ok(()), Err), got)?;
        if got.is_ok() {
            self.drop_session(id, now, true);
        }
        Ok(())
    }

    pub fn check_status(&self, now: u64, who: u8, id: u64, got: TargetResult<&super::View>) -> Judgement {
        match (self.refusal_unless_own(who, id, now), got) {
            (None, Ok(view)) => check_same("status", &self.view(id, &self.sessions[&id]), view),
            (Some(refusal), Err(got)) => check_same("status", &refusal, &got),
            (refusal, got) => Err(format!("status: expected {refusal:?}, got {got:?}")),
        }
    }

    /// Checks an answer of a call that only a capsule's owner may make. Returns whether the call was accepted.
    pub fn check_owner_only(&self, who: u8, capsule: usize, got: &TargetResult<()>) -> Result<bool, String> {
        let is_allowed = self.capsules[capsule].exists && self.capsules[capsule].owner == who;
        check_same("owners only", &if is_allowed { Ok(()) } else { Err(Refusal::Unauthorized) }, got)?;
        Ok(is_allowed)
    }
}

/// Returns the digest that a finish of this kind sends for a file.
pub fn digest_sent(kind: FinishKind, content: u8, bytes: u64) -> Vec<u8> {
    match kind {
        FinishKind::ShortDigest => vec![1, 2, 3],
        FinishKind::WrongDigest => vec![7; 32],
        _ => digest(bytes, &fills(content, bytes)).to_vec(),
    }
}

/// Returns the number of bytes that a put of this kind sends as a chunk.
pub const fn len_sent(kind: PutKind, bytes: u64, idx: u32) -> u64 {
    match kind {
        PutKind::TooLong => chunk_len(bytes, idx) + 1,
        PutKind::Empty => 0,
        _ => chunk_len(bytes, idx),
    }
}
