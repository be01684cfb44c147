//! Measures the messages of each step of a plan.

use candid::Principal;
use upload_canister::api::MigrationStatus;
use upload_canister::stable::buckets::MAX_BUCKETS;

use super::{Cycles, PlanError, StepCost};
use crate::client::{Canister, ClientError, rejected};
use crate::costs;
use crate::snapshot::PAGE_BYTES;

/// Instruction limit of an installation or upgrade.
pub(super) const INSTALL_LIMIT: u64 = 300_000_000_000;

/// Instruction limit of an update or a timer.
pub(super) const UPDATE_LIMIT: u64 = 40_000_000_000;

/// Heap that a canister without the setting `wasm_memory_limit` may have, bytes.
const HEAP_LIMIT: u64 = 3 << 30;

/// Maximum size of stable memory, bytes: a page for the header of the memory manager, and all its buckets.
const STABLE_LIMIT: u64 = PAGE_BYTES + MAX_BUCKETS * BUCKET_BYTES;

/// Default size of a bucket of the memory manager.
const BUCKET_BYTES: u64 = 128 * PAGE_BYTES;

/// The steps that have been run, and the messages since the last step.
pub(super) struct Steps<'p> {
    pub canister: Canister<'p>,
    pub controller: Principal,
    pub done: Vec<StepCost>,
    /// Index of the first message that is not counted yet.
    next_message: u64,
    since_last_step: MessageCounts,
    /// The memory sizes after the latest message; before the first, those at the start.
    memory: MemorySizes,
}

#[derive(Clone, Copy, Default)]
struct MessageCounts {
    messages: u64,
    instructions: u64,
    largest: u64,
}

#[derive(Clone, Copy)]
pub(super) struct MemorySizes {
    pub stable_bytes: u64,
    pub heap_bytes: u64,
}

impl MemorySizes {
    fn of(canister: Canister<'_>, controller: Principal) -> Result<MemorySizes, ClientError> {
        let status = canister.pic().canister_status(canister.id(), Some(controller));
        let metrics = status.map_err(rejected("canister_status"))?.memory_metrics;
        let bytes = |size: &candid::Nat| u64::try_from(&size.0).unwrap_or(u64::MAX);
        Ok(MemorySizes {
            stable_bytes: bytes(&metrics.stable_memory_size),
            heap_bytes: bytes(&metrics.wasm_memory_size),
        })
    }
}

impl<'p> Steps<'p> {
    pub fn new(canister: Canister<'p>, controller: Principal) -> Result<Steps<'p>, PlanError> {
        let memory = MemorySizes::of(canister, controller)?;
        let (done, since_last_step) = (Vec::new(), MessageCounts::default());
        let mut steps = Steps { canister, controller, done, next_message: 0, since_last_step, memory };
        // Skip the messages that were executed before the first step, and the memory sizes that they report: if a
        // snapshot was loaded after these messages, the sizes are outdated.
        steps.count_messages()?;
        steps.memory = memory;
        steps.since_last_step = MessageCounts::default();
        Ok(steps)
    }

    /// Counts the messages since the last count. Must be called at least every ten thousand messages: the server keeps
    /// the costs of the latest ten thousand only.
    fn count_messages(&mut self) -> Result<(), PlanError> {
        for cost in costs::messages(self.canister.pic(), self.canister.id(), self.next_message)? {
            self.next_message = cost.index + 1;
            self.memory = MemorySizes {
                stable_bytes: cost.stable_memory_pages * PAGE_BYTES,
                heap_bytes: cost.wasm_memory_pages * PAGE_BYTES,
            };
            let counts = &mut self.since_last_step;
            // Queries are not part of a step: the plan polls the status with them.
            if cost.entry.contains("query") {
                continue;
            }
            counts.messages += 1;
            counts.instructions += cost.instructions;
            counts.largest = counts.largest.max(cost.instructions);
        }
        Ok(())
    }

    /// Records the messages since the last step as a step of this name.
    pub fn record(&mut self, name: &str, limit: u64) -> Result<(), PlanError> {
        self.count_messages()?;
        let MessageCounts { messages, instructions, largest } = std::mem::take(&mut self.since_last_step);
        let MemorySizes { stable_bytes, heap_bytes } = self.memory;
        // The estimate assumes one message per round, and one round per second.
        let seconds = messages;
        self.done.push(StepCost {
            name: name.into(),
            messages,
            instructions,
            largest,
            limit,
            cycles: Cycles::of_messages(messages, instructions),
            seconds,
            stable_bytes,
            stable_limit: STABLE_LIMIT,
            heap_bytes,
            heap_limit: HEAP_LIMIT,
        });
        Ok(())
    }

    /// Waits until the migration does nothing more by itself ([`Canister::wait_until_settled`]), and records the step.
    pub fn settle(&mut self, name: &str) -> Result<MigrationStatus, PlanError> {
        let canister = self.canister;
        let status = canister.wait_until_settled(canister.migration_status()?, || self.count_messages())?;
        self.record(name, UPDATE_LIMIT)?;
        Ok(status)
    }

    /// Returns the sizes of stable memory and heap after the last message that was counted.
    pub fn memory(&self) -> MemorySizes {
        self.memory
    }
}
