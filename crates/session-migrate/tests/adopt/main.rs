//! Tests of `adopt`: stable memories of the first public release, whole and damaged, become snapshots of this canister.

mod conservation;
mod damage;
mod on_the_server;
mod release;
mod spoilt_sessions;
mod stand_in;
mod states;
mod with_its_module;
mod wrong_input;
