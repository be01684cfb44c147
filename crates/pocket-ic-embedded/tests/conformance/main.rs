//! The rules of the Internet Computer, table by table, on small canisters and through the protocol.

#[path = "../common/mod.rs"]
mod common;

mod contexts;
mod error_codes;
mod faulty;
mod provoked;
mod system_api;
