//! Tests of the interface for agents, with the published agent and with requests made without it.

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod canister_signatures;
mod certificates;
mod gateway;
mod network;
mod reading;
mod refusals;
mod senders;
mod verification;
mod webauthn;
