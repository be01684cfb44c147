//! The system API: the functions of the import module `ic0`.
//!
//! One file per family. Where each function may be called and its fixed charge are in `contexts.rs`; the
//! helpers that check, charge and copy are in `host.rs`.

mod blobs;
mod calls;
mod cycles;
mod stable;
mod system;

use wasmtime::{IntoFunc, Linker, Result};

use super::contexts::{self, Api};
use super::error::EngineError;
use super::host::{Cx, Host, Word, enter};

/// Defines functions in a linker, each with its row of the table in `contexts.rs`.
struct Definer<'a> {
    linker: &'a mut Linker<Host>,
}

impl Definer<'_> {
    fn api(&self, name: &'static str) -> Result<&'static Api> {
        contexts::find(name)
            .ok_or_else(|| EngineError(format!("the system API function {name} has no permissions")).into())
    }

    fn func<P, R>(&mut self, api: &Api, func: impl IntoFunc<Host, P, R>) -> Result<()> {
        self.linker.func_wrap("ic0", api.name, func)?;
        Ok(())
    }

    /// Defines a function without parameters that only reads something.
    fn getter<R>(&mut self, name: &'static str, get: fn(&Host) -> R) -> Result<()>
    where
        R: wasmtime::WasmTy + 'static,
    {
        let api = self.api(name)?;
        self.func(api, move |mut c: Cx<'_>| -> Result<R> {
            enter(&mut c, api)?;
            Ok(get(c.data()))
        })
    }
}

/// Defines all functions for modules whose memory has this index type.
pub(super) fn define_all<W: Word>(linker: &mut Linker<Host>) -> Result<()> {
    let mut definer = Definer { linker };
    blobs::define::<W>(&mut definer)?;
    calls::define::<W>(&mut definer)?;
    cycles::define::<W>(&mut definer)?;
    stable::define::<W>(&mut definer)?;
    system::define::<W>(&mut definer)
}

/// Returns whether modules whose memory has this index type may import the function.
pub(super) fn known(name: &str, memory64: bool) -> bool {
    /// Functions with a 64-bit or 128-bit successor, for 32-bit memories only.
    const NARROW: [&str; 10] = [
        "call_cycles_add",
        "canister_cycle_balance",
        "mint_cycles",
        "msg_cycles_accept",
        "msg_cycles_available",
        "msg_cycles_refunded",
        "stable_grow",
        "stable_read",
        "stable_size",
        "stable_write",
    ];
    contexts::find(name).is_some() && !(memory64 && NARROW.contains(&name))
}
