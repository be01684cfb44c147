//! Messages of the migration that trap, on real wasm, each of them at several points: a trap changes nothing, and the
//! migration ends in the same state as without traps.

use crate::support::conversion::sessions::Sessions;
use crate::support::traps::{
    assert_control_accepted_before_trap, assert_same_when_trapped, assert_same_when_upgrade_traps,
};

#[test]
fn a_message_that_traps_while_counting_changes_nothing() {
    assert_same_when_trapped(Sessions::Untouched);
}

#[test]
fn a_message_that_traps_while_converting_changes_nothing() {
    assert_same_when_trapped(Sessions::Counted);
}

#[test]
fn an_upgrade_that_traps_leaves_the_old_build_running() {
    assert_same_when_upgrade_traps(Sessions::Untouched);
}

#[test]
fn a_control_is_accepted_although_the_next_message_traps() {
    assert_control_accepted_before_trap(Sessions::Untouched);
}
