//! Messages of the migration that trap, on real wasm, each message at several points:
//! the canister is unchanged, and ends in the same state as if nothing had happened.

use crate::support::conversion::sessions::Sessions;
use crate::support::traps::{trapped_everywhere, upgrade_trapped_everywhere};

#[test]
fn a_message_that_traps_while_counting_changes_nothing() {
    trapped_everywhere(Sessions::Untouched);
}

#[test]
fn a_message_that_traps_while_converting_changes_nothing() {
    trapped_everywhere(Sessions::Counted);
}

#[test]
fn an_upgrade_that_traps_leaves_the_old_build_running() {
    upgrade_trapped_everywhere(Sessions::Untouched);
}
