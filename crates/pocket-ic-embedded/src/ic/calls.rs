//! Call contexts and callbacks of a canister: which calls it has not answered yet, and which answers it is
//! waiting for.
//!
//! Data and bookkeeping only: `execute.rs` runs the messages.

use candid::Principal;
use std::collections::BTreeMap;

/// Numbers of call contexts and of callbacks; both come from [`CallIds`].
pub type ContextId = u64;
pub type CallbackId = u64;
/// The 32 bytes that identify an ingress message.
pub type MessageId = [u8; 32];

/// Who waits for the answer of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A user, who reads the answer under this id.
    Ingress(MessageId),
    /// A callback of a canister.
    Canister {
        caller: Principal,
        callback: CallbackId,
        /// When a best-effort call expires, nanoseconds; 0 for calls without a time limit.
        deadline: u64,
    },
    /// Nobody: a heartbeat, a timer, a hook.
    System,
}

/// The answer of a call: reply bytes, or the rejection.
pub type CallResult = Result<Vec<u8>, super::error::UserError>;

/// One call that a canister is working on.
#[derive(Clone, Debug)]
pub struct CallContext {
    pub origin: Origin,
    /// The principal that `msg_caller` returns.
    pub caller: Principal,
    /// Whether the call has been answered; the context may stay open for callbacks that have not run yet.
    pub responded: bool,
    /// Number of callbacks of this context that have not run yet.
    pub outstanding: usize,
    /// Cycles of the call that have not been accepted.
    pub cycles: u128,
    /// Instructions that all messages of this context have used so far.
    pub instructions: u64,
}

/// Where to continue when an answer arrives.
#[derive(Clone, Debug)]
pub struct Callback {
    pub context: ContextId,
    /// Index in the function table, and environment; likewise in the next two fields.
    pub on_reply: (u32, u64),
    pub on_reject: (u32, u64),
    pub on_cleanup: Option<(u32, u64)>,
    /// See [`Origin::Canister`].
    pub deadline: u64,
}

/// Numbers contexts and callbacks across all canisters of an instance, without reuse: a late answer must not be
/// mistaken for the answer to another call, even if the waiting canister was deleted and created again in the meantime.
#[derive(Debug, Default)]
pub struct CallIds(u64);

impl CallIds {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// The open call contexts and the waiting callbacks of one canister.
#[derive(Clone, Debug, Default)]
pub struct CallTable {
    contexts: BTreeMap<ContextId, CallContext>,
    callbacks: BTreeMap<CallbackId, Callback>,
}

impl CallTable {
    /// Opens a context for a call that the canister is about to execute.
    pub fn open(&mut self, ids: &mut CallIds, origin: Origin, caller: Principal, cycles: u128) -> ContextId {
        let id = ids.next();
        self.contexts.insert(
            id,
            CallContext { origin, caller, responded: false, outstanding: 0, cycles, instructions: 0 },
        );
        id
    }

    pub fn context(&self, id: ContextId) -> Option<&CallContext> {
        self.contexts.get(&id)
    }

    pub fn context_mut(&mut self, id: ContextId) -> Option<&mut CallContext> {
        self.contexts.get_mut(&id)
    }

    /// Stores the callback of a call that the canister makes.
    pub fn register(&mut self, ids: &mut CallIds, callback: Callback) -> CallbackId {
        let id = ids.next();
        if let Some(context) = self.contexts.get_mut(&callback.context) {
            context.outstanding += 1;
        }
        self.callbacks.insert(id, callback);
        id
    }

    /// Removes and returns the callback whose answer has arrived. `None` if its call was answered before, or the
    /// canister was uninstalled.
    pub fn take_callback(&mut self, id: CallbackId) -> Option<Callback> {
        let callback = self.callbacks.remove(&id)?;
        if let Some(context) = self.contexts.get_mut(&callback.context) {
            context.outstanding = context.outstanding.saturating_sub(1);
        }
        Some(callback)
    }

    /// Returns best-effort callbacks whose deadline has passed.
    pub fn expired_callbacks(&self, now: u64) -> Vec<CallbackId> {
        self.callbacks
            .iter()
            .filter(|(_, callback)| callback.deadline != 0 && callback.deadline <= now)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Closes a context if nothing more can happen in it, that is, if it has no outstanding callback. Returns
    /// the closed context, which may not have been answered yet; `None` if it stays open or does not exist.
    pub fn close_if_done(&mut self, id: ContextId) -> Option<CallContext> {
        let context = self.contexts.get(&id)?;
        if context.outstanding > 0 {
            return None;
        }
        self.contexts.remove(&id)
    }

    /// Removes everything and returns the contexts that were not answered (uninstall).
    pub fn clear(&mut self) -> Vec<CallContext> {
        self.callbacks.clear();
        std::mem::take(&mut self.contexts).into_values().filter(|context| !context.responded).collect()
    }

    /// Returns whether no context is open; a stopping canister waits for this.
    pub fn is_idle(&self) -> bool {
        self.contexts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callback(context: ContextId, deadline: u64) -> Callback {
        Callback { context, on_reply: (0, 0), on_reject: (0, 0), on_cleanup: None, deadline }
    }

    #[test]
    fn a_context_stays_open_while_a_callback_waits() {
        let (mut table, mut ids) = (CallTable::default(), CallIds::default());
        let context = table.open(&mut ids, Origin::System, Principal::anonymous(), 0);
        let first = table.register(&mut ids, callback(context, 0));
        assert!(table.close_if_done(context).is_none());
        assert!(table.take_callback(first).is_some());
        assert!(table.take_callback(first).is_none());
        assert!(!table.is_idle());
        assert!(table.close_if_done(context).is_some());
        assert!(table.is_idle());
    }

    #[test]
    fn only_best_effort_callbacks_expire() {
        let (mut table, mut ids) = (CallTable::default(), CallIds::default());
        let context = table.open(&mut ids, Origin::System, Principal::anonymous(), 0);
        table.register(&mut ids, callback(context, 0));
        let soon = table.register(&mut ids, callback(context, 10));
        assert!(table.expired_callbacks(9).is_empty());
        assert_eq!(table.expired_callbacks(10), [soon]);
    }

    #[test]
    fn clearing_returns_the_unanswered_contexts() {
        let (mut table, mut ids) = (CallTable::default(), CallIds::default());
        let answered = table.open(&mut ids, Origin::System, Principal::anonymous(), 0);
        table.context_mut(answered).unwrap().responded = true;
        table.open(&mut ids, Origin::System, Principal::anonymous(), 7);
        let unanswered = table.clear();
        assert_eq!(unanswered.len(), 1);
        assert_eq!(unanswered[0].cycles, 7);
        assert!(table.is_idle());
    }
}
