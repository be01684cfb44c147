//! Lists the calls that an upgrade would make.

use serde::Serialize;

use super::{OnFailure, Plan};
use crate::build::Build;

/// The condition of calls that every successful upgrade of the plan makes.
const ALWAYS: &str = "";

/// The condition of calls that are made only if the build changes, and not for another module of the same build.
const BUILD_CHANGES: &str = "the build changes";

/// A call that would be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedCall {
    /// `read`, `query` or `update`.
    pub kind: &'static str,
    /// The method, or the path that is read.
    pub call: String,
    /// What the call is for.
    pub purpose: String,
    /// The condition under which the call is made; empty if every successful upgrade of this plan makes the call.
    pub when: String,
}

/// Returns every call of an upgrade, in order; a call that is repeated until something happens is listed once.
pub fn planned_calls(plan: &Plan) -> Vec<PlannedCall> {
    let mut list = CallList { plan, calls: Vec::new() };
    list.add_preflight();
    list.add_snapshot();
    list.add_install();
    list.add_migration();
    if plan.on_failure != OnFailure::Hold {
        list.add_rollback();
    }
    if plan.on_failure == OnFailure::Restore {
        list.add_restore();
    }
    if plan.drop_snapshot {
        list.update_management("delete_canister_snapshot", "; snapshot_id", "--drop-snapshot", ALWAYS);
    }
    list.calls
}

/// The calls of a plan, as far as they are listed. Every function that adds calls adds them at the end.
struct CallList<'p> {
    plan: &'p Plan,
    calls: Vec<PlannedCall>,
}

impl CallList<'_> {
    fn add_preflight(&mut self) {
        self.read_module_hash("preflight: the module that runs", ALWAYS);
        let purpose = "preflight: controllers, running, cycles, version";
        self.update_management("canister_status", "", purpose, ALWAYS);
        for name in ["build", "candid:service", "stable:schema"] {
            let purpose = "preflight: the build, its interface, what it keeps in stable memory";
            let call = format!("/canister/{}/metadata/{name}", self.plan.canister);
            self.add("read", call, purpose, ALWAYS);
        }
        self.update("migration_status ()", "preflight: the phase of the migration", ALWAYS);
        self.update("admin_config_get ()", "preflight: the compat share", ALWAYS);
        self.update_management("list_canister_snapshots", "", "preflight: room for a snapshot", ALWAYS);
    }

    fn add_snapshot(&mut self) {
        self.update("admin_stats ()", "what was written before the snapshot", ALWAYS);
        let replaced = self.plan.replace_snapshot.as_ref();
        let replace = replaced.map_or(String::new(), |replaced| format!("; replace_snapshot = {replaced}"));
        let purpose = "the snapshot; the canister keeps running";
        self.update_management("take_canister_snapshot", &replace, purpose, ALWAYS);
        if self.plan.rehearse {
            for method in ["read_canister_snapshot_metadata", "read_canister_snapshot_data"] {
                self.update_management(method, "; …", "download for the rehearsal, in slices", ALWAYS);
            }
        }
    }

    fn add_install(&mut self) {
        self.read_module_hash("nobody has installed anything since the preflight", ALWAYS);
        self.update_management("canister_status", "", "the caller is still a controller", ALWAYS);
        if self.plan.stop {
            self.update_management("stop_canister", "", "--stop", ALWAYS);
        }
        let install = format!("; mode = upgrade; wasm_module = {}", self.plan.module_hash);
        self.update_management("install_code", &install, &format!("the {} build", self.plan.to), ALWAYS);
        if self.plan.stop {
            let purpose = "--stop; also if the install is refused";
            self.update_management("start_canister", "", purpose, ALWAYS);
        }
        self.read_module_hash("the new module is certified", ALWAYS);
        self.update("build_info ()", "the new build answers", ALWAYS);
        let call = format!("{} build_info ()", self.plan.canister);
        self.add("query", call, "three answers in a row", ALWAYS);
    }

    fn add_migration(&mut self) {
        let purpose = "every second until Converted; if the build stays the same, until at rest";
        self.update("migration_status ()", purpose, ALWAYS);
        self.update("migration_verify ()", "everything is checked again", BUILD_CHANGES);
        self.update("migration_status ()", "every second until Converted", BUILD_CHANGES);
        self.read_module_hash("the new module is still certified", ALWAYS);
    }

    fn add_rollback(&mut self) {
        if self.plan.to == Build::Staged {
            let when = "the upgrade has failed after the install, and the previous build is legacy";
            self.update("migration_rollback ()", "later writes are kept", when);
            self.update("migration_status ()", "every second until RolledBack", when);
        }
        let when = "the upgrade has failed after the install";
        self.update_management("read_canister_snapshot_data", "; …", "the previous module", when);
        let previous_module = "; mode = upgrade; wasm_module = the one from before";
        self.update_management("install_code", previous_module, "the previous module", when);
        self.read_module_hash("the previous module is certified", when);
    }

    fn add_restore(&mut self) {
        let when = "the rollback has failed, too";
        self.update("admin_stats ()", "how much the restore loses", when);
        self.update_management("load_canister_snapshot", "; snapshot_id", "the restore", when);
        self.read_module_hash("the previous module is certified", when);
    }

    fn read_module_hash(&mut self, purpose: &str, when: &str) {
        let call = format!("/canister/{}/module_hash, last_install_timestamp", self.plan.canister);
        self.add("read", call, purpose, when);
    }

    /// Adds an update of the canister itself.
    fn update(&mut self, call: &str, purpose: &str, when: &str) {
        self.add("update", format!("{} {call}", self.plan.canister), purpose, when);
    }

    /// Adds a call to the management canister about the canister; `args` follow its id.
    fn update_management(&mut self, method: &str, args: &str, purpose: &str, when: &str) {
        let call = format!("aaaaa-aa {method} (record {{ canister_id = {}{args} }})", self.plan.canister);
        self.add("update", call, purpose, when);
    }

    fn add(&mut self, kind: &'static str, call: String, purpose: &str, when: &str) {
        let (purpose, when) = (purpose.to_owned(), when.to_owned());
        self.calls.push(PlannedCall { kind, call, purpose, when });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_depend_on_the_previous_build_say_so() {
        let conditions = |to, method: &str| -> Vec<String> {
            let calls = planned_calls(&Plan::example(to)).into_iter();
            calls.filter(|call| call.call.contains(method)).map(|call| call.when).collect()
        };
        for to in [Build::Staged, Build::Direct] {
            assert_eq!(conditions(to, "migration_verify"), [BUILD_CHANGES]);
        }
        let rollback = conditions(Build::Staged, "migration_rollback");
        assert!(rollback.len() == 1 && rollback[0].ends_with("the previous build is legacy"), "{rollback:?}");
        assert!(conditions(Build::Direct, "migration_rollback").is_empty());
    }
}
