//! Tests of an instance through the official client, by subject.

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod canisters;
mod composite_queries;
mod ingress;
mod install;
mod limits;
mod management;
mod memories;
mod replies;
mod rounds;
mod snapshot_folders;
mod snapshots;
mod status;
mod stopping;
mod time;
