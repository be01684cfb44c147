//! A message of the migration that traps in its middle, on real wasm, at every message and in several places of each: the
//! canister is as it was before it, and ends in the same state as if nothing had happened.

#[path = "support/mod.rs"]
mod support;

use session_migrate::build::Build;
use session_migrate::costs::{self, MessageCost};
use session_migrate::server::{self, ServerKind};
use support::conversion::{Start, after, dump, messages, settle, status, world};
use support::{World, owner};
use upload_canister::api::{BuildInfo, MigrationPhase};

/// Parts into which a message is cut; it traps behind each but the last.
const PARTS: u64 = 6;

fn is_embedded() -> bool {
    let embedded = server::chosen().unwrap().kind == ServerKind::Embedded;
    if !embedded {
        eprintln!("only the embedded server cuts a message off where a test wants it: nothing is shown");
    }
    embedded
}

/// What `act` has executed.
fn executed(world: &World, act: impl FnOnce(&World)) -> Vec<MessageCost> {
    let told = |from| costs::messages(&world.pic, world.id, from).unwrap();
    let from = told(0).last().map_or(0, |last| last.index + 1);
    act(world);
    told(from)
}

/// The same with every message cut off after `instructions`; those that were.
fn cut_off(world: &World, instructions: u64, act: impl FnOnce(&World)) -> Vec<MessageCost> {
    costs::cut_off_after(&world.pic, world.id, Some(instructions)).unwrap();
    let mut executed = executed(world, act);
    costs::cut_off_after(&world.pic, world.id, None).unwrap();
    executed.retain(|message| !message.ok);
    executed
}

fn trapped_everywhere(start: Start) {
    let undisturbed = after(start, 0);
    settle(&undisturbed);
    let expected = dump(&undisturbed);
    for k in 0..messages(start) {
        // The timers' library runs a timer in a call of the canister to itself.
        let all = executed(&after(start, k), |world| world.pic.tick());
        let dearest = |entry: &str| {
            let of_entry = all.iter().filter(|message| message.entry == entry);
            of_entry
                .map(|message| message.instructions)
                .max()
                .unwrap_or_else(|| panic!("no {entry}: {all:?}"))
        };
        let (cost, timer) = (dearest("update"), dearest("global_timer"));
        for part in 1..PARTS {
            let instructions = cost * part / PARTS;
            assert!(instructions > timer, "the timer itself must come through: {timer} of {cost}");
            let world = after(start, k);
            let before = status(&world);
            let cut = cut_off(&world, instructions, |world| world.pic.tick());
            assert_eq!(cut.len(), 1, "message {k}, part {part}: {cut:?}");
            assert_eq!(status(&world), before, "message {k}, part {part}");
            let after = settle(&world);
            assert_eq!(after.phase, MigrationPhase::Converted, "message {k}, part {part}: {}", after.note);
            assert_eq!(dump(&world), expected, "message {k}, part {part}");
        }
    }
}

#[test]
fn a_message_that_traps_while_records_are_counted_changes_nothing() {
    if is_embedded() {
        trapped_everywhere(Start::Untouched);
    }
}

#[test]
fn a_message_that_traps_while_records_are_converted_changes_nothing() {
    if is_embedded() {
        trapped_everywhere(Start::Counted);
    }
}

#[test]
fn an_upgrade_that_traps_leaves_the_old_build_at_work() {
    if !is_embedded() {
        return;
    }
    let undisturbed = after(Start::Untouched, 0);
    settle(&undisturbed);
    let expected = dump(&undisturbed);
    let upgrade = |world: &World| drop(world.try_upgrade(Build::Staged));
    let all = executed(&world(Start::Untouched), upgrade);
    let cost = all.iter().find(|message| message.entry == "post_upgrade").expect("it has one").instructions;
    for part in 1..PARTS {
        let mut world = world(Start::Untouched);
        let before = world.pic.get_stable_memory(world.id);
        let cut = cut_off(&world, cost * part / PARTS, upgrade);
        assert_eq!(cut.len(), 1, "part {part}: {cut:?}");
        let info = world.raw_query(owner(), "build_info", ()).unwrap();
        assert_eq!(candid::decode_one::<BuildInfo>(&info).unwrap().build, "legacy", "the old code goes on");
        assert!(world.pic.get_stable_memory(world.id) == before, "part {part}: stable memory is as it was");
        world.try_upgrade(Build::Staged).unwrap();
        world.build = Build::Staged;
        assert_eq!(settle(&world).phase, MigrationPhase::Converted);
        assert_eq!(dump(&world), expected, "part {part}");
    }
}
