//! Tests of the commands that work on a snapshot of a canister.

mod aged;
mod damaged_canister;
mod findings;
mod inspection;
mod on_the_server;
