//! The interface for agents, through the published agent and by hand.

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod certificates;
mod gateway;
mod network;
mod reading;
mod refusals;
mod senders;
