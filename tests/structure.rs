//! The structure that ARCHITECTURE.md states: which module may depend on which, and the rules of the
//! documents.

#[path = "support/did.rs"]
#[allow(dead_code, reason = "the names are enough here")]
mod did;
#[path = "structure/imports.rs"]
mod imports;
#[path = "structure/names.rs"]
mod names;
#[path = "structure/old_faults.rs"]
mod old_faults;
#[path = "support/tree.rs"]
mod tree;
#[path = "structure/words.rs"]
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use session_migrate::build::Build;

/// Returns the Rust files below a folder, and the file next to the folder with its name, if there is one.
fn read_sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let root = tree::root().join(folder);
    let mut found = Vec::new();
    walk(&root, &mut found);
    let root_file = root.with_extension("rs");
    if root_file.exists() {
        found.push((root_file.clone(), fs::read_to_string(root_file).unwrap()));
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

/// Returns the Markdown documents in the root of the tree, in `docs`, `findings` and `clients/web`, and of each crate
/// and migration.
fn read_documents() -> Vec<(PathBuf, String)> {
    let folders = ["", "docs", "findings", "clients/web"].map(|folder| tree::root().join(folder)).into_iter();
    let parts = ["crates", "migrations"].into_iter().flat_map(|folder| {
        let entries = fs::read_dir(tree::root().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    });
    let files = folders.chain(parts).flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    let documents = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// Returns a path relative to the root of the tree.
fn relative_path(path: &Path) -> String {
    path.strip_prefix(tree::root()).unwrap().to_string_lossy().into_owned()
}

/// Returns the lines whose code contains one of `words`; comments are not searched.
fn lines_with(sources: &[(PathBuf, String)], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    found
}

/// Leaves out files of tests; tests at the end of other files stay.
fn without_tests(sources: Vec<(PathBuf, String)>) -> Vec<(PathBuf, String)> {
    let is_test = |path: &Path| {
        let below = path.strip_prefix(tree::root()).unwrap().with_extension("");
        below.iter().any(|part| part == "tests" || part == "proptests")
    };
    sources.into_iter().filter(|(path, _)| !is_test(path)).collect()
}

#[test]
fn the_session_layer_depends_on_the_standard_library_only() {
    let session = without_tests(read_sources("src/session"));
    let foreign = lines_with(
        &session,
        &["ic_cdk", "candid::", "minicbor", "serde", "sha2", "thiserror", "ic_stable", "crate::"],
    );
    assert_eq!(foreign, Vec::<String>::new());
}

#[test]
fn only_the_entry_points_depend_on_the_ic() {
    let all = without_tests(read_sources("src"));
    let outside: Vec<_> =
        all.into_iter().filter(|(path, _)| !path.to_string_lossy().contains("src/canister")).collect();
    assert_eq!(lines_with(&outside, &["ic_cdk", "ic0"]), Vec::<String>::new());
}

#[test]
fn the_engine_depends_on_no_canister() {
    let all = without_tests(read_sources("crates/ic-stable-migrate/src"));
    let words = ["upload_canister", "Session", "BlobId", "BlobRecord", "BlobStore"];
    assert_eq!(lines_with(&all, &words), Vec::<String>::new());
    let core: Vec<_> =
        all.into_iter().filter(|(path, _)| !path.to_string_lossy().contains("src/cdk")).collect();
    assert_eq!(lines_with(&core, &["ic_cdk", "ic0"]), Vec::<String>::new());
}

#[test]
fn a_migration_imports_no_type_of_the_layer_it_migrates_from() {
    let migrations = without_tests(read_sources("migrations"));
    assert_eq!(
        lines_with(&migrations, &["path::compat", "UploadSessionMeta", "SessionCompat"]),
        Vec::<String>::new()
    );
}

#[test]
fn features_are_chosen_in_one_place_of_the_upload_layer() {
    let upload = without_tests(read_sources("src/upload"));
    let elsewhere: Vec<_> =
        upload.into_iter().filter(|(path, _)| !path.ends_with("src/upload/path.rs")).collect();
    let mut chosen = lines_with(&elsewhere, &["feature ="]);
    // Tests that need both paths may name the features with which both are compiled.
    chosen.retain(|line| !line.contains("#[cfg(all(test, "));
    assert_eq!(chosen, Vec::<String>::new());
}

/// The settings, the metrics, the migration and the storage take facts about the build from `build_profile` only.
#[test]
fn build_facts_come_from_the_build_profile() {
    let all = without_tests(read_sources("src"));
    assert_eq!(
        lines_with(&all, &["FEATURES.contains"]),
        Vec::<String>::new(),
        "facts about the build are constants of `build_profile`"
    );
    let elsewhere: Vec<_> = all
        .into_iter()
        .filter(|(path, _)| !["build_profile.rs", "upload/path.rs"].iter().any(|file| path.ends_with(file)))
        .collect();
    assert_eq!(
        lines_with(&elsewhere, &["const BUILD", "const FEATURES", "const LAYOUTS"]),
        Vec::<String>::new()
    );
    let is_lower_layer = |(path, _): &(PathBuf, String)| {
        let path = path.to_string_lossy();
        ["config.rs", "metrics.rs", "migrate/", "src/storage.rs"].iter().any(|part| path.contains(part))
    };
    let lower: Vec<_> = elsewhere.into_iter().filter(is_lower_layer).collect();
    assert!(lower.len() > 5, "{lower:?}");
    assert_eq!(lines_with(&lower, &["upload::path"]), Vec::<String>::new());
}

#[test]
fn memories_are_opened_by_their_names_in_the_table_of_ids() {
    let all = without_tests(read_sources("src"));
    let elsewhere: Vec<_> =
        all.into_iter().filter(|(path, _)| !path.to_string_lossy().contains("src/stable")).collect();
    assert_eq!(lines_with(&elsewhere, &["MemoryId::new", "MemoryManager"]), Vec::<String>::new());
}

/// A function that `cache_candid_headers!` does not list works nevertheless, but each of its calls costs more.
#[test]
fn cache_candid_headers_lists_every_entry_point() {
    let mut seen = 0;
    for (path, text) in without_tests(read_sources("src")) {
        let text = text.as_str();
        let declared = text.split("#[apply(").skip(1).filter_map(|rest| {
            let (_, function) = rest.split_once("\nfn ")?;
            function.split('(').next()
        });
        let declared: BTreeSet<&str> = declared.collect();
        let lists = text.split("cache_candid_headers!(").skip(1).filter_map(|rest| rest.split(')').next());
        let listed: BTreeSet<&str> =
            lists.flat_map(|list| list.split(',').map(str::trim)).filter(|name| !name.is_empty()).collect();
        seen += declared.len();
        if !path.ends_with("entry.rs") {
            assert_eq!(declared, listed, "{}", path.display());
        }
    }
    // `uploads_put_chunk` is not declared in this way, since it reads its arguments itself.
    assert_eq!(seen + 1, did::names(Build::Direct).len());
}

/// Every test that `docs/upload-contract.md` and `docs/adopted-defects.md` name as `file::function` exists.
#[test]
fn every_test_that_a_table_names_exists() {
    let folders = ["src", "tests", "crates/session-migrate/tests"];
    let all: Vec<_> = folders.iter().flat_map(|folder| read_sources(folder)).collect();
    let exists = |test: &str| {
        let (file, function) = test.rsplit_once("::").unwrap();
        let (file, head) = (file.replace("::", "/"), format!("fn {function}("));
        all.iter().any(|(path, text)| path.to_string_lossy().contains(&file) && text.contains(&head))
    };
    for page in ["docs/upload-contract.md", "docs/adopted-defects.md"] {
        let text = fs::read_to_string(tree::root().join(page)).unwrap();
        let named: Vec<&str> =
            text.split('`').skip(1).step_by(2).filter(|code| code.contains("::")).collect();
        assert!(named.len() > 50, "{page}: only these tests were found: {named:?}");
        let missing: Vec<&str> = named.into_iter().filter(|test| !exists(test)).collect();
        assert_eq!(missing, Vec::<&str>::new(), "{page}");
    }
}

/// `docs/adopted-defects.md` names each of the forty tests of `tests/defects.rs`, and each row of the page's tables
/// names a test or a benchmark.
#[test]
fn the_page_of_adopted_defects_has_all_of_them() {
    let page = fs::read_to_string(tree::root().join("docs/adopted-defects.md")).unwrap();
    let tests = fs::read_to_string(tree::root().join("tests/defects.rs")).unwrap();
    let numbered = tests.lines().map(str::trim).filter(|line| {
        line.strip_prefix('d')
            .and_then(|line| line.get(..2))
            .is_some_and(|number| number.parse::<u8>().is_ok())
    });
    let named: Vec<&str> = numbered.collect();
    assert_eq!(named.len(), 40, "{named:?}");
    let missing: Vec<_> = named.iter().filter(|test| !page.contains(&format!("`defects::{test}`"))).collect();
    assert_eq!(missing, Vec::<&&str>::new());
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| tests |"));
    let untested: Vec<&str> =
        rows.filter(|row| !row.contains("::") && !row.contains("cargo bench-costs")).collect();
    assert_eq!(untested, Vec::<&str>::new());
}

/// A name that is a Candid keyword must be quoted in the interface, and ic-py takes the quotes as part of the name.
#[test]
fn no_new_name_of_the_interface_is_a_candid_keyword() {
    for build in Build::ALL {
        let did = fs::read_to_string(tree::root().join(format!("candid/{build}.did"))).unwrap();
        let quoted: BTreeSet<&str> =
            did.lines().filter_map(|line| line.trim_start().strip_prefix('"')?.split('"').next()).collect();
        assert_eq!(
            quoted,
            BTreeSet::from(["blob"]),
            "{build}: the only such name is that of the first public release"
        );
    }
}

#[test]
fn the_environment_is_on_one_page() {
    let page = fs::read_to_string(tree::root().join("docs/environment.md")).unwrap();
    let mut missing = BTreeSet::new();
    for (path, text) in ["src", "crates", "tests"].into_iter().flat_map(read_sources) {
        let reads = text.split("env::var").skip(1);
        let names =
            reads.filter_map(|read| read.trim_start_matches("_os").strip_prefix("(\"")?.split('"').next());
        // The name of a variable may also be in a constant.
        let constants = text
            .split('"')
            .filter(|text| text.starts_with("POCKET_IC_") && text.ends_with(char::is_alphabetic));
        let constants = constants.filter(|text| text.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        let unnamed = names.chain(constants).filter(|name| !page.contains(&format!("`{name}`")));
        missing.extend(unnamed.map(|name| format!("{name} in {}", path.display())));
    }
    assert_eq!(missing, BTreeSet::new(), "variables that are missing from docs/environment.md");
}

/// Every type, function and file that the glossary gives for a term exists.
#[test]
fn the_glossary_names_what_exists() {
    let glossary = fs::read_to_string(tree::root().join("docs/glossary.md")).unwrap();
    let rows = glossary.lines().filter_map(|line| line.split(" | ").nth(2));
    let named: Vec<&str> = rows.flat_map(|places| places.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 30, "only these names were found: {named:?}");
    let crates = ["ic-stable-migrate", "session-migrate", "pocket-ic-embedded"]
        .map(|name| format!("crates/{name}/src"));
    let folders = ["src", "migrations", "tests"].map(str::to_owned).into_iter().chain(crates);
    let all: Vec<_> = folders.flat_map(|folder| read_sources(&folder)).collect();
    let exists = |name: &str| {
        let item = name.rsplit("::").next().unwrap();
        let declared = ["struct", "enum", "trait", "fn"].map(|kind| format!("{kind} {item}"));
        all.iter().any(|(path, text)| path.ends_with(name) || declared.iter().any(|head| text.contains(head)))
    };
    let missing: Vec<&str> = named.into_iter().filter(|name| !exists(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

/// Returns wasmtime and its dependencies, each with its version and features, as they are compiled by a cargo command
/// with this selection of packages.
fn below_wasmtime(selection: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(tree::root()).args(["tree", "--frozen", "--edges", "normal,build", "--no-dedupe"]);
    let output =
        cargo.args(["--prefix", "depth", "--format", "\t{p} [{f}]"]).args(selection).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found = BTreeSet::new();
    // The depth of wasmtime, while the lines are about its dependencies.
    let mut wasmtime_depth = None;
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let Some((depth, package)) = line.split_once('\t') else { continue };
        let depth: usize = depth.parse().unwrap();
        wasmtime_depth = wasmtime_depth.filter(|wasmtime| depth > *wasmtime);
        if wasmtime_depth.is_none() && package.starts_with("wasmtime v") {
            wasmtime_depth = Some(depth);
        }
        if wasmtime_depth.is_some() {
            found.insert(package.to_owned());
        }
    }
    found
}

/// Cargo unifies the features of a dependency over the packages of a command. If another command selects other
/// features, the dependency is compiled again, which takes minutes for wasmtime.
#[test]
fn every_selection_of_packages_has_the_same_wasmtime() {
    let whole = below_wasmtime(&["--workspace"]);
    assert!(whole.len() > 50, "{whole:?}");
    for package in ["pocket-ic-embedded", "session-migrate"] {
        let part = below_wasmtime(&["--package", package]);
        let differing: Vec<_> = part.symmetric_difference(&whole).collect();
        assert!(differing.is_empty(), "{package}: {differing:#?}");
    }
}

/// Every file, including those of tests, is about one idea and begins by stating that idea, so that whoever adds to a
/// file sees whether the addition belongs there. There is no limit on a file's length: when there was such a limit,
/// single ideas were cut into two files.
#[test]
fn every_file_begins_with_what_it_is_about() {
    let all = ["src", "migrations", "tests", "crates"].into_iter().flat_map(read_sources);
    let silent = all.filter(|(path, text)| {
        // Code that documentation includes begins with another kind of comment.
        !text.starts_with("//! ") && !text.starts_with("#![doc = ") && !path.ends_with("doc/bank.rs")
    });
    let silent: Vec<_> = silent.map(|(path, _)| relative_path(&path)).collect();
    assert_eq!(silent, Vec::<String>::new());
}
