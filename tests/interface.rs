//! The Candid interfaces: each build has the interface that is checked in, a client of one build can use the next, and
//! functions of the first public release keep their names.

use crate::support::did;
use candid_parser::utils::{CandidSource, service_compatible};
use session_migrate::Verdict;
use session_migrate::build::Build;
use session_migrate::check;

#[test]
fn the_checked_in_interface_is_that_of_the_built_wasm() {
    for build in Build::ALL {
        let artifact = crate::support::artifact(build);
        let built = std::fs::read_to_string(&artifact.did).unwrap();
        let checked_in = std::fs::read_to_string(did::path(build)).unwrap();
        let first_difference =
            built.lines().zip(checked_in.lines()).find(|(built, checked_in)| built != checked_in);
        assert_eq!(
            first_difference, None,
            "candid/{build}.did: `session-migrate build --update-did` writes it"
        );
        assert!(artifact.did_is_checked_in, "{build}");
    }
}

#[test]
fn each_build_serves_the_clients_of_the_one_before() {
    for pair in Build::ALL.windows(2) {
        let (old, new) = (did::path(pair[0]), did::path(pair[1]));
        let compatible = service_compatible(CandidSource::File(&new), CandidSource::File(&old));
        compatible.unwrap_or_else(|error| panic!("{} after {}: {error}", pair[1], pair[0]));
    }
}

/// Each upgrade, from legacy to staged to direct, is safe according to the schemas of stable memory in the wasms
/// themselves.
#[test]
fn each_build_reads_what_the_one_before_has_stored() {
    let artifacts = Build::ALL.map(crate::support::artifact);
    for pair in artifacts.windows(2) {
        let report = check::run(&pair[0].wasm_gz, &pair[1].wasm_gz).unwrap();
        assert_eq!(report.upgrade, Verdict::Pass, "{:#?}", report.schemas.upgrade);
        let interfaces = report.interfaces.expect("both wasms have an interface");
        assert_eq!(interfaces.upgrade, [], "front ends of {} decode {}", pair[0].build, pair[1].build);
    }
}

/// Settings that were added later are optional, so that a client of the interface without them can still change
/// settings.
#[test]
fn newer_settings_may_be_omitted() {
    for build in Build::ALL {
        let text = std::fs::read_to_string(did::path(build)).unwrap();
        let mut older = text.clone();
        for line in [
            "  max_capsules_per_caller : opt nat64;\n",
            "  max_memories_per_capsule : opt nat64;\n",
            "  max_promised_percent : opt nat8;\n",
            "  max_session_age_seconds : opt nat64;\n",
            "  capsule_makers : opt CapsuleMakers;\n",
        ] {
            let at = older.find(line).unwrap_or_else(|| panic!("{line} in {build}"));
            older.replace_range(at..at + line.len(), "");
        }
        // The second argument, with which a controller forces settings that close the service, is optional, too.
        older = older.replace("(AdminConfig, opt bool)", "(AdminConfig)");
        let compatible = service_compatible(CandidSource::Text(&text), CandidSource::Text(&older));
        compatible.unwrap_or_else(|error| panic!("{build}: {error}"));
    }
}

#[test]
fn all_builds_have_the_same_functions() {
    for build in Build::ALL {
        assert_eq!(did::names(build), did::names(Build::Legacy), "{build}");
    }
}

/// An incompatible interface must not pass for a compatible one.
#[test]
fn the_comparison_finds_what_breaks_a_client() {
    let text = std::fs::read_to_string(did::path(Build::Legacy)).unwrap();
    for (was, is) in [
        ("  uploads_abort : (nat64) ->", "  uploads_abandon : (nat64) ->"),
        ("  uploads_abort : (nat64) ->", "  uploads_abort : (nat32) ->"),
        ("  received : vec ChunkRange;\n", ""),
    ] {
        let changed = text.replace(was, is);
        assert_ne!(changed, text, "{was}");
        let compatible = service_compatible(CandidSource::Text(&changed), CandidSource::Text(&text));
        assert!(compatible.is_err(), "{is} passes for {was}");
    }
}

/// Functions of the first public release that are kept, with their arguments; any further arguments must be optional.
const KEPT: &[(&str, &str)] = &[
    ("upload_config", ""),
    ("uploads_begin", "text, AssetMetadata, nat32, text"),
    ("uploads_put_chunk", "nat64, nat32, blob"),
    ("uploads_finish", "nat64, blob, nat64"),
    ("uploads_abort", "nat64"),
    ("blob_get_meta", "text"),
    ("blob_read_chunk", "text, nat32"),
    ("capsules_create", "opt PersonRef"),
    (
        "memories_create",
        "text, opt blob, opt BlobRef, opt StorageBackend, opt text, opt text, opt nat64, opt blob, AssetMetadata, text",
    ),
    ("memories_list", "text"),
    ("memories_read", "text"),
    ("memories_delete", "text"),
];

#[test]
fn functions_of_the_first_release_keep_name_and_arguments() {
    for build in Build::ALL {
        let (_, functions) = did::functions(build);
        for (name, expected) in KEPT {
            let (_, function) = functions.iter().find(|(found, _)| found == name).expect(name);
            let expected: Vec<&str> = expected.split(", ").filter(|expected| !expected.is_empty()).collect();
            let args: Vec<String> = function.args.iter().map(|arg| arg.to_string()).collect();
            assert!(args.len() >= expected.len(), "{name} {args:?}");
            let (first, added) = args.split_at(expected.len());
            assert_eq!(first, expected, "{name} in {build}");
            assert!(added.iter().all(|arg| arg.starts_with("opt ")), "{name} {added:?} in {build}");
        }
    }
}
