//! Measurements of the running canister.

use super::migration;
use super::timers::Job;
use crate::metrics::Readings;

const PAGE_BYTES: u64 = 64 * 1024;

pub fn stable_memory_bytes() -> u64 {
    ic_cdk::stable::stable_size().saturating_mul(PAGE_BYTES)
}

fn heap_memory_bytes() -> u64 {
    #[cfg(target_arch = "wasm32")]
    let pages = core::arch::wasm32::memory_size(0);
    #[cfg(not(target_arch = "wasm32"))]
    let pages = 0_usize;
    (pages as u64).saturating_mul(PAGE_BYTES)
}

/// Returns the values that `/metrics` shows in addition to the contents of stable memory.
pub fn readings() -> Readings {
    let now = ic_cdk::api::time();
    let age = |at: u64| now.saturating_sub(at).div_euclid(1_000_000_000);
    Readings {
        stable_memory_bytes: stable_memory_bytes(),
        heap_memory_bytes: heap_memory_bytes(),
        cycle_balance: ic_cdk::api::canister_cycle_balance(),
        jobs: Job::ALL.iter().map(|job| (job.name(), age(job.ran_at()))).collect(),
        migration_step_age: migration::stepped_at().map(age),
    }
}
