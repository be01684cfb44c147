//! Compares the tables with one another.

mod accounts;
mod capsules;
mod extents;
mod payload;
mod sessions;

use super::facts::Facts;
use super::scan::Scan;

/// Records every contradiction between tables. If a table could not be read completely, an entry that was not found may
/// exist, so its absence is not recorded.
pub(super) fn run(facts: &Facts, scan: &mut Scan) {
    sessions::check(facts, scan);
    payload::check(facts, scan);
    extents::check(facts, scan);
    capsules::check(facts, scan);
    accounts::check(facts, scan);
}
