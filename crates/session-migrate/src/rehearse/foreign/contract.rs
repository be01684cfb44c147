//! The `migration_…` endpoints of a canister, as the crate `ic-stable-migrate` defines them, for unit keys of any type.

use candid::{Reserved, encode_args};
use ic_stable_migrate::api;

use super::pair::{Pair, first_line, in_one_line};
use crate::build::Methods;
use crate::client::NO_ARGUMENTS;
use crate::rehearse::stages::controller;

/// A status without the key of the last unit, whose type is specific to the canister.
pub(super) type Status = api::MigrationStatus<Reserved>;

/// Without this endpoint, the progress of a migration cannot be observed.
pub(super) const STATUS: &str = "migration_status";

/// The endpoints, each with what the rehearsal cannot test if the endpoint is missing.
const ENDPOINTS: [(&str, &str); 5] = [
    (STATUS, "whether a migration runs and when it is complete, its counts and digests, interruptions"),
    ("migration_resume", "that it continues after it was stuck or rolled back"),
    ("migration_verify", "that every converted unit is read back and found sound"),
    ("migration_rollback", "the rollback"),
    ("migration_finalize", "that the migration ends"),
];

/// Returns a line for each missing endpoint: what cannot be tested. Without [`STATUS`], no endpoint can be used, so the
/// others get a line, too.
pub(super) fn untestable_notes(methods: &Methods) -> Vec<String> {
    let lacks_status = !methods.has(STATUS);
    let missing = ENDPOINTS.iter().filter(|(name, _)| lacks_status || !methods.has(name));
    let line = |(name, what): &(&str, &str)| {
        let absent = if methods.has(name) { STATUS } else { *name };
        format!("not tested, as there is no {absent}: {what}")
    };
    missing.map(line).collect()
}

impl Pair<'_> {
    /// Asks the upgraded canister for the status of its migration.
    pub fn status(&self) -> Result<Status, String> {
        let answer = self.pic.query_call(self.id, controller(), STATUS, NO_ARGUMENTS.to_vec());
        self.decode_status(STATUS, answer)
    }

    /// Calls an endpoint that changes the migration; returns the status in the reply.
    pub fn control(&self, endpoint: &str, arg: &[u8]) -> Result<Status, String> {
        let answer = self.pic.update_call(self.id, controller(), endpoint, arg.to_vec());
        self.decode_status(endpoint, answer)
    }

    fn decode_status(
        &self,
        endpoint: &str,
        answer: Result<Vec<u8>, pocket_ic::RejectResponse>,
    ) -> Result<Status, String> {
        let reply = answer.map_err(|reject| format!("{endpoint} is rejected: {}", first_line(&reject)))?;
        // The error's type is specific to the canister, so it is shown according to the canister's interface.
        match candid::decode_one::<Result<Status, Reserved>>(&reply) {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(_)) => {
                Err(format!("{endpoint} answers {}", in_one_line(&self.shown_answer(endpoint, &Ok(reply)))))
            }
            Err(_) => {
                let shown = crate::shorten(&in_one_line(&self.shown_answer(endpoint, &Ok(reply))));
                Err(format!("{endpoint} does not answer with a status of ic-stable-migrate, but {shown}"))
            }
        }
    }
}

/// Encodes the argument of `migration_finalize`: whether it may finalize although units are in quarantine.
pub(super) fn finalize_arg(leave_quarantined: bool) -> Vec<u8> {
    encode_args((Some(leave_quarantined),)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_an_endpoint_that_is_absent() {
        let updates = ["migration_verify", "migration_finalize"].map(str::to_owned).into();
        let notes = untestable_notes(&Methods { updates, ..Methods::default() });
        let absent = notes.iter().map(|note| {
            let named = note.strip_prefix("not tested, as there is no ").unwrap();
            named.split(':').next().unwrap()
        });
        let expected = [STATUS, "migration_resume", STATUS, "migration_rollback", STATUS];
        assert_eq!(absent.collect::<Vec<_>>(), expected);
        assert!(notes[2].ends_with("that every converted unit is read back and found sound"), "{notes:?}");
    }
}
