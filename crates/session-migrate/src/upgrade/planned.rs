//! Lists the calls that an upgrade would make.

use serde::Serialize;

use super::{OnFailure, Plan};
use crate::build::Build;

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
    let mut calls = CallList(Vec::new());
    let id = plan.canister;
    let management_call =
        |method: &str, args: &str| format!("aaaaa-aa {method} (record {{ canister_id = {id}{args} }})");
    let canister_call = |method: &str| format!("{id} {method}");
    let module_hash_path = format!("/canister/{id}/module_hash, last_install_timestamp");
    calls.add("read", &module_hash_path, "preflight: the module that runs");
    calls.add(
        "update",
        &management_call("canister_status", ""),
        "preflight: controllers, running, cycles, version",
    );
    for name in ["build", "candid:service", "stable:schema"] {
        let purpose = "preflight: the build, its interface, what it keeps in stable memory";
        calls.add("read", &format!("/canister/{id}/metadata/{name}"), purpose);
    }
    calls.add("update", &canister_call("migration_status ()"), "preflight: the phase of the migration");
    calls.add("update", &canister_call("admin_config_get ()"), "preflight: the compat share");
    calls.add("update", &management_call("list_canister_snapshots", ""), "preflight: room for a snapshot");
    calls.add("update", &canister_call("admin_stats ()"), "what was written before the snapshot");
    let replace = plan
        .replace_snapshot
        .as_ref()
        .map_or(String::new(), |replaced| format!("; replace_snapshot = {replaced}"));
    calls.add(
        "update",
        &management_call("take_canister_snapshot", &replace),
        "the snapshot; the canister keeps running",
    );
    if plan.rehearse {
        for method in ["read_canister_snapshot_metadata", "read_canister_snapshot_data"] {
            calls.add("update", &management_call(method, "; …"), "download for the rehearsal, in slices");
        }
    }
    calls.add("read", &module_hash_path, "nobody has installed anything since the preflight");
    calls.add("update", &management_call("canister_status", ""), "the caller is still a controller");
    if plan.stop {
        calls.add("update", &management_call("stop_canister", ""), "--stop");
    }
    let install = format!("; mode = upgrade; wasm_module = {}", plan.module_hash);
    calls.add("update", &management_call("install_code", &install), &format!("the {} build", plan.to));
    if plan.stop {
        calls.add("update", &management_call("start_canister", ""), "--stop; also if the install is refused");
    }
    calls.add("read", &module_hash_path, "the new module is certified");
    calls.add("update", &canister_call("build_info ()"), "the new build answers");
    calls.add("query", &canister_call("build_info ()"), "three answers in a row");
    let purpose = "every second until Converted; if the build stays the same, until at rest";
    calls.add("update", &canister_call("migration_status ()"), purpose);
    calls.add_if(
        "update",
        &canister_call("migration_verify ()"),
        "everything is checked again",
        BUILD_CHANGES,
    );
    calls.add_if(
        "update",
        &canister_call("migration_status ()"),
        "every second until Converted",
        BUILD_CHANGES,
    );
    calls.add("read", &module_hash_path, "the new module is still certified");
    if plan.on_failure != OnFailure::Hold {
        let when = "the upgrade has failed after the install";
        if plan.to == Build::Staged {
            let when_from_legacy =
                "the upgrade has failed after the install, and the previous build is legacy";
            calls.add_if(
                "update",
                &canister_call("migration_rollback ()"),
                "later writes are kept",
                when_from_legacy,
            );
            calls.add_if(
                "update",
                &canister_call("migration_status ()"),
                "every second until RolledBack",
                when_from_legacy,
            );
        }
        calls.add_if(
            "update",
            &management_call("read_canister_snapshot_data", "; …"),
            "the previous module",
            when,
        );
        let previous_module = "; mode = upgrade; wasm_module = the one from before";
        calls.add_if(
            "update",
            &management_call("install_code", previous_module),
            "the previous module",
            when,
        );
        calls.add_if("read", &module_hash_path, "the previous module is certified", when);
    }
    if plan.on_failure == OnFailure::Restore {
        let when = "the rollback has failed, too";
        calls.add_if("update", &canister_call("admin_stats ()"), "how much the restore loses", when);
        calls.add_if(
            "update",
            &management_call("load_canister_snapshot", "; snapshot_id"),
            "the restore",
            when,
        );
        calls.add_if("read", &module_hash_path, "the previous module is certified", when);
    }
    if plan.drop_snapshot {
        calls.add("update", &management_call("delete_canister_snapshot", "; snapshot_id"), "--drop-snapshot");
    }
    calls.0
}

struct CallList(Vec<PlannedCall>);

impl CallList {
    fn add(&mut self, kind: &'static str, call: &str, purpose: &str) {
        self.add_if(kind, call, purpose, "");
    }

    fn add_if(&mut self, kind: &'static str, call: &str, purpose: &str, when: &str) {
        let (call, purpose, when) = (call.to_owned(), purpose.to_owned(), when.to_owned());
        self.0.push(PlannedCall { kind, call, purpose, when });
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
