//! Cycles: the balance, cycles of calls, cycles sent or burned, and prices.
//!
//! This server charges nothing; the `cost_*` functions nevertheless return the published prices.

use candid::de::DecoderConfig;
use candid::utils::decode_args_with_config;
use wasmtime::Result;

use super::definer::Definer;
use crate::engine::error::Trap;
use crate::engine::host::{
    ApiCaller, Host, Message, Word, copy_from_heap, enter, violation, write_u128_to_heap,
};
use crate::engine::prices::{Outcall, Prices};

/// What the `cost_*` functions return for a curve or algorithm that does not exist.
const UNKNOWN_CURVE: u32 = 1;
/// What the `cost_*` functions return for a key that does not exist.
const UNKNOWN_KEY: u32 = 2;

fn join_halves(high: u64, low: u64) -> u128 {
    (u128::from(high) << 64) | u128::from(low)
}

pub(super) fn define<W: Word>(d: &mut Definer<'_>) -> Result<()> {
    define_amount::<W>(d, "msg_cycles_available128", available_cycles)?;
    define_amount::<W>(d, "msg_cycles_refunded128", |m| m.ctx.cycles_refunded)?;
    define_amount::<W>(d, "canister_cycle_balance128", |m| m.ctx.balance)?;
    define_amount::<W>(d, "canister_liquid_cycle_balance128", |m| m.liquid_balance())?;
    define_spending::<W>(d)?;
    if !W::MEMORY64 {
        define_narrow(d)?;
    }
    define_costs::<W>(d)
}

/// Defines a function that stores an amount at an address.
fn define_amount<W: Word>(d: &mut Definer<'_>, name: &'static str, get: fn(&Message) -> u128) -> Result<()> {
    let api = d.api(name)?;
    d.func(api, move |mut c: ApiCaller<'_>, dst: W| -> Result<()> {
        enter(&mut c, api)?;
        let value = get(&c.data().message);
        write_u128_to_heap(&mut c, api, dst.into_u64(), value)
    })
}

/// Returns the cycles of the call that can still be accepted: none after the response, which refunds the rest to the
/// caller.
fn available_cycles(message: &Message) -> u128 {
    if message.ctx.responded { 0 } else { message.ctx.cycles_available }
}

/// Moves at most `max` of the available cycles to the balance; returns how many.
fn accept_cycles(host: &mut Host, max: u128) -> u128 {
    let message = &mut host.message;
    let amount = max.min(available_cycles(message));
    message.ctx.cycles_available -= amount;
    message.ctx.balance = message.ctx.balance.saturating_add(amount);
    message.cycles_accepted += amount;
    amount
}

/// Moves cycles from the balance to the call under construction. `name` is that of the calling function, for errors.
fn add_to_call(host: &mut Host, name: &str, amount: u128) -> Result<()> {
    let message = &mut host.message;
    let liquid_balance = message.liquid_balance();
    let canister = message.ctx.canister_id;
    let call = message
        .call
        .as_mut()
        .ok_or_else(|| violation(format!("ic0_{name} called when no call is under construction.")))?;
    if amount > liquid_balance {
        return Err(Trap::OutOfCycles {
            canister: canister.to_text(),
            requested: amount,
            available: liquid_balance,
        }
        .into());
    }
    // Cannot overflow: the cycles of the call, too, were part of the balance before.
    call.cycles += amount;
    message.ctx.balance -= amount;
    Ok(())
}

fn define_spending<W: Word>(d: &mut Definer<'_>) -> Result<()> {
    let api = d.api("msg_cycles_accept128")?;
    d.func(api, move |mut c: ApiCaller<'_>, high: u64, low: u64, dst: W| -> Result<()> {
        enter(&mut c, api)?;
        let amount = accept_cycles(c.data_mut(), join_halves(high, low));
        write_u128_to_heap(&mut c, api, dst.into_u64(), amount)
    })?;
    let api = d.api("cycles_burn128")?;
    d.func(api, move |mut c: ApiCaller<'_>, high: u64, low: u64, dst: W| -> Result<()> {
        enter(&mut c, api)?;
        let message = &mut c.data_mut().message;
        let amount = join_halves(high, low).min(message.liquid_balance());
        message.ctx.balance -= amount;
        message.cycles_burned += amount;
        write_u128_to_heap(&mut c, api, dst.into_u64(), amount)
    })?;
    let api = d.api("call_cycles_add128")?;
    d.func(api, move |mut c: ApiCaller<'_>, high: u64, low: u64| -> Result<()> {
        enter(&mut c, api)?;
        add_to_call(c.data_mut(), api.name, join_halves(high, low))
    })?;
    let api = d.api("mint_cycles128")?;
    d.func(api, move |mut c: ApiCaller<'_>, _high: u64, _low: u64, _dst: W| -> Result<()> {
        enter(&mut c, api)?;
        Err(mint_refusal(c.data()))
    })
}

/// The error of both functions that mint cycles: no canister on this server may mint.
fn mint_refusal(host: &Host) -> wasmtime::Error {
    violation(format!(
        "ic0.mint_cycles cannot be executed on non Cycles Minting Canister: {}",
        host.message.ctx.canister_id
    ))
}

/// Defines the deprecated functions in which cycles are 64-bit numbers. (In `stable.rs`, the function of this name
/// defines others.)
fn define_narrow(d: &mut Definer<'_>) -> Result<()> {
    // A larger amount makes the message trap.
    fn to_u64(name: &str, amount: u128) -> Result<u64> {
        u64::try_from(amount).map_err(|_| {
            Trap::Wasm(format!("64 bit cycles api ic0_{name} used on an amount larger than 2^64: {amount}"))
                .into()
        })
    }
    type Getter = (&'static str, fn(&Message) -> u128);
    let getters: [Getter; 3] = [
        ("msg_cycles_available", available_cycles),
        ("msg_cycles_refunded", |m| m.ctx.cycles_refunded),
        ("canister_cycle_balance", |m| m.ctx.balance),
    ];
    for (name, get) in getters {
        let api = d.api(name)?;
        d.func(api, move |mut c: ApiCaller<'_>| -> Result<u64> {
            enter(&mut c, api)?;
            to_u64(api.name, get(&c.data().message))
        })?;
    }
    let api = d.api("msg_cycles_accept")?;
    d.func(api, move |mut c: ApiCaller<'_>, max: u64| -> Result<u64> {
        enter(&mut c, api)?;
        to_u64(api.name, accept_cycles(c.data_mut(), max.into()))
    })?;
    let api = d.api("call_cycles_add")?;
    d.func(api, move |mut c: ApiCaller<'_>, amount: u64| -> Result<()> {
        enter(&mut c, api)?;
        add_to_call(c.data_mut(), api.name, amount.into())
    })?;
    let api = d.api("mint_cycles")?;
    d.func(api, move |mut c: ApiCaller<'_>, _amount: u64| -> Result<u64> {
        enter(&mut c, api)?;
        Err(mint_refusal(c.data()))
    })
}

fn define_costs<W: Word>(d: &mut Definer<'_>) -> Result<()> {
    let api = d.api("cost_call")?;
    d.func(api, move |mut c: ApiCaller<'_>, name: u64, payload: u64, dst: W| -> Result<()> {
        enter(&mut c, api)?;
        let bytes = u128::from(name) + u128::from(payload);
        let price = prices(&c).call(bytes, W::MEMORY64);
        write_u128_to_heap(&mut c, api, dst.into_u64(), price)
    })?;
    define_amount::<W>(d, "cost_create_canister", |m| m.prices().create_canister())?;
    let api = d.api("cost_http_request")?;
    d.func(api, move |mut c: ApiCaller<'_>, request: u64, response: u64, dst: W| -> Result<()> {
        enter(&mut c, api)?;
        let price = prices(&c).http_request(request, response);
        write_u128_to_heap(&mut c, api, dst.into_u64(), price)
    })?;
    let api = d.api("cost_http_request_v2")?;
    d.func(api, move |mut c: ApiCaller<'_>, src: W, len: W, dst: W| -> Result<()> {
        enter(&mut c, api)?;
        let outcall = decode_outcall(&copy_from_heap(&mut c, api, src.into_u64(), len.into_u64())?)?;
        let price = prices(&c).http_request_v2(&outcall);
        write_u128_to_heap(&mut c, api, dst.into_u64(), price)
    })?;
    // Each function with the number of curves or algorithms that it supports, which are numbered from 0: secp256k1 |
    // bip340secp256k1, ed25519 | bls12_381_g2.
    for (name, curve_count) in
        [("cost_sign_with_ecdsa", 1), ("cost_sign_with_schnorr", 2), ("cost_vetkd_derive_key", 1)]
    {
        let api = d.api(name)?;
        d.func(api, move |mut c: ApiCaller<'_>, src: W, len: W, curve: u32, dst: W| -> Result<u32> {
            enter(&mut c, api)?;
            let key = copy_from_heap(&mut c, api, src.into_u64(), len.into_u64())?;
            if curve >= curve_count {
                return Ok(UNKNOWN_CURVE);
            }
            let Some(price) = prices(&c).signature(&key) else {
                return Ok(UNKNOWN_KEY);
            };
            write_u128_to_heap(&mut c, api, dst.into_u64(), price)?;
            Ok(0)
        })?;
    }
    Ok(())
}

fn prices(c: &ApiCaller<'_>) -> Prices {
    c.data().message.prices()
}

/// Decodes the argument of `cost_http_request_v2`.
fn decode_outcall(bytes: &[u8]) -> Result<Outcall> {
    let mut config = DecoderConfig::new();
    // An argument with a field that [`Outcall`] does not have is refused.
    config.set_skipping_quota(0);
    let decoded = decode_args_with_config(bytes, &config).map(|(outcall,)| outcall);
    decoded.map_err(|error| {
        violation(format!("ic0_cost_http_request_v2 failed to decode its argument: {error}"))
    })
}
