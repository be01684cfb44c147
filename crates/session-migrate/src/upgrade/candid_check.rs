//! Whether every client of one interface can use another.

use candid_parser::utils::{CandidSource, service_compatible};

/// Checks that the interface `new` is a subtype of `old`.
///
/// # Errors
/// The first difference that a client of `old` would notice.
pub(super) fn check(new: &str, old: &str) -> Result<(), String> {
    service_compatible(CandidSource::Text(new), CandidSource::Text(old))
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}
