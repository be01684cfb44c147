//! The options and the output of `rehearse --canister`, the rehearsal with two wasms of another canister.

use std::path::PathBuf;

use clap::Args;
use session_migrate::rehearse::foreign::{ForeignOptions, MethodReport, MigrationInterruption};
use session_migrate::rehearse::{MigrationRun, Report};

use super::rehearse::{describe_counts, print_stages};
use super::table::table;

// A doc comment here would become the help text of the command.
#[derive(Debug, Args)]
pub(super) struct ForeignArgs {
    /// Rehearse the upgrade of another canister from the wasm OLD to the wasm NEW, with the calls of --calls. OLD is
    /// installed twice; one copy keeps it and gets the same calls, and both must answer alike. The migration is driven
    /// and checked through NEW's `migration_…` endpoints.
    #[arg(
        long,
        num_args = 2,
        value_names = ["OLD", "NEW"],
        requires = "calls",
        conflicts_with_all = ["snapshot", "files", "clients", "seed", "record", "legacy", "staged", "direct"]
    )]
    canister: Vec<PathBuf>,
    /// With --canister: file of calls to make before, during and after the migration; for its format see
    /// docs/rehearse-canister.md.
    #[arg(long, value_name = "FILE", requires = "canister")]
    calls: Option<PathBuf>,
    /// With --canister: Candid arguments for every installation of OLD, including the return to it with --rollback.
    #[arg(long, value_name = "ARGS", default_value = "()", requires = "canister")]
    init_args: String,
    /// With --canister: Candid arguments for every upgrade to NEW.
    #[arg(long, value_name = "ARGS", default_value = "()", requires = "canister")]
    upgrade_args: String,
    /// With --canister: a method whose answers may differ from those of OLD; may be repeated.
    #[arg(long, value_name = "METHOD", requires = "canister")]
    may_differ: Vec<String>,
    /// With --canister: interrupt the migration. `upgrade`: upgrade to NEW again during the migration; `trap`: lower
    /// the instruction limit so that its messages trap. May be given once for each.
    #[arg(long, value_name = "upgrade|trap", requires = "canister")]
    interrupt: Vec<MigrationInterruption>,
    /// With --canister: fail if more units than this are quarantined.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "canister")]
    max_quarantined: u64,
}

impl ForeignArgs {
    /// Returns the options of the rehearsal; `None` if `--canister` is not given.
    pub fn options(&self, rollback: bool) -> Option<ForeignOptions> {
        let ([old, new], Some(calls)) = (self.canister.as_slice(), &self.calls) else { return None };
        Some(ForeignOptions {
            old: old.clone(),
            new: new.clone(),
            calls: calls.clone(),
            init_args: self.init_args.clone(),
            upgrade_args: self.upgrade_args.clone(),
            may_differ: self.may_differ.iter().cloned().collect(),
            interruptions: self.interrupt.iter().copied().collect(),
            rollback,
            max_quarantined: self.max_quarantined,
        })
    }
}

pub(super) fn print(report: &Report) {
    let Some(rehearsed) = &report.canister else { return };
    let rows = rehearsed.methods.iter().map(|method| {
        let MethodReport { name, is_query, calls, compared, differ, may_differ } = method;
        let kind = if *is_query { "query" } else { "update" };
        let same = match (may_differ, compared, differ) {
            (true, ..) => "may differ".to_owned(),
            (false, 0, _) => "not in the old wasm".to_owned(),
            (false, _, 0) => "yes".to_owned(),
            (false, _, differ) => format!("NO, {differ} differ"),
        };
        [name.clone(), kind.to_owned(), calls.to_string(), compared.to_string(), same]
    });
    say!("{}", table(["method", "kind", "calls", "compared", "same as OLD"], rows, [2, 3]));
    print_stages(report);
    for MigrationRun { stage, migration, phase, counts } in &report.runs {
        if phase == "RolledBack" {
            say!("migration {migration} after {stage}: rolled back, {} instructions", counts.instructions);
            continue;
        }
        let described = describe_counts("units", counts);
        say!(
            "migration {migration} after {stage}: {described}; {phase}, {} instructions",
            counts.instructions
        );
    }
    for interruption in &rehearsed.interruptions {
        say!("interrupted: {interruption}");
    }
}
