//! The expected answers of calls about memories, and their effects.

use super::expect::{Judgement, check_same};
use super::state::{Memory, Model, Request};
use super::target::{MemoryView, NewContent, Refusal, TargetResult};
use super::{MAX_INLINE, MAX_MEMORIES};

/// A call of `memories_create`, with the numbers of the capsule, of the key and of the metadata's version.
#[derive(Clone, Debug)]
pub struct CreateMemoryCall {
    pub who: u8,
    pub capsule: usize,
    pub key: u8,
    pub content: NewContent,
    pub bytes: u64,
    pub version: u8,
}

impl Model {
    pub fn memories_in(&self, capsule: usize) -> u64 {
        self.memories.values().filter(|memory| memory.capsule == capsule).count() as u64
    }

    pub fn check_create_memory(&mut self, call: CreateMemoryCall, got: &TargetResult<String>) -> Judgement {
        let CreateMemoryCall { who, capsule, key, content, bytes, version } = call;
        if let Some(refusal) = self.refusal_of_creation(who, capsule, &content, bytes) {
            return check_same("create memory", &Err(refusal), got);
        }
        let key = (capsule, who, key);
        if let Some(before) = self.requests.get(&key) {
            let request = Request { memory: before.memory.clone(), content, bytes, version };
            let expected = if *before == request { Ok(request.memory) } else { Err(Refusal::Conflict) };
            return check_same("create memory again", &expected, got);
        }
        if self.lacks_room && *got == Err(Refusal::Exhausted) {
            return Ok(());
        }
        if self.memories_in(capsule) >= MAX_MEMORIES || self.exceeds_inline_limit(capsule, &content, bytes) {
            return check_same("create memory", &Err(Refusal::Exhausted), got);
        }
        let id = got.clone().map_err(|refusal| format!("create memory: got {refusal:?}"))?;
        if self.memory_ids.contains(&id) {
            return Err(format!("create memory: {id} was created before"));
        }
        let locator = match &content {
            NewContent::Blob(locator) => locator.clone(),
            NewContent::Elsewhere => "external".into(),
            NewContent::Inline | NewContent::Nothing => "inline".into(),
        };
        self.memories.insert(id.clone(), Memory { capsule, locator, bytes, version: Some(version) });
        self.requests.insert(key, Request { memory: id.clone(), content, bytes, version });
        self.memory_ids.push(id);
        Ok(())
    }

    /// Returns the refusal of a creation for lack of access or because of its content. `None` does not mean that the
    /// creation succeeds: keys, limits and room are checked elsewhere.
    fn refusal_of_creation(
        &self,
        who: u8,
        capsule: usize,
        content: &NewContent,
        bytes: u64,
    ) -> Option<Refusal> {
        if !self.may_write(who, capsule) {
            return Some(Refusal::Unauthorized);
        }
        match content {
            NewContent::Nothing => Some(Refusal::Invalid),
            NewContent::Inline => (bytes > MAX_INLINE).then_some(Refusal::Invalid),
            NewContent::Elsewhere => None,
            NewContent::Blob(locator) => match self.blobs.get(locator) {
                Some(blob) if blob.capsule == capsule => (blob.bytes != bytes).then_some(Refusal::Invalid),
                _ => Some(Refusal::NotFound),
            },
        }
    }

    fn exceeds_inline_limit(&self, capsule: usize, content: &NewContent, bytes: u64) -> bool {
        let inline = |memory: &&Memory| memory.capsule == capsule && memory.locator == "inline";
        let stored: u64 = self.memories.values().filter(inline).map(|memory| memory.bytes).sum();
        *content == NewContent::Inline && stored + bytes > MAX_INLINE
    }

    /// Returns the refusal of a call that changes a memory; `None` if the person may change it.
    fn refusal_of_change(&self, who: u8, id: &str) -> Option<Refusal> {
        match self.memories.get(id) {
            Some(memory) if self.may_write(who, memory.capsule) => None,
            Some(memory) if self.may_read(who, memory.capsule) => Some(Refusal::Unauthorized),
            _ => Some(Refusal::NotFound),
        }
    }

    pub fn check_update_memory(
        &mut self,
        who: u8,
        id: &str,
        bytes: u64,
        version: u8,
        got: &TargetResult<()>,
    ) -> Judgement {
        let other_size =
            || self.memories.get(id).filter(|memory| memory.bytes != bytes).map(|_| Refusal::Invalid);
        let refusal = self.refusal_of_change(who, id).or_else(other_size);
        if refusal.is_none() && self.lacks_room && *got == Err(Refusal::Exhausted) {
            return Ok(());
        }
        check_same("update memory", &refusal.map_or(Ok(()), Err), got)?;
        if let (Ok(()), Some(memory)) = (got, self.memories.get_mut(id)) {
            memory.version = Some(version);
        }
        Ok(())
    }

    pub fn check_delete_memory(&mut self, who: u8, id: &str, got: &TargetResult<()>) -> Judgement {
        check_same("delete memory", &self.refusal_of_change(who, id).map_or(Ok(()), Err), got)?;
        if got.is_ok() {
            self.drop_memory(id);
        }
        Ok(())
    }

    /// Checks an answer of `blob_delete`: a blob is deleted together with the only memory that refers to it.
    pub fn check_delete_blob(&mut self, who: u8, locator: &str, got: &TargetResult<()>) -> Judgement {
        let refers = |(_, memory): &(&String, &Memory)| memory.locator == locator;
        let memories: Vec<String> = self.memories.iter().filter(refers).map(|(id, _)| id.clone()).collect();
        let refusal = match memories.first() {
            Some(first) if self.blobs.contains_key(locator) => {
                self.refusal_of_change(who, first).or((memories.len() > 1).then_some(Refusal::Conflict))
            }
            _ => Some(Refusal::NotFound),
        };
        check_same("delete blob", &refusal.map_or(Ok(()), Err), got)?;
        if got.is_ok() {
            memories.iter().for_each(|id| self.drop_memory(id));
        }
        Ok(())
    }

    pub fn check_read_memory(&self, who: u8, id: &str, got: &TargetResult<MemoryView>) -> Judgement {
        let memory = self.memories.get(id).filter(|memory| self.may_read(who, memory.capsule));
        let expected = memory.ok_or(Refusal::NotFound).map(|memory| MemoryView {
            capsule: self.capsules[memory.capsule].id.clone(),
            locator: memory.locator.clone(),
            bytes: memory.bytes,
            version: memory.version,
        });
        check_same("read memory", &expected, got)
    }
}
