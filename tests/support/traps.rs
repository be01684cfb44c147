//! Makes messages of a migration trap before they end.

use std::time::Duration;

use session_migrate::costs::{self, MessageCost};
use session_migrate::server::{self, ServerKind};
use upload_canister::api::{BuildInfo, MigrationPhase};

use super::conversion::{
    Start, after_messages, control, count_messages, dump_uninterrupted, settle_migration, status,
};
use super::{InstalledCanister, owner};

/// Number of equal parts into which a message is divided. Tests make a message trap after each part but the last.
const PARTS: u64 = 6;

/// Returns whether instruction limits can be set; prints a message if not.
pub fn is_embedded() -> bool {
    let chosen = server::chosen().unwrap();
    let embedded = chosen.kind == ServerKind::Embedded;
    if !embedded {
        eprintln!(
            "{chosen}: only the embedded server lets a test set the instruction limit of a message; \
            nothing is tested"
        );
    }
    embedded
}

/// Runs `act`, and returns the messages that the canister has executed meanwhile.
pub fn executed(canister: &InstalledCanister, act: impl FnOnce(&InstalledCanister)) -> Vec<MessageCost> {
    let messages_from = |from| costs::messages(&canister.pic, canister.id, from).unwrap();
    let from = messages_from(0).last().map_or(0, |last| last.index + 1);
    act(canister);
    messages_from(from)
}

/// Runs `act` with a limit of `instructions` for each message, and returns the messages that trapped.
pub fn with_message_limit(
    canister: &InstalledCanister,
    instructions: u64,
    act: impl FnOnce(&InstalledCanister),
) -> Vec<MessageCost> {
    costs::limit_message(&canister.pic, canister.id, Some(instructions)).unwrap();
    let mut messages = executed(canister, act);
    costs::limit_message(&canister.pic, canister.id, None).unwrap();
    messages.retain(|message| !message.ok);
    messages
}

/// Begins an upload, and returns how many instructions the begin took.
pub fn begin_cost(canister: &InstalledCanister, capsule: &str) -> u64 {
    let begin = |canister: &InstalledCanister| {
        canister.begin(owner(), capsule, &[1; 10], "measured").unwrap();
    };
    executed(canister, begin).iter().map(|message| message.instructions).sum()
}

/// If the server is embedded, makes every message of the migration, and of its timer, trap at several points, one trap
/// at a time. Checks that the trap changes nothing, and that the migration ends as if nothing had happened.
pub fn assert_same_when_trapped<S: Start>(start: S) {
    if !is_embedded() {
        return;
    }
    let expected = dump_uninterrupted(start);
    for k in 0..count_messages(start) {
        // The timers' library runs a timer in a call of the canister to itself.
        let all = executed(&after_messages(start, k), |canister| canister.pic.tick());
        let largest = |entry: &str| {
            let of_entry = all.iter().filter(|message| message.entry == entry);
            of_entry
                .map(|message| message.instructions)
                .max()
                .unwrap_or_else(|| panic!("no {entry}: {all:?}"))
        };
        let (cost, timer_cost) = (largest("update"), largest("global_timer"));
        for part in 1..PARTS {
            let instructions = cost * part / PARTS;
            assert!(instructions > timer_cost, "the timer itself must complete: {timer_cost} of {cost}");
            let canister = after_messages(start, k);
            let before = status(&canister);
            let trapped = with_message_limit(&canister, instructions, |canister| canister.pic.tick());
            assert_eq!(trapped.len(), 1, "message {k}, part {part}: {trapped:?}");
            assert_eq!(status(&canister), before, "message {k}, part {part}");
            let after = settle_migration(&canister);
            assert_eq!(after.phase, MigrationPhase::Converted, "message {k}, part {part}: {}", after.note);
            assert_eq!(S::dump(&canister), expected, "message {k}, part {part}");
        }
        // If the message of the timer itself traps, the IC has no timer until an update checks the timers.
        for part in 1..PARTS {
            let canister = after_messages(start, k);
            let before = status(&canister);
            let trapped =
                with_message_limit(&canister, timer_cost * part / PARTS, |canister| canister.pic.tick());
            assert_eq!(trapped.first().map(|message| &*message.entry), Some("global_timer"), "{trapped:?}");
            assert_eq!(status(&canister), before, "message {k}, part {part} of the timer");
            canister.pic.advance_time(Duration::from_secs(301));
            canister.pic.tick();
            assert_eq!(
                status(&canister),
                before,
                "message {k}, part {part} of the timer: nothing runs without a timer"
            );
            let refused: upload_canister::api::Result<()> =
                canister.update(owner(), "uploads_abort", (0_u64,));
            refused.unwrap_err();
            let after = settle_migration(&canister);
            assert_eq!(after.phase, MigrationPhase::Converted, "part {part} of the timer: {}", after.note);
            assert_eq!(S::dump(&canister), expected, "message {k}, part {part} of the timer");
        }
    }
}

/// If the server is embedded, resumes a paused migration whose next message traps. Checks that the resume is accepted,
/// and that the migration ends as if nothing had happened.
pub fn assert_control_accepted_before_trap<S: Start>(start: S) {
    if !is_embedded() {
        return;
    }
    let expected = dump_uninterrupted(start);
    let all = executed(&after_messages(start, 0), |canister| canister.pic.tick());
    let cost = all.iter().map(|message| message.instructions).max().unwrap();
    let canister = after_messages(start, 0);
    control(&canister, "migration_pause");
    let trapped = with_message_limit(&canister, cost / 2, |canister| {
        control(canister, "migration_resume");
        canister.pic.tick();
    });
    assert_eq!(trapped.len(), 1, "{trapped:?}");
    let resumed = status(&canister).phase;
    assert!(matches!(resumed, MigrationPhase::Validating | MigrationPhase::Converting), "{resumed:?}");
    let after = settle_migration(&canister);
    assert_eq!(after.phase, MigrationPhase::Converted, "{}", after.note);
    assert_eq!(S::dump(&canister), expected);
}

/// If the server is embedded, makes the upgrade that starts the migration trap at several points of `post_upgrade`.
/// Checks that the old build continues, and that after another upgrade the migration ends as if nothing had happened.
pub fn assert_same_when_upgrade_traps<S: Start>(start: S) {
    if !is_embedded() {
        return;
    }
    let expected = dump_uninterrupted(start);
    let upgrade = |canister: &InstalledCanister| drop(canister.try_upgrade(S::BUILD));
    let all = executed(&start.canister(), upgrade);
    let cost = all
        .iter()
        .find(|message| message.entry == "post_upgrade")
        .expect("the upgrade has a post_upgrade message")
        .instructions;
    for part in 1..PARTS {
        let mut canister = start.canister();
        let before = canister.pic.get_stable_memory(canister.id);
        let trapped = with_message_limit(&canister, cost * part / PARTS, upgrade);
        assert_eq!(trapped.len(), 1, "part {part}: {trapped:?}");
        let info = canister.raw_query(owner(), "build_info", ()).unwrap();
        let info: BuildInfo = candid::decode_one(&info).unwrap();
        assert_eq!(info.build, canister.build.name(), "part {part}: the old build still runs");
        assert!(
            canister.pic.get_stable_memory(canister.id) == before,
            "part {part}: stable memory is unchanged"
        );
        canister.try_upgrade(S::BUILD).unwrap();
        canister.build = S::BUILD;
        assert_eq!(settle_migration(&canister).phase, MigrationPhase::Converted);
        assert_eq!(S::dump(&canister), expected, "part {part}");
    }
}
