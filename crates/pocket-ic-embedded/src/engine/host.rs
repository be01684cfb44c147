//! What the system API works on while a message runs: the message's inputs, its effects so far, the wasm memory.

use wasmtime::{Caller, Error, Memory, ResourceLimiter, Result};

use super::error::Trap;
use super::permissions::{Api, ExecutionKinds};
use super::prices::Prices;
use super::stable::{StableAccess, StableMemory};
use super::texts::Texts;
use super::types::{Limits, MessageContext, OutgoingCall, Response};

/// The data of a wasmtime store (not a host in the sense of the glossary). It outlives the message, since instances are
/// reused.
pub(super) struct Host {
    /// The module's memory, if it has one.
    pub(super) memory: Option<Memory>,
    /// The running message, or [`Message::none`].
    pub(super) message: Message,
    pub(super) limiter: HeapLimiter,
}

/// One message: its inputs and its effects so far.
pub(super) struct Message {
    pub(super) execution_kind: ExecutionKinds,
    /// The name of `execution_kind` in error texts.
    pub(super) execution_kind_name: &'static str,
    /// Inputs. Balance, available cycles, timer and `responded` are updated as the message runs.
    pub(super) ctx: MessageContext,
    pub(super) limits: Limits,
    /// Stable memory, changed in place.
    pub(super) stable: StableMemory,
    /// The pages of stable memory that the message accessed.
    pub(super) access: StableAccess,
    /// Bytes passed to stable memory writes.
    pub(super) stable_written: u64,
    /// Bytes requested by stable memory reads.
    pub(super) stable_read: u64,
    /// Reply under construction.
    pub(super) reply_data: Vec<u8>,
    /// The reply or reject, once the canister has sent it.
    pub(super) reply: Option<Response>,
    /// What the canister printed; kept even if the message traps.
    pub(super) logs: Texts,
    /// The call under construction.
    pub(super) call: Option<OutgoingCall>,
    /// The calls that were performed, in order.
    pub(super) calls: Vec<OutgoingCall>,
    /// What the message set; `None` if it set nothing. The same holds for the timer.
    pub(super) certified_data: Option<Vec<u8>>,
    pub(super) global_timer: Option<u64>,
    pub(super) cycles_accepted: u128,
    pub(super) cycles_burned: u128,
    /// Whether `accept_message` was called; relevant only for `canister_inspect_message`.
    pub(super) message_accepted: bool,
}

impl Message {
    pub(super) fn new(
        (execution_kind, execution_kind_name): (ExecutionKinds, &'static str),
        ctx: MessageContext,
        limits: Limits,
        stable: StableMemory,
    ) -> Self {
        Self {
            execution_kind,
            execution_kind_name,
            ctx,
            limits,
            stable,
            access: StableAccess::default(),
            stable_written: 0,
            stable_read: 0,
            reply_data: Vec::new(),
            reply: None,
            logs: Texts::default(),
            call: None,
            calls: Vec::new(),
            certified_data: None,
            global_timer: None,
            cycles_accepted: 0,
            cycles_burned: 0,
            message_accepted: false,
        }
    }

    /// Returns a placeholder for an instance that runs no message; in its kind of execution, no function is allowed.
    pub(super) fn none() -> Self {
        let nobody = candid::Principal::anonymous();
        Self::new((0, "no"), MessageContext::new(nobody, nobody, 0), Limits::inspect(), StableMemory::new())
    }

    /// Returns the cycles that the canister may spend without being frozen.
    pub(super) fn liquid_balance(&self) -> u128 {
        self.ctx.balance.saturating_sub(self.ctx.frozen_balance)
    }

    pub(super) fn prices(&self) -> Prices {
        Prices { nodes: self.ctx.subnet_node_count, cycles_are_free: self.ctx.cycles_are_free }
    }

    /// Drops the call under construction, if any, and returns its cycles.
    pub(super) fn abandon_call(&mut self) {
        if let Some(call) = self.call.take() {
            self.ctx.balance += call.cycles;
        }
    }
}

/// A limit of the wasm memory that means: no limit.
pub(super) const NO_LIMIT: u64 = 0;

/// Limits the growth of the wasm memory, and the number and sizes of tables.
#[derive(Default)]
pub(super) struct HeapLimiter {
    /// The limit in the canister's settings, bytes; or [`NO_LIMIT`].
    pub(super) limit: u64,
    /// The largest memory that the module may have, in bytes: by its own declaration and by the index type.
    pub(super) largest: u64,
}

impl ResourceLimiter for HeapLimiter {
    // With `false`, `memory.grow` returns -1; with an error, the message traps.
    fn memory_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let desired = desired as u64;
        if desired > self.largest || maximum.is_some_and(|max| desired > max as u64) {
            return Ok(false);
        }
        if self.limit != NO_LIMIT && desired > self.limit {
            return Err(Error::from(Trap::WasmMemoryLimit { limit: self.limit, peak: desired }));
        }
        Ok(true)
    }

    /// Called when a module is instantiated. Not later: a module with code that grows a table is refused.
    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        const MAX_TABLE_ELEMENTS: usize = 1_000_000;
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }

    fn tables(&self) -> usize {
        1
    }
}

/// A word of the wasm memory's index type: `u32`, or `u64` with memory64.
pub(super) trait Word: wasmtime::WasmTy + Copy + Send + Sync + 'static {
    /// Whether this is the index type of 64-bit memories. The functions marked as narrow in `permissions.rs` do not
    /// exist for it.
    const MEMORY64: bool;
    fn into_u64(self) -> u64;
    fn from_u64(value: u64) -> Self;
}

impl Word for u32 {
    const MEMORY64: bool = false;
    fn into_u64(self) -> u64 {
        self.into()
    }
    fn from_u64(value: u64) -> Self {
        // The values are sizes and counts far below 2^32.
        u32::try_from(value).unwrap_or(u32::MAX)
    }
}

impl Word for u64 {
    const MEMORY64: bool = true;
    fn into_u64(self) -> u64 {
        self
    }
    fn from_u64(value: u64) -> Self {
        value
    }
}

pub(super) type ApiCaller<'a> = Caller<'a, Host>;

/// Deducts instructions from those that the message may still use; an error if there are too few.
pub(super) fn charge(c: &mut ApiCaller<'_>, instructions: u64) -> Result<()> {
    let left = c.get_fuel()?;
    match left.checked_sub(instructions) {
        Some(left) => c.set_fuel(left),
        None => {
            c.set_fuel(0)?;
            Err(Trap::InstructionLimit(c.data().message.limits.message_instructions).into())
        }
    }
}

/// Checks whether a system API function is allowed in the current kind of execution, and charges its fixed cost: the
/// first step of each function.
pub(super) fn enter(c: &mut ApiCaller<'_>, api: &'static Api) -> Result<()> {
    charge(c, api.cost)?;
    let message = &c.data().message;
    if api.allowed_kinds & message.execution_kind == 0 {
        return Err(Trap::ContractViolation(format!(
            "\"ic0_{}\" cannot be executed in {} mode",
            api.name, message.execution_kind_name
        ))
        .into());
    }
    Ok(())
}

/// Returns the wasm memory (empty if there is none) and the host.
pub(super) fn heap_and_host<'a>(c: &'a mut ApiCaller<'_>) -> (&'a mut [u8], &'a mut Host) {
    match c.data().memory {
        Some(memory) => memory.data_and_store_mut(c),
        None => (&mut [], c.data_mut()),
    }
}

/// The error [`Trap::ContractViolation`]: the canister misused a function of the system API.
pub(super) fn violation(text: impl Into<String>) -> Error {
    Trap::ContractViolation(text.into()).into()
}

/// Returns the range `offset..offset + len` of a slice of `size` bytes; `what` names the slice in the error.
pub(super) fn checked_range(
    api: &Api,
    what: &str,
    offset: u64,
    len: u64,
    size: usize,
) -> Result<std::ops::Range<usize>> {
    match offset.checked_add(len) {
        // Both ends are at most `size`, which is a usize.
        Some(end) if end <= size as u64 => Ok(offset as usize..end as usize),
        _ => Err(violation(format!(
            "ic0_{} {what}: src={offset} + length={len} exceeds the slice size={size}",
            api.name
        ))),
    }
}

/// Copies bytes out of the wasm memory, at one instruction per byte.
pub(super) fn copy_from_heap(
    c: &mut ApiCaller<'_>,
    api: &'static Api,
    src: u64,
    len: u64,
) -> Result<Vec<u8>> {
    copy_start_from_heap(c, api, src, len, u64::MAX)
}

/// Copies at most the first `max` of `len` bytes out of the wasm memory. All `len` bytes must exist, and each of them
/// costs one instruction.
pub(super) fn copy_start_from_heap(
    c: &mut ApiCaller<'_>,
    api: &'static Api,
    src: u64,
    len: u64,
    max: u64,
) -> Result<Vec<u8>> {
    charge(c, len)?;
    let (memory, _) = heap_and_host(c);
    let mut range = checked_range(api, "heap", src, len, memory.len())?;
    if len > max {
        // The new end is before the old one, which is a usize.
        range.end = range.start + max as usize;
    }
    Ok(memory[range].to_vec())
}

/// Copies UTF-8 text out of the wasm memory, at one instruction per byte.
pub(super) fn copy_text_from_heap(
    c: &mut ApiCaller<'_>,
    api: &'static Api,
    src: u64,
    len: u64,
) -> Result<String> {
    String::from_utf8(copy_from_heap(c, api, src, len)?)
        .map_err(|_| violation(format!("ic0_{}: the text is not valid UTF-8", api.name)))
}

/// Writes a 16-byte number into the wasm memory.
pub(super) fn write_u128_to_heap(
    c: &mut ApiCaller<'_>,
    api: &'static Api,
    dst: u64,
    value: u128,
) -> Result<()> {
    let (memory, _) = heap_and_host(c);
    let range = checked_range(api, "heap", dst, 16, memory.len())?;
    memory[range].copy_from_slice(&value.to_le_bytes());
    Ok(())
}

/// Copies `source(message)[offset..offset + len]` into the wasm memory, at one instruction per byte.
pub(super) fn copy_to_heap(
    c: &mut ApiCaller<'_>,
    api: &'static Api,
    (dst, offset, len): (u64, u64, u64),
    source: impl FnOnce(&Message) -> Result<&[u8]>,
) -> Result<()> {
    charge(c, len)?;
    let (memory, host) = heap_and_host(c);
    let bytes = source(&host.message)?;
    let from = checked_range(api, "payload", offset, len, bytes.len())?;
    let to = checked_range(api, "heap", dst, len, memory.len())?;
    memory[to].copy_from_slice(&bytes[from]);
    Ok(())
}
