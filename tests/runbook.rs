//! Runs every command of `docs/runbook.md`, exactly as it is written there, in order.

use crate::support::upload::two_chunks;
use crate::support::{InstalledCanister, controller, owner};
use candid::{IDLArgs, Principal};
use session_migrate::build::Build;
use upload_canister::api::{DryRun, MigrationPhase, MigrationStatus, Result, SessionPath};

/// Returns the calls in the code blocks of the runbook: name and arguments as text.
fn commands() -> Vec<(String, String)> {
    let runbook = include_str!("../docs/runbook.md");
    let mut commands = Vec::new();
    for block in runbook.split("```text\n").skip(1) {
        let lines = block.split("```").next().unwrap().lines();
        commands.extend(lines.map(|line| {
            let (name, arguments) =
                line.split_once(' ').unwrap_or_else(|| panic!("the line is not a call: {line}"));
            (name.to_owned(), arguments.to_owned())
        }));
    }
    commands
}

/// Makes a call of the runbook as the controller; returns the raw reply.
fn call(canister: &InstalledCanister, name: &str, arguments: &str) -> Vec<u8> {
    let (_, functions) = crate::support::did::functions(canister.build);
    let (_, function) = functions
        .iter()
        .find(|(known, _)| known == name)
        .unwrap_or_else(|| panic!("{name} is not in the interface"));
    let arguments = candid_parser::parse_idl_args(arguments).unwrap();
    assert_eq!(arguments.args.len(), function.args.len(), "{name}: icp requires every argument");
    let bytes = arguments.to_bytes().unwrap();
    let reply = match function.is_query() {
        true => canister.query_bytes(controller(), name, bytes),
        false => canister.update_bytes(controller(), name, bytes),
    };
    reply.unwrap_or_else(|reject| panic!("{name}: {reject}"))
}

fn status(canister: &InstalledCanister) -> MigrationStatus {
    canister.query::<MigrationStatus>(Principal::anonymous(), "migration_status", ()).unwrap()
}

/// Returns whether the runbook must have a command for a function. Other functions of controllers, such as
/// `admin_stats` and `admin_config_get`, are called by programs, too.
fn is_for_operators(name: &str) -> bool {
    ["migration_", "admin_canary", "admin_errors"].iter().any(|prefix| name.starts_with(prefix))
}

/// Returns the reply as text if it is an `Err`, whatever its error is; `None` if the call was not refused.
fn refusal(reply: &[u8]) -> Option<String> {
    let text = IDLArgs::from_bytes(reply).unwrap().to_string();
    // Without the interface, `Err` has no name in the text, only its hash.
    text.contains("3_456_837").then_some(text)
}

#[test]
fn every_command_does_what_the_runbook_says() {
    let mut canister = InstalledCanister::new(Build::Legacy);
    let capsule = canister.create_capsule();
    let file = two_chunks(1);
    let session = canister.begin(owner(), &capsule, &file, "a").unwrap();
    canister.put(owner(), session, 0, &file).unwrap();

    // The canary's commands run on a second canister, on which both paths are in use.
    let canary_canister = InstalledCanister::new(Build::Staged);
    canary_canister.configure(|config| config.compat_share_percent = 50);

    let mut executed = Vec::new();
    for (name, arguments) in commands() {
        if name.starts_with("admin_canary") {
            let reply = call(&canary_canister, &name, &arguments);
            assert_eq!(refusal(&reply), None, "{name}");
            executed.push(name);
            continue;
        }
        // Bring the canister into the state that the runbook describes for the command.
        match name.as_str() {
            "migration_dry_run" => {
                canister.upgrade(Build::Staged);
                let begun = canister.begin(owner(), &capsule, &file, "b").unwrap();
                assert_eq!(canister.status(owner(), begun).unwrap().path, SessionPath::Compat);
            }
            "migration_verify" => canister.upgrade(Build::Direct),
            _ => {}
        }
        let reply = call(&canister, &name, &arguments);
        let refused = refusal(&reply);
        // The engine runs in the message after a control.
        canister.pic.tick();
        let now = status(&canister);
        match name.as_str() {
            "migration_dry_run" => {
                let page: Result<DryRun> = candid::decode_one(&reply).unwrap();
                let page = page.unwrap();
                assert_eq!((page.units, page.next), (2, None), "{page:?}");
                assert!(page.estimated_instructions > page.instructions && page.estimated_messages > 0);
                assert_eq!((now.converted, now.layout), (0, 1), "a dry run converts nothing");
            }
            "migration_pause" if canister.build == Build::Legacy => {
                assert_eq!((refused, now.phase), (None, MigrationPhase::Paused));
            }
            "migration_resume" if !executed.contains(&name) => {
                assert_eq!((refused, now.phase), (None, MigrationPhase::Converted));
                assert_eq!((now.source, now.converted), (2, 2));
            }
            "migration_pause" | "migration_resume" if now.phase == MigrationPhase::Converted => {
                assert!(refused.is_some(), "there is nothing to {name} when everything is converted");
            }
            "migration_rollback" => {
                assert_eq!((now.phase, now.layout), (MigrationPhase::RolledBack, 1));
                canister.upgrade(Build::Legacy);
                canister.put(owner(), session, 1, &file).unwrap();
                canister.upgrade(Build::Staged);
            }
            "migration_finalize" => {
                assert_eq!(refused, None);
                // The direct build starts the second migration immediately.
                assert_eq!((now.migration, now.phase, now.layout), (2, MigrationPhase::Converted, 3));
                let refused = canister.try_upgrade(Build::Legacy).unwrap_err().reject_message;
                assert!(refused.contains("no rollback is possible"), "{refused}");
            }
            _ => assert_eq!(refused, None, "{name}"),
        }
        executed.push(name);
    }
    canister.finish(owner(), session, &file).unwrap();
    let (_, functions) = crate::support::did::functions(Build::Direct);
    for (name, _) in functions.iter().filter(|(name, _)| is_for_operators(name)) {
        assert!(executed.contains(name), "the runbook does not have {name}");
    }
}
