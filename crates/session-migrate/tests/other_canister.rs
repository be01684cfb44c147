//! `rehearse --canister` with canisters other than the upload canister: the example `examples/ledger-split`, a new
//! release of it that loses data, and small generated modules.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ic_stable_migrate::api::EndpointError;
use ic_stable_migrate::{Layout, MigrationState, Phase};
use pocket_ic_fixtures::{ledger_split, ledger_split_changed};
use session_migrate::rehearse::Report;

struct CommandOutput {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn rehearse(folder: &Path, old: &Path, new: &Path, more: &[&str]) -> CommandOutput {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_session-migrate"))
        .args(["rehearse", "--canister"])
        .args([old, new])
        .args(more)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    CommandOutput { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

fn example_calls() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ledger-split/calls.txt");
    path.display().to_string()
}

fn report(folder: &Path) -> Report {
    serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap()
}

#[test]
fn a_sound_release_passes_with_interruptions_and_a_rollback() {
    let [old, new] = ledger_split().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options =
        ["--calls", &example_calls(), "--interrupt", "upgrade", "--interrupt", "trap", "--rollback"];
    let reports = ["--json", "report.json", "--html", "report.html"];
    let printed = rehearse(folder.path(), &old, &new, &[&options[..], &reports].concat());
    assert_eq!(printed.code, Some(0), "{}{}", printed.stdout, printed.stderr);
    for line in ["upgrade to new: ok", "back to old: ok", "upgrade after the end: ok", "verdict: pass"] {
        assert!(printed.stdout.contains(line), "{line}: {}", printed.stdout);
    }
    let report = report(folder.path());
    let part = report.canister.as_ref().unwrap();
    let method = |name: &str| part.methods.iter().find(|method| method.name == name).unwrap();
    assert!(method("account").compared > 1_000 && method("account").differ == 0, "{part:?}");
    assert!(
        method("find").calls > 0 && method("find").compared == 0,
        "answers of `find` are not compared, since the old wasm lacks the method"
    );
    let upgrades = part.interruptions.iter().filter(|line| line.contains("upgraded again")).count();
    assert!(upgrades > 1, "{part:?}");
    let trapped = part.interruptions.iter().find(|line| line.contains("messages trapped")).unwrap();
    let (count, largest_message) =
        (leading_number(trapped), leading_number(trapped.split("of the ").nth(1).unwrap()));
    assert!(count >= 4 && largest_message > 1_000_000, "{trapped}");
    let phases: Vec<&str> = report.runs.iter().map(|run| run.phase.as_str()).collect();
    assert_eq!(phases, ["Converted", "RolledBack", "Converted"]);
    assert_eq!(report.runs[0].counts.source, 120);
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("Rehearsal of an upgrade") && page.contains("account"));
}

/// Returns the number that a text begins with.
fn leading_number(text: &str) -> u64 {
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Returns a release whose migration loses the last digit of each balance. The migration digests what it meant to
/// write, so that the migration's own counts and digests agree.
fn lossy_release() -> PathBuf {
    ledger_split_changed(
        "lossy",
        "migration.rs",
        &[
            (
                "accounts.put_split(who, &Account { name, balance, opened_at });",
                "accounts.put_split(who, &Account { name, balance: balance / 10 * 10, opened_at });",
            ),
            (
                "let back = accounts.get_split(who).ok().flatten().map(|account| OldAccount::from(account).encode());",
                "let back = Some(raw);",
            ),
        ],
    )
    .unwrap()
}

#[test]
fn a_lossy_release_fails_and_its_query_is_named() {
    let [old, _] = ledger_split().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let printed = rehearse(
        folder.path(),
        &old,
        &lossy_release(),
        &["--calls", &example_calls(), "--json", "report.json"],
    );
    assert_eq!(printed.code, Some(1), "{}{}", printed.stdout, printed.stderr);
    assert!(printed.stdout.contains("verdict: fail"), "{}", printed.stdout);
    let report = report(folder.path());
    let named =
        report.problems.iter().find(|problem| problem.contains(": account (line 7) answers")).unwrap();
    let balances =
        [" answers ( opt record { balance = 1_000 :", ", the old wasm ( opt record { balance = 1_001 :"];
    assert!(balances.iter().all(|part| named.contains(part)), "{named}");
    assert!(!report.problems.iter().any(|problem| problem.contains("digest")), "{:?}", report.problems);

    // For methods whose answers may differ, differences are no problem.
    let may_differ = ["--calls", &example_calls(), "--may-differ", "account", "--may-differ", "deposit"];
    let printed = rehearse(folder.path(), &old, &lossy_release(), &may_differ);
    assert_eq!(printed.code, Some(0), "{}{}", printed.stdout, printed.stderr);
    assert!(printed.stdout.contains("may differ"), "{}", printed.stdout);
}

#[test]
fn a_migration_too_short_to_trap_is_not_called_interrupted() {
    let [old, new] = ledger_split().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("calls.txt"), "[before]\n@a open (\"a\")\n").unwrap();
    let options = ["--calls", "calls.txt", "--interrupt", "trap", "--json", "report.json"];
    let printed = rehearse(folder.path(), &old, &new, &options);
    assert_eq!(printed.code, Some(0), "{}{}", printed.stdout, printed.stderr);
    assert!(printed.stderr.contains("note: not tested: interruptions"), "{}", printed.stderr);
    assert_eq!(report(folder.path()).canister.unwrap().interruptions, [] as [String; 0]);
}

/// Returns a canister with the functions in `more`. They can call `$reply`, which answers with bytes of its memory, and
/// `$advance`, which increments `$at`. At address 0 are the six bytes of a Candid reply without values.
fn module_with(more: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "ic0" "msg_reply" (func $end))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (import "ic0" "msg_arg_data_size" (func $size (result i32)))
            (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
            (memory 1)
            (global $at (mut i32) (i32.const 0))
            (func $reply (param i32 i32) (call $append (local.get 0) (local.get 1)) (call $end))
            (data (i32.const 0) "DIDL\00\00")
            (func $advance (global.set $at (i32.add (global.get $at) (i32.const 1))))
            {more})"#
    );
    wat::parse_str(text).unwrap()
}

/// Returns a release with two migrations, which are finalized one after the other; `step` completes the second.
fn chain_of_two() -> Vec<u8> {
    use Phase::{Converted, Converting, Finalized};
    let status = |(migration, phase)| {
        let state: MigrationState = MigrationState { phase, ..MigrationState::default() };
        let status = state.to_api(migration, Layout(migration + 1), 0);
        candid::encode_one(Ok::<_, EndpointError>(status)).unwrap()
    };
    // `$at` is the index of the current status.
    let all = [(1, Converted), (2, Converting), (2, Converted), (2, Finalized)].map(status);
    // All statuses have the same size, since only numbers of a fixed width differ.
    let size = all[0].len();
    let data: String = all.concat().iter().map(|byte| format!("\\{byte:02x}")).collect();
    module_with(&format!(
        r#"(data (i32.const 1024) "{data}")
            (func $status (call $reply
                (i32.add (i32.const 1024) (i32.mul (i32.const {size}) (global.get $at))) (i32.const {size})))
            (func (export "canister_query migration_status") (call $status))
            (func (export "canister_update migration_finalize") (call $advance) (call $status))
            (func (export "canister_update step")
                (if (i32.eq (global.get $at) (i32.const 1)) (then (call $advance)))
                (call $reply (i32.const 0) (i32.const 6)))"#
    ))
}

#[test]
fn a_chain_of_two_is_rehearsed_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let old =
        module_with(r#"(func (export "canister_update step") (call $reply (i32.const 0) (i32.const 6)))"#);
    for (name, bytes) in
        [("old.wasm", old.as_slice()), ("new.wasm", &chain_of_two()), ("calls.txt", b"[during]\nstep\n")]
    {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let options = ["--calls", "calls.txt", "--json", "report.json"];
    let printed = rehearse(folder.path(), Path::new("old.wasm"), Path::new("new.wasm"), &options);
    assert_eq!(printed.code, Some(0), "{}{}", printed.stdout, printed.stderr);
    let runs = report(folder.path()).runs;
    let runs: Vec<_> = runs.iter().map(|run| (run.migration, run.phase.as_str())).collect();
    assert_eq!(runs, [(1, "Converted"), (2, "Converted")]);
    assert!(printed.stdout.contains("upgrade after the end: ok"), "{}", printed.stdout);
}

#[test]
fn unsound_units_fail_a_rehearsal_without_finalize() {
    let note = "1 of 2 records are not sound, the first: 7";
    let state: MigrationState =
        MigrationState { phase: Phase::Converted, note: note.into(), ..MigrationState::default() };
    let status = candid::encode_one(Ok::<_, EndpointError>(state.to_api(1, Layout(2), 0))).unwrap();
    let data: String = status.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let new = module_with(&format!(
        r#"(data (i32.const 1024) "{data}")
            (func $status (call $reply (i32.const 1024) (i32.const {})))
            (func (export "canister_query migration_status") (call $status))
            (func (export "canister_update migration_verify") (call $status))
            (func (export "canister_update step") (call $reply (i32.const 0) (i32.const 6)))"#,
        status.len()
    ));
    let old =
        module_with(r#"(func (export "canister_update step") (call $reply (i32.const 0) (i32.const 6)))"#);
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in
        [("old.wasm", old.as_slice()), ("new.wasm", &new), ("calls.txt", b"[before]\nstep\n")]
    {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let options = ["--calls", "calls.txt", "--json", "report.json"];
    let printed = rehearse(folder.path(), Path::new("old.wasm"), Path::new("new.wasm"), &options);
    assert_eq!(printed.code, Some(1), "{}{}", printed.stdout, printed.stderr);
    let problems = report(folder.path()).problems;
    assert!(problems.len() == 1 && problems[0].contains(note), "{problems:?}");
}

/// An upgrade keeps the wasm memory only if the request asks for that. A module that declares enhanced orthogonal
/// persistence, as Motoko's modules do, is refused without the request.
#[test]
fn an_upgrade_keeps_the_memory_of_a_module_that_declares_so() {
    let folder = tempfile::tempdir().unwrap();
    let more = r#"(@custom "icp:private enhanced-orthogonal-persistence" "")
        (func (export "canister_update step")
            (i32.store8 (i32.const 6) (i32.add (i32.load8_u (i32.const 6)) (i32.const 1)))
            (call $reply (i32.const 0) (i32.const 6)))
        (func (export "canister_query steps") (call $reply (i32.const 6) (i32.const 1)))"#;
    std::fs::write(folder.path().join("counter.wasm"), module_with(more)).unwrap();
    std::fs::write(folder.path().join("calls.txt"), "[before]\n1..=3 step\nsteps\n[after]\nstep\n").unwrap();
    let counter = Path::new("counter.wasm");
    let options = ["--calls", "calls.txt", "--rollback"];
    let printed = rehearse(folder.path(), counter, counter, &options);
    assert_eq!(printed.code, Some(0), "{}{}", printed.stdout, printed.stderr);
    assert!(printed.stdout.contains("back to old: ok"), "{}", printed.stdout);

    // A release without the declaration would lose the memory. The IC refuses the upgrade, and so must the rehearsal.
    let forgetful = module_with(
        r#"(func (export "canister_update step") (call $reply (i32.const 0) (i32.const 6)))
        (func (export "canister_query steps") (call $reply (i32.const 6) (i32.const 1)))"#,
    );
    std::fs::write(folder.path().join("forgetful.wasm"), forgetful).unwrap();
    let printed = rehearse(folder.path(), counter, Path::new("forgetful.wasm"), &options);
    assert_eq!(printed.code, Some(1), "{}{}", printed.stdout, printed.stderr);
    assert!(printed.stdout.contains("upgrade to new: FAILED"), "{}", printed.stdout);
    assert!(printed.stderr.contains("Missing upgrade option"), "{}", printed.stderr);
}

/// Motoko's compiler writes the interface into private metadata, and the arguments of `init` into a section of their
/// own.
#[test]
fn an_interface_in_two_private_parts_is_read() {
    let folder = tempfile::tempdir().unwrap();
    // The canister traps unless its arguments have the types of the interface. If the rehearsal had not read the
    // interface, it would send numbers as int.
    let more = r#"(@custom "icp:private candid:service" "type T = record { nat8 }; service : { step : (T) -> () }")
        (@custom "icp:private candid:args" "(start : nat, T)")
        (func $check (param $at i32) (param $byte i32)
            (if (i32.ne (i32.load8_u (local.get $at)) (local.get $byte)) (then unreachable)))
        (func $read (call $copy (i32.const 8) (i32.const 0) (call $size)))
        ;; From address 8: DIDL, 1 type, record of 1 field, 0 : nat8, 2 arguments, nat, type 0, 7, 8
        (func (export "canister_init") (export "canister_post_upgrade") (call $read)
            (call $check (i32.const 18) (i32.const 0x7d)) (call $check (i32.const 21) (i32.const 8)))
        (func (export "canister_update step") (call $read)
            (call $check (i32.const 16) (i32.const 0x7b)) (call $reply (i32.const 0) (i32.const 6)))"#;
    std::fs::write(folder.path().join("class.wasm"), module_with(more)).unwrap();
    std::fs::write(folder.path().join("calls.txt"), "[before]\nstep (record { 5 })\n").unwrap();
    let options =
        ["--calls", "calls.txt", "--init-args", "(7, record { 8 })", "--upgrade-args", "(7, record { 8 })"];
    let printed = rehearse(folder.path(), Path::new("class.wasm"), Path::new("class.wasm"), &options);
    assert_eq!(printed.code, Some(0), "{}{}", printed.stdout, printed.stderr);
    assert!(!printed.stderr.contains("rejected"), "{}", printed.stderr);

    // Missing arguments are named: those of the installation before anything is tried; those of the upgrade once it has
    // failed, since an interface does not say what `post_upgrade` takes.
    for (given, code, error) in [
        (&options[..2], 2, "error: --init-args: init takes 2 arguments, got 0"),
        (&options[..4], 1, "(--upgrade-args: init takes 2 arguments, got 0)"),
    ] {
        let printed = rehearse(folder.path(), Path::new("class.wasm"), Path::new("class.wasm"), given);
        assert_eq!(printed.code, Some(code), "{}{}", printed.stdout, printed.stderr);
        assert!(printed.stderr.contains(error), "{}", printed.stderr);
    }
}

/// `post_upgrade` of a canister in Rust may take other arguments than `init`.
#[test]
fn an_upgrade_may_have_other_arguments_than_an_installation() {
    let folder = tempfile::tempdir().unwrap();
    let more = r#"(@custom "icp:public candid:service" "service : (nat) -> { step : () -> () }")
        (func (export "canister_post_upgrade")
            (call $copy (i32.const 8) (i32.const 0) (call $size))
            ;; From address 8: DIDL, no types, 1 argument, text
            (if (i32.ne (i32.load8_u (i32.const 14)) (i32.const 0x71)) (then unreachable)))
        (func (export "canister_update step") (call $reply (i32.const 0) (i32.const 6)))"#;
    std::fs::write(folder.path().join("texts.wasm"), module_with(more)).unwrap();
    std::fs::write(folder.path().join("calls.txt"), "[before]\nstep ()\n").unwrap();
    let texts = Path::new("texts.wasm");
    for (upgrade_args, code) in [(r#"("text")"#, 0), ("(true)", 1)] {
        let options = ["--calls", "calls.txt", "--init-args", "(7)", "--upgrade-args", upgrade_args];
        let printed = rehearse(folder.path(), texts, texts, &options);
        assert_eq!(printed.code, Some(code), "{upgrade_args}: {}{}", printed.stdout, printed.stderr);
        assert_eq!(printed.stderr.contains("(--upgrade-args: "), code == 1, "{}", printed.stderr);
    }
}

#[test]
fn a_rehearsal_that_compares_no_answer_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let step = r#"(func (export "canister_update step") (call $reply (i32.const 0) (i32.const 6)))"#;
    std::fs::write(folder.path().join("step.wasm"), module_with(step)).unwrap();
    std::fs::write(folder.path().join("calls.txt"), "[before]\nstep ()\n").unwrap();
    let (wasm, options) = (Path::new("step.wasm"), ["--calls", "calls.txt", "--may-differ", "step"]);
    for (options, compares) in [(&options[..2], true), (&options[..], false)] {
        let printed = rehearse(folder.path(), wasm, wasm, options);
        assert_eq!(printed.code, Some(0), "{}{}", printed.stdout, printed.stderr);
        let is_noted =
            [&printed.stdout, &printed.stderr].iter().any(|text| text.contains("not tested: answers"));
        assert_ne!(is_noted, compares, "{}{}", printed.stdout, printed.stderr);
    }
}

#[test]
fn a_refused_upgrade_has_no_instructions() {
    let folder = tempfile::tempdir().unwrap();
    let step = r#"(func (export "canister_update step") (call $reply (i32.const 0) (i32.const 6)))"#;
    // The refused module imports a function that the IC does not have.
    let import_at = module_with(step).windows(9).position(|bytes| bytes == b"msg_reply").unwrap();
    let mut refused = module_with(step);
    refused[import_at..import_at + 9].copy_from_slice(b"msg_other");
    for (name, bytes) in
        [("old.wasm", module_with(step)), ("new.wasm", refused), ("calls.txt", b"[before]\nstep\n".into())]
    {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let (old, new) = (Path::new("old.wasm"), Path::new("new.wasm"));
    let printed = rehearse(folder.path(), old, new, &["--calls", "calls.txt"]);
    assert_eq!(printed.code, Some(1), "{}{}", printed.stdout, printed.stderr);
    // The report must not show the instructions of the earlier installation for the refused upgrade.
    assert!(printed.stdout.contains("upgrade to new: FAILED\n"), "{}", printed.stdout);
}

#[test]
fn without_endpoints_it_says_what_was_not_tested() {
    let [old, _] = ledger_split().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let calls = folder.path().join("calls.txt");
    std::fs::write(
        &calls,
        "[before]\n@a open (\"a\")\naccount (principal \"@a\")\n[during]\n@a deposit (1)\n",
    )
    .unwrap();
    let printed = rehearse(folder.path(), &old, &old, &["--calls", "calls.txt", "--rollback"]);
    assert_eq!(printed.code, Some(0), "{}{}", printed.stdout, printed.stderr);
    for endpoint in ["migration_status", "migration_rollback", "migration_finalize"] {
        let line = format!("note: not tested, as there is no {endpoint}: ");
        assert!(printed.stderr.contains(&line), "{}", printed.stderr);
    }
    assert!(printed.stdout.contains("back to old: ok"), "{}", printed.stdout);
}

#[test]
fn unusable_inputs_are_refused_with_one_line() {
    let [old, new] = ledger_split().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("text.wasm", b"hello");
    write("bare.wasm", b"\0asm\x01\0\0\0");
    write("good.txt", b"[before]\n@a open (\"a\")\n");
    let refused = |old: &Path, new: &Path, more: &[&str], parts: &[&str]| {
        let printed = rehearse(folder.path(), old, new, &[more, &["--json", "report.json"]].concat());
        assert_eq!((printed.code, printed.stdout.as_str()), (Some(2), ""), "{more:?}: {}", printed.stderr);
        let lines = printed.stderr.lines().filter(|line| !line.starts_with("PocketIC server: "));
        let [line] = lines.collect::<Vec<_>>()[..] else { panic!("{more:?}: {}", printed.stderr) };
        assert!(line.starts_with("error: "), "{line}");
        parts.iter().for_each(|part| assert!(line.contains(part), "{part}: {line}"));
        assert!(!folder.path().join("report.json").exists());
    };
    let good = ["--calls", "good.txt"];
    refused(Path::new("absent.wasm"), &new, &good, &["absent.wasm", "cannot read"]);
    refused(&old, Path::new("text.wasm"), &good, &["text.wasm", "not a wasm module"]);
    refused(Path::new("bare.wasm"), &new, &good, &["bare.wasm", "not a canister"]);
    refused(&old, &new, &["--calls", "absent.txt"], &["absent.txt", "cannot read"]);
    let more = |option: &'static str, value: &'static str| [&good[..], &[option, value]].concat();
    refused(&old, &new, &more("--may-differ", "close"), &["--may-differ close", "no call"]);
    refused(&old, &new, &more("--init-args", "(1"), &["--init-args", "not Candid arguments"]);
    for (text, parts) in [
        ("[before]\n@a close ()", &["line 2", "neither", "a method `close`"][..]),
        ("[before]\n@a open (5)", &["line 2", "open", "type mismatch"]),
        ("[before]\n@a open ()", &["line 2", "open takes 1 arguments, got 0"]),
        ("[before]\n@a open (\"a", &["line 2", "not Candid arguments"]),
        ("[before]\nfind (\"a\")", &["line 2", "has no method `find`", "[before]"]),
        ("[after]\nmigration_status ()", &["line 2", "the rehearsal itself"]),
        ("open (\"a\")", &["line 1", "before the first section"]),
    ] {
        write("bad.txt", text.as_bytes());
        refused(&old, &new, &["--calls", "bad.txt"], &[&["bad.txt"], parts].concat());
    }
}

/// The wasms contain their schemas. A forbidden change of a schema is reported with the name of the memory.
#[test]
fn check_compares_schemas_that_the_wasms_of_the_example_carry() {
    let [old, new] = ledger_split().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let check = |old: &Path, new: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_session-migrate"))
            .arg("check")
            .args([old, new])
            .current_dir(folder.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, printed) = check(&old, &new);
    assert_eq!(code, Some(0), "{printed}");
    for line in [
        "upgrade, old to new: pass",
        "  memory 0, ACCOUNTS: needs migration 1",
        "  interface: compatible",
        "rollback, new to old: fail",
        "    conditional: layout 2 is refused: first roll back migration 1 on the new build",
    ] {
        assert!(printed.lines().any(|found| found == line), "{line}:\n{printed}");
    }
    for (wasm, release, memories) in [(&old, "old", 1), (&new, "new", 8)] {
        let checked_in = repository_root().join(format!("examples/ledger-split/schemas/{release}.json"));
        let (code, printed) = check(wasm, &checked_in);
        assert_eq!(code, Some(0), "{printed}");
        assert!(printed.contains(&format!("\n  {memories} other memories: unchanged\n")), "{printed}");
    }

    let schema =
        std::fs::read_to_string(repository_root().join("examples/ledger-split/schemas/new.json")).unwrap();
    let wrong = schema.replacen("\"uint\": 64", "\"uint\": 32", 1);
    std::fs::write(folder.path().join("wrong.json"), wrong).unwrap();
    let (code, printed) = check(&new, Path::new("wrong.json"));
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains("  memory 0, ACCOUNTS: forbidden\n") && printed.contains("a u64 where u32 is read"),
        "{printed}"
    );
}

fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the code blocks of this language in a guide, each with the line before it.
fn code_blocks(guide: &str, language: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut parts = guide.split("```");
    while let (Some(text), Some(block)) = (parts.next(), parts.next()) {
        let before = text.trim_end().lines().next_back().unwrap_or_default().to_owned();
        if let Some(code) = block.strip_prefix(&format!("{language}\n")) {
            blocks.push((before, code.to_owned()));
        }
    }
    blocks
}

/// The example is compiled and tested, and all code that the guide shows must be a part of it.
#[test]
fn code_in_the_guide_is_that_of_the_example() {
    let guide = std::fs::read_to_string(repository_root().join("docs/your-own-migration.md")).unwrap();
    let blocks = code_blocks(&guide, "rust");
    assert!(blocks.len() >= 6, "{} blocks", blocks.len());
    for (before, code) in blocks {
        let path = before.strip_prefix("<!-- ").and_then(|text| text.strip_suffix(" -->"));
        let path = path.unwrap_or_else(|| panic!("no `<!-- file -->` before\n{code}"));
        let source = std::fs::read_to_string(repository_root().join(path)).unwrap();
        assert!(source.contains(&code), "not in {path}:\n{code}");
    }
}

#[test]
fn commands_in_the_guides_pass_on_the_example() {
    let [old, new] = ledger_split().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [(old, "old.wasm"), (new, "new.wasm"), (PathBuf::from(example_calls()), "calls.txt")] {
        std::fs::copy(from, folder.path().join(to)).unwrap();
    }
    let guides = ["docs/your-own-migration.md", "docs/rehearse-canister.md"];
    let read = |guide: &str| std::fs::read_to_string(repository_root().join(guide)).unwrap();
    let commands: Vec<String> = guides
        .iter()
        .flat_map(|guide| code_blocks(&read(guide), "sh"))
        .flat_map(|(_, code)| code.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(commands.len() >= 3, "{commands:?}");
    for command in commands {
        let args = command.strip_prefix("cargo migrate ").unwrap_or_else(|| panic!("not run: {command}"));
        let output = Command::new(env!("CARGO_BIN_EXE_session-migrate"))
            .args(args.split(' '))
            .current_dir(folder.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {stderr}");
    }
}
