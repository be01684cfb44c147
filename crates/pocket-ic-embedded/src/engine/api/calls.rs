//! Answering the caller, and calling other canisters.

use candid::Principal;
use wasmtime::Result;

use super::definer::Definer;
use crate::engine::host::{
    ApiCaller, Word, charge, copy_from_heap, copy_text_from_heap, enter, heap_and_host, violation,
};
use crate::engine::host::{Message, checked_range};
use crate::engine::types::{OutgoingCall, Response};

/// Maximum timeout of a best-effort call, in seconds; longer timeouts are reduced to this one.
const MAX_TIMEOUT_SECONDS: u32 = 300;
/// What `call_perform` returns if the message has made all calls it may (`Limits::calls`): the reject code for
/// transient errors.
const QUEUE_FULL: u32 = 2;

pub(super) fn define<W: Word>(d: &mut Definer<'_>) -> Result<()> {
    define_responses::<W>(d)?;
    define_outgoing_calls::<W>(d)
}

/// An error if the call was already replied to or rejected.
fn check_unanswered(message: &Message, name: &str) -> Result<()> {
    if message.ctx.responded {
        return Err(violation(format!("ic0_{name}: the call is already replied")));
    }
    Ok(())
}

fn define_responses<W: Word>(d: &mut Definer<'_>) -> Result<()> {
    let api = d.api("msg_reply_data_append")?;
    d.func(api, move |mut c: ApiCaller<'_>, src: W, len: W| -> Result<()> {
        enter(&mut c, api)?;
        check_unanswered(&c.data().message, api.name)?;
        charge(&mut c, len.into_u64())?;
        let (memory, host) = heap_and_host(&mut c);
        let range = checked_range(api, "heap", src.into_u64(), len.into_u64(), memory.len())?;
        let message = &mut host.message;
        let size = message.reply_data.len() as u64 + len.into_u64();
        if size > message.limits.reply_bytes {
            return Err(violation(format!(
                "ic0_msg_reply_data_append: application payload size ({size}) cannot be larger than {}",
                message.limits.reply_bytes
            )));
        }
        message.reply_data.extend_from_slice(&memory[range]);
        Ok(())
    })?;
    let api = d.api("msg_reply")?;
    d.func(api, move |mut c: ApiCaller<'_>| -> Result<()> {
        enter(&mut c, api)?;
        let message = &mut c.data_mut().message;
        check_unanswered(message, api.name)?;
        message.ctx.responded = true;
        message.reply = Some(Response::Reply(std::mem::take(&mut message.reply_data)));
        Ok(())
    })?;
    let api = d.api("msg_reject")?;
    d.func(api, move |mut c: ApiCaller<'_>, src: W, len: W| -> Result<()> {
        enter(&mut c, api)?;
        check_unanswered(&c.data().message, api.name)?;
        if len.into_u64() > c.data().message.limits.reply_bytes {
            return Err(violation(format!(
                "ic0_msg_reject: application payload size ({}) cannot be larger than {}",
                len.into_u64(),
                c.data().message.limits.reply_bytes
            )));
        }
        let text = copy_text_from_heap(&mut c, api, src.into_u64(), len.into_u64())?;
        let message = &mut c.data_mut().message;
        message.ctx.responded = true;
        message.reply_data.clear();
        message.reply = Some(Response::Reject(text));
        Ok(())
    })
}

/// Converts the index of a callback; whether the table has such an entry is checked when the callback runs.
fn to_table_index(value: u64) -> Result<u32> {
    u32::try_from(value).map_err(|_| violation(format!("function table index {value} is too large")))
}

/// Returns the call that `call_new` began; an error if there is none.
fn call_under_construction<'a>(message: &'a mut Message, name: &str) -> Result<&'a mut OutgoingCall> {
    message
        .call
        .as_mut()
        .ok_or_else(|| violation(format!("ic0_{name} called when no call is under construction.")))
}

fn define_outgoing_calls<W: Word>(d: &mut Definer<'_>) -> Result<()> {
    let api = d.api("call_new")?;
    d.func(
        api,
        move |mut c: ApiCaller<'_>,
              callee_src: W,
              callee_len: W,
              name_src: W,
              name_len: W,
              reply_fun: W,
              reply_env: W,
              reject_fun: W,
              reject_env: W|
              -> Result<()> {
            enter(&mut c, api)?;
            // A call that was begun earlier and not performed is dropped.
            c.data_mut().message.abandon_call();
            let longest = c.data().message.limits.method_name_bytes;
            if name_len.into_u64() > longest {
                return Err(violation(format!(
                    "Size of method_name {} exceeds the allowed limit of {longest}.",
                    name_len.into_u64()
                )));
            }
            let callee =
                parse_principal(&copy_from_heap(&mut c, api, callee_src.into_u64(), callee_len.into_u64())?)?;
            let method = copy_text_from_heap(&mut c, api, name_src.into_u64(), name_len.into_u64())?;
            c.data_mut().message.call = Some(OutgoingCall {
                callee,
                method,
                arg: Vec::new(),
                cycles: 0,
                on_reply: (to_table_index(reply_fun.into_u64())?, reply_env.into_u64()),
                on_reject: (to_table_index(reject_fun.into_u64())?, reject_env.into_u64()),
                on_cleanup: None,
                timeout_seconds: None,
            });
            Ok(())
        },
    )?;
    let api = d.api("call_on_cleanup")?;
    d.func(api, move |mut c: ApiCaller<'_>, fun: W, env: W| -> Result<()> {
        enter(&mut c, api)?;
        let call = call_under_construction(&mut c.data_mut().message, api.name)?;
        if call.on_cleanup.is_some() {
            return Err(violation("ic0_call_on_cleanup can be called at most once between `ic0.call_new` and `ic0.call_perform`"));
        }
        call.on_cleanup = Some((to_table_index(fun.into_u64())?, env.into_u64()));
        Ok(())
    })?;
    let api = d.api("call_data_append")?;
    d.func(api, move |mut c: ApiCaller<'_>, src: W, len: W| -> Result<()> {
        enter(&mut c, api)?;
        charge(&mut c, len.into_u64())?;
        let (memory, host) = heap_and_host(&mut c);
        let range = checked_range(api, "heap", src.into_u64(), len.into_u64(), memory.len())?;
        let limit = host.message.limits.call_bytes;
        let call = call_under_construction(&mut host.message, api.name)?;
        let size = call.arg.len() as u64 + len.into_u64();
        if size > limit {
            return Err(violation(format!(
                "ic0_call_data_append: request payload size ({size}) cannot be larger than {limit}"
            )));
        }
        call.arg.extend_from_slice(&memory[range]);
        Ok(())
    })?;
    let api = d.api("call_with_best_effort_response")?;
    d.func(api, move |mut c: ApiCaller<'_>, timeout_seconds: u32| -> Result<()> {
        enter(&mut c, api)?;
        let call = call_under_construction(&mut c.data_mut().message, api.name)?;
        if call.timeout_seconds.is_some() {
            return Err(violation(
                "ic0_call_with_best_effort_response failed because a timeout is already set",
            ));
        }
        call.timeout_seconds = Some(timeout_seconds.min(MAX_TIMEOUT_SECONDS));
        Ok(())
    })?;
    let api = d.api("call_perform")?;
    d.func(api, move |mut c: ApiCaller<'_>| -> Result<u32> {
        enter(&mut c, api)?;
        let message = &mut c.data_mut().message;
        call_under_construction(message, api.name)?;
        if message.calls.len() >= message.limits.calls {
            message.abandon_call();
            // The canister sees this code instead of a trap.
            return Ok(QUEUE_FULL);
        }
        message.calls.extend(message.call.take());
        Ok(0)
    })
}

/// Reads a principal; other bytes violate the contract.
pub(super) fn parse_principal(bytes: &[u8]) -> Result<Principal> {
    Principal::try_from_slice(bytes)
        .map_err(|error| violation(format!("{} bytes are not a principal: {error}", bytes.len())))
}
