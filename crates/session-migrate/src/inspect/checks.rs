//! What the tables say of one another.

mod accounts;
mod capsules;
mod extents;
mod payload;
mod sessions;

use super::facts::Facts;
use super::scan::Scan;

/// Notes everything in which the tables contradict one another. Where a table could not be read as a whole, that
/// something is not in it says nothing.
pub(super) fn run(facts: &Facts, scan: &mut Scan) {
    sessions::check(facts, scan);
    payload::check(facts, scan);
    extents::check(facts, scan);
    capsules::check(facts, scan);
    accounts::check(facts, scan);
}
