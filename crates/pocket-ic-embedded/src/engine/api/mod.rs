//! The system API: the functions of the import module `ic0`.
//!
//! `permissions.rs` lists the kinds of execution in which each function may be called, and its fixed charge; the
//! helpers that check, charge and copy are in `host.rs`.

mod byte_strings;
mod calls;
mod cycles;
mod definer;
mod stable;
mod system;

use wasmtime::{Linker, Result};

use super::host::{Host, Word};
use definer::Definer;

/// Defines all functions for modules whose memory has the index type `W`: 32 or 64 bits.
pub(super) fn define_all<W: Word>(linker: &mut Linker<Host>) -> Result<()> {
    let mut definer = Definer { linker };
    byte_strings::define::<W>(&mut definer)?;
    calls::define::<W>(&mut definer)?;
    cycles::define::<W>(&mut definer)?;
    stable::define::<W>(&mut definer)?;
    system::define::<W>(&mut definer)
}
