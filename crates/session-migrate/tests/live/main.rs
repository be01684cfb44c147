//! Commands on a live network of the embedded server.

mod answers;
mod check;
mod driving;
mod network;
mod snapshot;
mod upgrade;
mod upgrade_faults;
mod upload;
