//! Calls in the order in which they were sent; each leaves the queue when it and all earlier ones are
//! answered.

use std::collections::VecDeque;

use candid::Principal;
use pocket_ic::common::rest::{RawCanisterResult, RawMessageId};

use crate::trace::{CallKind, EventKind};

/// A call, in flight or answered.
#[derive(Clone, Debug)]
pub(super) struct ForwardedCall {
    /// When it was sent, nanoseconds since 1970.
    pub at: u64,
    pub kind: CallKind,
    pub caller: Principal,
    pub method: String,
    pub arg: Vec<u8>,
    /// Sent before earlier calls were answered.
    pub together: bool,
    pub answer: Answered,
}

/// Outcome of a call.
#[derive(Clone, Debug)]
pub(super) enum Answered {
    /// Not answered yet; the server knows it by this id.
    NotYet(RawMessageId),
    /// Reply or rejection.
    With(RawCanisterResult),
}

/// An item that is written as one line.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Call(ForwardedCall),
    EventKind { at: u64, what: EventKind },
}

#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<Item>);

impl Queue {
    pub fn push(&mut self, item: Item) {
        self.0.push_back(item);
    }

    /// Iterates over the calls that are not answered.
    pub fn outstanding(&self) -> impl Iterator<Item = (&RawMessageId, Principal)> {
        self.0.iter().filter_map(|item| match item {
            Item::Call(ForwardedCall { answer: Answered::NotYet(message), caller, .. }) => {
                Some((message, *caller))
            }
            _ => None,
        })
    }

    /// Adds the answer to a submitted call. An unknown message changes nothing.
    pub fn answer(&mut self, message: &[u8], result: RawCanisterResult) {
        let waiting = self.0.iter_mut().find_map(|item| match item {
            Item::Call(ForwardedCall { answer, .. }) => match answer {
                Answered::NotYet(id) if id.message_id == message => Some(answer),
                _ => None,
            },
            Item::EventKind { .. } => None,
        });
        if let Some(answer) = waiting {
            *answer = Answered::With(result);
        }
    }

    /// Removes a call that the server did not accept after all.
    pub fn withdraw(&mut self, message: &[u8]) {
        self.0.retain(|item| match item {
            Item::Call(ForwardedCall { answer: Answered::NotYet(id), .. }) => id.message_id != message,
            _ => true,
        });
    }

    /// Returns the next item that is not waiting for an earlier one.
    pub fn next(&mut self) -> Option<Item> {
        match self.0.front()? {
            Item::Call(ForwardedCall { answer: Answered::NotYet(_), .. }) => None,
            _ => self.0.pop_front(),
        }
    }

    /// Drops the calls that are not answered; returns their number.
    pub fn abandon(&mut self) -> usize {
        let before = self.0.len();
        self.0.retain(|item| !matches!(item, Item::Call(ForwardedCall { answer: Answered::NotYet(_), .. })));
        before - self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocket_ic::common::rest::RawEffectivePrincipal;

    fn sent(number: u8, answered: bool) -> Item {
        let id = RawMessageId { effective_principal: RawEffectivePrincipal::None, message_id: vec![number] };
        let answer =
            if answered { Answered::With(RawCanisterResult::Ok(vec![])) } else { Answered::NotYet(id) };
        Item::Call(ForwardedCall {
            at: u64::from(number),
            kind: CallKind::Update,
            caller: Principal::anonymous(),
            method: "m".into(),
            arg: vec![],
            together: false,
            answer,
        })
    }

    fn times(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| queue.next())
            .map(|item| match item {
                Item::Call(sent) => sent.at,
                Item::EventKind { at, .. } => at,
            })
            .collect()
    }

    #[test]
    fn calls_leave_in_the_order_in_which_they_were_sent() {
        let mut queue = Queue::default();
        queue.push(sent(1, false));
        queue.push(sent(2, true));
        queue.push(sent(3, false));
        queue.push(Item::EventKind { at: 4, what: EventKind::Stop });
        queue.answer(&[3], RawCanisterResult::Ok(vec![]));
        assert_eq!(times(&mut queue), [] as [u64; 0], "the first one is not answered");
        assert_eq!(queue.outstanding().count(), 1);
        queue.answer(&[9], RawCanisterResult::Ok(vec![]));
        queue.answer(&[1], RawCanisterResult::Ok(vec![]));
        assert_eq!(times(&mut queue), [1, 2, 3, 4]);
    }

    #[test]
    fn a_call_that_was_not_accepted_blocks_no_other() {
        let mut queue = Queue::default();
        queue.push(sent(1, false));
        queue.push(sent(2, false));
        queue.push(sent(3, true));
        queue.withdraw(&[2]);
        queue.answer(&[1], RawCanisterResult::Ok(vec![]));
        queue.withdraw(&[1]);
        assert_eq!(times(&mut queue), [1, 3], "what is answered stays");
    }

    #[test]
    fn an_unanswered_call_is_dropped_alone() {
        let mut queue = Queue::default();
        queue.push(sent(1, false));
        queue.push(sent(2, true));
        assert_eq!(queue.abandon(), 1);
        assert_eq!(times(&mut queue), [2]);
    }
}
