//! Tests of `adopt`: memories of the public first release, whole and damaged, become snapshots of this canister.

mod conservation;
mod damage;
mod on_the_server;
mod release;
mod with_its_module;
mod wrong_input;
