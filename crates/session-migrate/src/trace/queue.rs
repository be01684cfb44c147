//! Calls and other events in the order in which they happened. An entry leaves the queue once it and all earlier
//! entries are complete.

use std::collections::VecDeque;

use candid::Principal;
use pocket_ic::RejectResponse;

use super::{CallKind, EventKind};

/// A call, as transmitted.
#[derive(Clone, Debug)]
pub struct SentCall {
    /// The canister's time when the call was sent, nanoseconds since 1970.
    pub at: u64,
    /// Update or query.
    pub kind: CallKind,
    /// The caller.
    pub caller: Principal,
    /// The canister's method.
    pub method: String,
    /// The encoded arguments.
    pub arg: Vec<u8>,
    /// Whether the call was sent before an earlier call was answered.
    pub together: bool,
}

/// The encoded reply to a call, or the rejection.
pub type CallResult = Result<Vec<u8>, RejectResponse>;

/// A complete entry, which becomes an event of a trace.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Call(SentCall, CallResult),
    /// Any other event; `at` in nanoseconds since 1970.
    Event {
        at: u64,
        what: EventKind,
    },
}

/// The queue. A `K` identifies an unanswered call.
#[derive(Debug)]
pub(crate) struct Queue<K>(VecDeque<Item<K>>);

#[derive(Debug)]
enum Item<K> {
    Unanswered(K, SentCall),
    Complete(Entry),
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Queue(VecDeque::new())
    }
}

impl<K> Queue<K> {
    /// Adds a call that is not answered yet.
    pub fn push_unanswered(&mut self, id: K, call: SentCall) {
        self.0.push_back(Item::Unanswered(id, call));
    }

    /// Adds an event, or a call that is answered already.
    pub fn push(&mut self, entry: Entry) {
        self.0.push_back(Item::Complete(entry));
    }

    /// Iterates over the unanswered calls, each with its caller.
    pub fn unanswered(&self) -> impl Iterator<Item = (&K, Principal)> {
        self.0.iter().filter_map(|item| match item {
            Item::Unanswered(id, call) => Some((id, call.caller)),
            Item::Complete(_) => None,
        })
    }

    pub fn has_unanswered(&self) -> bool {
        self.unanswered().next().is_some()
    }

    /// Adds the answer to the unanswered call that `is_answered` accepts; changes nothing if there is none.
    pub fn answer(&mut self, is_answered: impl Fn(&K) -> bool, answer: CallResult) {
        let index = self.0.iter().position(|item| matches!(item, Item::Unanswered(id, _) if is_answered(id)));
        if let Some(index) = index
            && let Some(Item::Unanswered(_, call)) = self.0.remove(index)
        {
            self.0.insert(index, Item::Complete(Entry::Call(call, answer)));
        }
    }

    /// Removes the unanswered calls that `is_withdrawn` accepts.
    pub fn withdraw(&mut self, is_withdrawn: impl Fn(&K) -> bool) {
        self.0.retain(|item| !matches!(item, Item::Unanswered(id, _) if is_withdrawn(id)));
    }

    /// Removes and returns the first entry; `None` if the queue is empty or begins with an unanswered call.
    pub fn pop_complete(&mut self) -> Option<Entry> {
        match self.0.pop_front_if(|item| matches!(item, Item::Complete(_)))? {
            Item::Complete(entry) => Some(entry),
            Item::Unanswered(..) => None,
        }
    }

    /// Drops the unanswered calls; returns their number.
    pub fn drop_unanswered(&mut self) -> usize {
        let before = self.0.len();
        self.0.retain(|item| matches!(item, Item::Complete(_)));
        before - self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(at: u64) -> SentCall {
        SentCall {
            at,
            kind: CallKind::Update,
            caller: Principal::anonymous(),
            method: "m".into(),
            arg: vec![],
            together: false,
        }
    }

    /// Removes the complete entries at the front, and returns their times.
    fn pop_times(queue: &mut Queue<u8>) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop_complete())
            .map(|entry| match entry {
                Entry::Call(call, _) => call.at,
                Entry::Event { at, .. } => at,
            })
            .collect()
    }

    #[test]
    fn entries_leave_the_queue_in_order_of_arrival() {
        let mut queue = Queue::default();
        queue.push_unanswered(1, call(1));
        queue.push(Entry::Call(call(2), Ok(vec![])));
        queue.push_unanswered(3, call(3));
        queue.push(Entry::Event { at: 4, what: EventKind::Stop });
        queue.answer(|id| *id == 3, Ok(vec![]));
        assert_eq!(pop_times(&mut queue), [] as [u64; 0], "the first call is not answered");
        assert_eq!(queue.unanswered().count(), 1);
        queue.answer(|id| *id == 9, Ok(vec![]));
        queue.answer(|id| *id == 1, Ok(vec![]));
        assert!(!queue.has_unanswered());
        assert_eq!(pop_times(&mut queue), [1, 2, 3, 4]);
    }

    #[test]
    fn a_call_that_was_not_accepted_blocks_no_other() {
        let mut queue = Queue::default();
        queue.push_unanswered(1, call(1));
        queue.push_unanswered(2, call(2));
        queue.push(Entry::Call(call(3), Ok(vec![])));
        queue.withdraw(|id| *id == 2);
        queue.answer(|id| *id == 1, Ok(vec![]));
        queue.withdraw(|id| *id == 1);
        assert_eq!(pop_times(&mut queue), [1, 3], "an answered call stays");
    }

    #[test]
    fn an_unanswered_call_is_dropped_alone() {
        let mut queue = Queue::default();
        queue.push_unanswered(1, call(1));
        queue.push(Entry::Call(call(2), Ok(vec![])));
        assert_eq!(queue.drop_unanswered(), 1);
        assert_eq!(pop_times(&mut queue), [2]);
    }
}
