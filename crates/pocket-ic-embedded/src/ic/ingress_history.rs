//! The messages of users and their answers. Answers that take more memory than the history may use are discarded, the
//! oldest first.

use super::calls::{CallResult, MessageId};
use super::ingress_record::{IngressRecord, IngressState};
use std::collections::{BTreeMap, VecDeque};

/// Maximum size of the answers in a history, bytes. A replica discards answers for the same reason, above 4 GiB. They
/// are in the state tree, too, so that the memory in use is about twice this size.
const CAPACITY: usize = 512 << 20;

pub struct IngressHistory {
    records: BTreeMap<MessageId, IngressRecord>,
    /// Answered messages, oldest first. They may have been removed since.
    answered: VecDeque<MessageId>,
    /// Size of all answers, bytes.
    answer_bytes: usize,
    capacity: usize,
}

impl Default for IngressHistory {
    fn default() -> Self {
        Self { records: BTreeMap::new(), answered: VecDeque::new(), answer_bytes: 0, capacity: CAPACITY }
    }
}

impl IngressHistory {
    pub fn get(&self, id: &MessageId) -> Option<&IngressRecord> {
        self.records.get(id)
    }

    pub fn insert(&mut self, id: MessageId, record: IngressRecord) {
        self.records.insert(id, record);
    }

    /// Removes a message with its answer.
    pub fn remove(&mut self, id: &MessageId) -> Option<IngressRecord> {
        let record = self.records.remove(id)?;
        self.answer_bytes -= answer_bytes(&record);
        Some(record)
    }

    /// Takes the call out of a message whose execution begins; `None` if it has begun before, or is unknown.
    pub fn begin(&mut self, id: &MessageId) -> Option<(super::user_call::UserCall, &IngressRecord)> {
        let record = self.records.get_mut(id)?;
        match std::mem::replace(&mut record.state, IngressState::Processing) {
            IngressState::Received(call) => Some((call, record)),
            other => {
                record.state = other;
                None
            }
        }
    }

    /// Stores the answer of a message. Returns the messages whose answers are no longer stored because of that.
    pub fn answer(&mut self, id: MessageId, answer: CallResult) -> Vec<MessageId> {
        let Some(record) = self.records.get_mut(&id) else { return Vec::new() };
        record.state = IngressState::Answered(answer);
        self.answer_bytes += answer_bytes(record);
        self.answered.push_back(id);
        let mut discarded = Vec::new();
        // The newest answer is kept, whatever its size.
        while self.answer_bytes > self.capacity && self.answered.len() > 1 {
            let Some(oldest) = self.answered.pop_front() else { break };
            if let Some(record) = self.records.get_mut(&oldest) {
                self.answer_bytes -= answer_bytes(record);
                record.state = IngressState::Done;
                discarded.push(oldest);
            }
        }
        discarded
    }
}

fn answer_bytes(record: &IngressRecord) -> usize {
    match &record.state {
        IngressState::Answered(Ok(reply)) => reply.len(),
        IngressState::Answered(Err(error)) => error.message.len(),
        IngressState::Received(_) | IngressState::Processing | IngressState::Done => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candid::Principal;

    const A: MessageId = [1; 32];
    const B: MessageId = [2; 32];
    const C: MessageId = [3; 32];

    fn history(capacity: usize) -> IngressHistory {
        let mut history = IngressHistory { capacity, ..IngressHistory::default() };
        for id in [A, B, C] {
            let record = IngressRecord {
                agent_call: None,
                sender: Principal::anonymous(),
                subnet: Principal::anonymous(),
                state: IngressState::Processing,
            };
            history.insert(id, record);
        }
        history
    }

    fn is_done(history: &IngressHistory, id: &MessageId) -> bool {
        matches!(history.get(id).unwrap().state, IngressState::Done)
    }

    #[test]
    fn the_oldest_answers_are_discarded_above_the_capacity() {
        let mut history = history(10);
        assert!(history.answer(B, Ok(vec![0; 6])).is_empty());
        assert!(history.answer(A, Ok(vec![0; 4])).is_empty());
        assert_eq!(history.answer(C, Ok(vec![0; 5])), [B]);
        assert_eq!([A, B, C].map(|id| is_done(&history, &id)), [false, true, false]);
        assert_eq!(history.answer_bytes, 9);
    }

    #[test]
    fn an_answer_larger_than_the_capacity_is_stored() {
        let mut history = history(10);
        assert!(history.answer(A, Ok(vec![0; 11])).is_empty());
        assert!(history.get(&A).unwrap().answer().is_some());
    }

    #[test]
    fn a_removed_answer_no_longer_counts() {
        let mut history = history(10);
        history.answer(A, Ok(vec![0; 8]));
        history.remove(&A);
        assert!(history.answer(B, Ok(vec![0; 8])).is_empty());
        assert_eq!(history.answer(C, Ok(vec![0; 8])), [B]);
    }
}
