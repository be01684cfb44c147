//! Everything that runs the real wasm of the canister, on a PocketIC server.

mod bad_input;
mod blake3;
mod canary;
mod defects;
mod endurance;
mod failures;
mod gateway;
mod interface;
mod lanes;
mod limits;
mod malformed;
mod migration_dry_run;
mod migration_extents;
mod migration_golden;
mod migration_interrupt;
mod migration_quarantine;
mod migration_refusals;
mod migration_scale;
mod migration_traps;
mod model;
mod replay;
mod runbook;
mod security;
mod support;
mod sweep;
mod upgrades;
