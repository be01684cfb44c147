//! Tests of the commands that work on a snapshot of a canister.

mod aged;
mod injuries;
mod inspection;
mod on_the_server;
mod patient;
