//! Steps of a plan, each with the cost of its messages.

use candid::Principal;
use upload_canister::api::MigrationStatus;

use super::{Cycles, PlanError, Step};
use crate::client::Canister;
use crate::costs;
use crate::snapshot::PAGE_BYTES;

/// Instructions of an installation.
pub(super) const INSTALL_LIMIT: u64 = 300_000_000_000;

/// Instructions of an update or a timer.
pub(super) const UPDATE_LIMIT: u64 = 40_000_000_000;

/// The steps so far.
pub(super) struct Steps<'p> {
    pub canister: Canister<'p>,
    pub controller: Principal,
    pub done: Vec<Step>,
    /// The next message that is not counted yet.
    next: u64,
    current: Taken,
}

/// The cost of the messages of one step.
#[derive(Clone, Copy, Default)]
struct Taken {
    messages: u64,
    instructions: u64,
    largest: u64,
    stable_pages: u64,
    heap_pages: u64,
}

impl<'p> Steps<'p> {
    pub fn new(canister: Canister<'p>, controller: Principal) -> Result<Steps<'p>, PlanError> {
        let mut steps = Steps { canister, controller, done: Vec::new(), next: 0, current: Taken::default() };
        steps.count()?;
        steps.current = Taken::default();
        Ok(steps)
    }

    /// Counts the messages since the last count; the server keeps the last ten thousand.
    fn count(&mut self) -> Result<(), PlanError> {
        for cost in costs::messages(self.canister.pic(), self.canister.id(), self.next)? {
            self.next = cost.index + 1;
            let taken = &mut self.current;
            (taken.stable_pages, taken.heap_pages) = (cost.stable_memory_pages, cost.wasm_memory_pages);
            // Queries are the plan's own, and change nothing.
            if cost.entry.contains("query") {
                continue;
            }
            taken.messages += 1;
            taken.instructions += cost.instructions;
            taken.largest = taken.largest.max(cost.instructions);
        }
        Ok(())
    }

    /// Records the cost of what was done since the last step.
    pub fn measured(&mut self, name: &str, limit: u64) -> Result<(), PlanError> {
        self.count()?;
        let Taken { messages, instructions, largest, stable_pages, heap_pages } =
            std::mem::take(&mut self.current);
        self.done.push(Step {
            name: name.into(),
            messages,
            instructions,
            largest,
            limit,
            cycles: Cycles::of_messages(messages, instructions),
            seconds: messages,
            stable_bytes: stable_pages * PAGE_BYTES,
            heap_bytes: heap_pages * PAGE_BYTES,
        });
        Ok(())
    }

    /// Waits for the migration to settle, and records that as a step.
    pub fn settle(&mut self, name: &str) -> Result<MigrationStatus, PlanError> {
        let canister = self.canister;
        let status = canister.settled(canister.migration_status()?, || self.count())?;
        self.measured(name, UPDATE_LIMIT)?;
        Ok(status)
    }

    /// Returns the size of stable memory after the last step, bytes.
    pub fn stable_bytes(&self) -> u64 {
        self.done.last().map_or(0, |step| step.stable_bytes)
    }
}
