//! Stable memory: size, growth, copies, and their charges.

use wasmtime::{Error, Result};

use super::definer::Definer;
use crate::engine::error::Trap;
use crate::engine::host::{ApiCaller, Message, Word, charge, enter, heap_and_host};
use crate::engine::permissions::Api;
use crate::engine::stable::{ACCESS_PAGE, WASM_PAGE};

/// Instructions charged for a 4 KiB page when a message first writes to it.
const NEW_DIRTY_PAGE: u64 = 1000;

pub(super) fn define<W: Word>(d: &mut Definer<'_>) -> Result<()> {
    d.getter("stable64_size", |host| host.message.stable.pages())?;
    let api = d.api("stable64_grow")?;
    d.func(api, move |mut c: ApiCaller<'_>, pages: u64| -> Result<u64> {
        enter(&mut c, api)?;
        let message = &mut c.data_mut().message;
        let max = message.limits.stable_memory_bytes;
        Ok(message.stable.grow(pages, max).unwrap_or(u64::MAX))
    })?;
    let api = d.api("stable64_read")?;
    d.func(api, move |mut c: ApiCaller<'_>, dst: u64, offset: u64, len: u64| -> Result<()> {
        enter(&mut c, api)?;
        read_to_heap(&mut c, dst, offset, len)
    })?;
    let api = d.api("stable64_write")?;
    d.func(api, move |mut c: ApiCaller<'_>, offset: u64, src: u64, len: u64| -> Result<()> {
        enter(&mut c, api)?;
        write_from_heap(&mut c, offset, src, len)
    })?;
    if !W::MEMORY64 {
        define_narrow(d)?;
    }
    Ok(())
}

/// An error that the IC counts as a wasm trap, unlike [`violation`](crate::engine::host::violation).
fn wasm_trap(text: &str) -> Error {
    Trap::Wasm(text.to_string()).into()
}

/// Like `checked_range` in `host.rs`, but its error is a wasm trap, as on the IC for these functions.
fn heap_range(src: u64, len: u64, size: usize) -> Result<std::ops::Range<usize>> {
    match src.checked_add(len) {
        // Both ends are at most `size`, which is a usize.
        Some(end) if end <= size as u64 => Ok(src as usize..end as usize),
        _ => Err(wasm_trap("heap out of bounds")),
    }
}

fn stable_out_of_bounds<E>(_: E) -> Error {
    wasm_trap("stable memory out of bounds")
}

/// An error if the message has accessed or modified too much, including the access just recorded.
fn check_access_limits(message: &Message) -> Result<()> {
    let exceeds = |pages: u64, limit: u64| pages * ACCESS_PAGE > limit;
    let (what, limit) = if exceeds(message.access.dirtied, message.limits.stable_dirtied_bytes) {
        ("modified", message.limits.stable_dirtied_bytes)
    } else if exceeds(message.access.accessed, message.limits.stable_accessed_bytes) {
        ("accessed", message.limits.stable_accessed_bytes)
    } else {
        return Ok(());
    };
    Err(Trap::MemoryAccessLimit(format!(
        "Exceeded the limit for the number of {what} pages in the stable memory in a single message execution: limit {} KB.",
        limit / 1024
    ))
    .into())
}

fn read_to_heap(c: &mut ApiCaller<'_>, dst: u64, offset: u64, len: u64) -> Result<()> {
    charge(c, len)?;
    let (memory, host) = heap_and_host(c);
    let message = &mut host.message;
    message.stable.check(offset, len).map_err(stable_out_of_bounds)?;
    let range = heap_range(dst, len, memory.len())?;
    message.access.read(offset, len);
    check_access_limits(message)?;
    message.stable_read += len;
    message.stable.read(offset, &mut memory[range]).map_err(stable_out_of_bounds)
}

fn write_from_heap(c: &mut ApiCaller<'_>, offset: u64, src: u64, len: u64) -> Result<()> {
    charge(c, len)?;
    let (memory, host) = heap_and_host(c);
    let message = &mut host.message;
    message.stable.check(offset, len).map_err(stable_out_of_bounds)?;
    // Both ranges are checked before the pages are counted and charged.
    heap_range(src, len, memory.len())?;
    let new_pages = message.access.write(offset, len);
    check_access_limits(message)?;
    charge(c, new_pages * NEW_DIRTY_PAGE)?;
    let (memory, host) = heap_and_host(c);
    let range = heap_range(src, len, memory.len())?;
    host.message.stable_written += len;
    host.message.stable.write(offset, &memory[range]).map_err(stable_out_of_bounds)
}

/// Defines the deprecated functions with 32-bit offsets, which trap if stable memory is larger than 4 GiB. (In
/// `cycles.rs`, the function of this name defines others.)
fn define_narrow(d: &mut Definer<'_>) -> Result<()> {
    // 4 GiB in wasm pages.
    const MAX_PAGES: u64 = (1 << 32) / WASM_PAGE;
    fn enter_narrow(c: &mut ApiCaller<'_>, api: &'static Api) -> Result<()> {
        enter(c, api)?;
        if c.data().message.stable.pages() > MAX_PAGES {
            return Err(wasm_trap("32 bit stable memory api used on a memory larger than 4GB"));
        }
        Ok(())
    }
    let api = d.api("stable_size")?;
    d.func(api, move |mut c: ApiCaller<'_>| -> Result<u32> {
        enter_narrow(&mut c, api)?;
        // At most MAX_PAGES, which `enter_narrow` checked.
        Ok(c.data().message.stable.pages() as u32)
    })?;
    let api = d.api("stable_grow")?;
    d.func(api, move |mut c: ApiCaller<'_>, pages: u32| -> Result<u32> {
        enter_narrow(&mut c, api)?;
        let message = &mut c.data_mut().message;
        let max = message.limits.stable_memory_bytes.min(MAX_PAGES * WASM_PAGE);
        Ok(message.stable.grow(pages.into(), max).map_or(u32::MAX, |before| before as u32))
    })?;
    let api = d.api("stable_read")?;
    d.func(api, move |mut c: ApiCaller<'_>, dst: u32, offset: u32, len: u32| -> Result<()> {
        enter_narrow(&mut c, api)?;
        read_to_heap(&mut c, dst.into(), offset.into(), len.into())
    })?;
    let api = d.api("stable_write")?;
    d.func(api, move |mut c: ApiCaller<'_>, offset: u32, src: u32, len: u32| -> Result<()> {
        enter_narrow(&mut c, api)?;
        write_from_heap(&mut c, offset.into(), src.into(), len.into())
    })
}
