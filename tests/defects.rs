//! The forty defects of the first public release, one test each, on the legacy build and on the direct build; tests
//! about upgrades also run across the whole staged upgrade. Each test describes what went wrong in that release and
//! what holds now. If a defect cannot recur because its feature was removed, the test checks that the feature is gone.

mod authorisation;
mod identity;
mod limits;
mod protocol;
mod reads;
mod results;
mod sessions;

use session_migrate::build::Build;

/// The builds that a canister runs, one after the other, in a test about upgrades. (`lanes` has an enum of this name.)
type Course = &'static [Build];

const LEGACY: Course = &[Build::Legacy, Build::Legacy, Build::Legacy];
const DIRECT: Course = &[Build::Direct, Build::Direct, Build::Direct];
const UPGRADED: Course = &Build::ALL;

/// Runs each test of `module` on the legacy build and on the direct build.
macro_rules! on_both_builds {
    ($module:ident: $($test:ident)*) => {$(
        mod $test {
            #[test]
            fn on_legacy() {
                super::$module::$test(super::Build::Legacy);
            }

            #[test]
            fn on_direct() {
                super::$module::$test(super::Build::Direct);
            }
        }
    )*};
}

/// Runs each test of `module` with upgrades of the legacy build and of the direct build to themselves, and across the
/// staged upgrade.
macro_rules! on_every_course {
    ($module:ident: $($test:ident)*) => {$(
        mod $test {
            #[test]
            fn on_legacy() {
                super::$module::$test(super::LEGACY);
            }

            #[test]
            fn on_direct() {
                super::$module::$test(super::DIRECT);
            }

            #[test]
            fn across_the_upgrade() {
                super::$module::$test(super::UPGRADED);
            }
        }
    )*};
}

on_both_builds! {identity:
    d01_the_provisional_memory_id_was_always_empty
    d02_blob_ids_could_be_guessed
    d06_reads_continued_until_a_page_was_missing
    d07_a_failed_finish_deleted_somebody_elses_blob
}

on_every_course! {identity:
    d03_session_ids_began_again_after_an_upgrade
    d04_an_upgrade_wrote_over_the_memory_manager
    d05_sessions_were_lost_at_an_upgrade
}

on_both_builds! {limits:
    d08_nothing_ever_expired
    d09_expiry_counted_from_the_beginning
    d10_ended_sessions_released_nothing
    d11_finished_sessions_counted_as_active
    d12_declared_sizes_and_texts_had_no_limits
}

on_both_builds! {authorisation:
    d13_anybody_could_read_any_blob
    d14_anybody_could_list_and_clear_sessions
    d15_a_strangers_chunk_spoiled_the_owners_hash
    d16_a_strangers_finish_destroyed_the_session
    d17_anybody_could_write_into_stable_memory
    d18_a_debug_finish_took_any_hash
    d19_a_memory_could_free_somebody_elses_blob
    d20_access_was_checked_at_begin_only
    d21_anonymous_callers_subjects_and_first_callers_had_rights
}

on_both_builds! {protocol:
    d22_a_capsule_that_vanished_left_half_a_commit
    d23_a_repeated_chunk_broke_the_upload
    d24_chunks_out_of_order_broke_the_upload
    d25_a_repeated_begin_reset_the_hash
    d26_finish_could_be_called_once_only
    d27_a_short_digest_trapped
    d28_chunks_had_no_length
    d29_ids_were_made_from_the_time
}

on_both_builds! {results:
    d30_memories_could_not_be_deleted_or_changed
    d31_metadata_was_lost_on_the_way
    d32_times_came_in_two_units
    d33_a_client_could_not_learn_what_had_arrived
}

on_both_builds! {reads:
    d34_a_large_blob_came_in_one_reply
    d35_stable_memory_grew_faster_than_the_payload
    d36_a_commit_rewrote_the_whole_capsule
    d37_the_same_content_was_stored_again_and_payload_was_logged
}

on_every_course! {reads:
    d38_two_memory_managers_shared_one_memory
}

on_both_builds! {sessions:
    d39_the_session_service_counted_instead_of_checking
}

on_every_course! {sessions:
    d40_the_target_design_had_holes_of_its_own
}
