//! Tests of the commands that work on a snapshot of a canister.

mod aged;
mod findings;
mod inspection;
mod on_the_server;
mod damaged_canister;
