//! The canister's surroundings: time, timer, status, the performance counter, certified data, controllers, accepting
//! an inspected message, logs, traps.

use wasmtime::Result;

use super::calls::parse_principal;
use super::definer::Definer;
use crate::engine::error::Trap;
use crate::engine::host::{ApiCaller, Word, copy_from_heap, copy_start_from_heap, enter, violation};
use crate::engine::permissions::REPLICATED;
use crate::engine::texts::MAX_TEXT_BYTES;

/// Maximum length of certified data, bytes.
const MAX_CERTIFIED_DATA: u64 = 32;
/// Maximum number of bytes of a trap's text in the answer and in the log, as on the IC.
const MAX_TRAP_TEXT: u64 = 16 << 10;

pub(super) fn define<W: Word>(d: &mut Definer<'_>) -> Result<()> {
    d.getter("time", |host| host.message.ctx.time_nanos)?;
    d.getter("canister_status", |host| host.message.ctx.status as u32)?;
    d.getter("canister_version", |host| host.message.ctx.canister_version)?;
    d.getter("subnet_self_node_count", |host| host.message.ctx.subnet_node_count)?;
    d.getter("msg_reject_code", |host| host.message.ctx.reject_code)?;
    d.getter("msg_deadline", |host| host.message.ctx.deadline)?;
    d.getter("in_replicated_execution", |host| u32::from(host.message.execution_kind & REPLICATED != 0))?;
    d.getter("data_certificate_present", |host| u32::from(host.message.ctx.data_certificate.is_some()))?;
    define_timer_and_counter(d)?;
    let api = d.api("is_controller")?;
    d.func(api, move |mut c: ApiCaller<'_>, src: W, len: W| -> Result<u32> {
        enter(&mut c, api)?;
        let who = parse_principal(&copy_from_heap(&mut c, api, src.into_u64(), len.into_u64())?)?;
        Ok(c.data().message.ctx.controllers.contains(&who).into())
    })?;
    let api = d.api("certified_data_set")?;
    d.func(api, move |mut c: ApiCaller<'_>, src: W, len: W| -> Result<()> {
        enter(&mut c, api)?;
        if len.into_u64() > MAX_CERTIFIED_DATA {
            return Err(violation(format!(
                "ic0_certified_data_set failed because the passed data must be no larger than {MAX_CERTIFIED_DATA} bytes. Found {} bytes.",
                len.into_u64()
            )));
        }
        let data = copy_from_heap(&mut c, api, src.into_u64(), len.into_u64())?;
        c.data_mut().message.certified_data = Some(data);
        Ok(())
    })?;
    let api = d.api("accept_message")?;
    d.func(api, move |mut c: ApiCaller<'_>| -> Result<()> {
        enter(&mut c, api)?;
        if std::mem::replace(&mut c.data_mut().message.message_accepted, true) {
            return Err(violation("ic0.accept_message: the function was already called."));
        }
        Ok(())
    })?;
    let api = d.api("debug_print")?;
    d.func(api, move |mut c: ApiCaller<'_>, src: W, len: W| -> Result<()> {
        enter(&mut c, api)?;
        let text = copy_start_from_heap(&mut c, api, src.into_u64(), len.into_u64(), MAX_TEXT_BYTES)?;
        c.data_mut().message.logs.push(text);
        Ok(())
    })?;
    let api = d.api("trap")?;
    d.func(api, move |mut c: ApiCaller<'_>, src: W, len: W| -> Result<()> {
        enter(&mut c, api)?;
        let text = copy_start_from_heap(&mut c, api, src.into_u64(), len.into_u64(), MAX_TRAP_TEXT)?;
        Err(Trap::CalledTrap(String::from_utf8_lossy(&text).into_owned()).into())
    })
}

fn define_timer_and_counter(d: &mut Definer<'_>) -> Result<()> {
    let api = d.api("global_timer_set")?;
    d.func(api, move |mut c: ApiCaller<'_>, deadline: u64| -> Result<u64> {
        enter(&mut c, api)?;
        let message = &mut c.data_mut().message;
        message.global_timer = Some(deadline);
        // The canister gets the deadline that was set before.
        Ok(std::mem::replace(&mut message.ctx.global_timer, deadline))
    })?;
    let api = d.api("performance_counter")?;
    d.func(api, move |mut c: ApiCaller<'_>, kind: u32| -> Result<u64> {
        enter(&mut c, api)?;
        let left = c.get_fuel()?;
        let message = &c.data().message;
        let used = message.limits.instructions - left;
        match kind {
            // The instructions of this message.
            0 => Ok(used),
            // Those of all messages of the call context so far.
            1 => Ok(used + message.ctx.call_context_instructions),
            _ => Err(violation(format!("Error getting performance counter type {kind}"))),
        }
    })
}
