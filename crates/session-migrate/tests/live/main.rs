//! Commands on a live network of the embedded server.

mod check;
mod driving;
mod expiry;
mod faulty_networks;
mod network;
mod snapshot;
mod upgrade;
mod upgrade_aborted;
mod upgrade_faults;
mod upgrade_killed;
mod upgrade_meanwhile;
mod upgrade_network;
mod upload;
mod uploaders;
