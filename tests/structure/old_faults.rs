//! The patches of `tests/old_faults`, each of which reintroduces a fault of an earlier release.

use std::fs;

use super::{read_sources, tree};

/// Returns the lines that each hunk of a patch expects in the source, with the path of the file.
fn expected_hunks(patch: &str) -> Vec<(&str, String)> {
    let (mut path, mut hunks) = ("", Vec::<(&str, String)>::new());
    for line in patch.lines() {
        if let Some(file) = line.strip_prefix("--- a/") {
            path = file;
        } else if line.starts_with("@@") {
            hunks.push((path, String::new()));
        } else if let (Some((_, hunk)), Some(found)) = (hunks.last_mut(), line.strip_prefix([' ', '-'])) {
            hunk.push_str(found);
            hunk.push('\n');
        }
    }
    hunks
}

/// The lines that a patch changes are in the source exactly once, and the test that the patch names exists. Without
/// this check nobody would notice that a patch no longer applies, or that the test for its fault has been renamed.
#[test]
fn every_old_fault_can_be_planted_again() {
    let root = tree::root();
    let tests = [read_sources("src"), read_sources("tests")].concat();
    let mut hunks = 0;
    for entry in fs::read_dir(root.join("tests/old_faults")).unwrap() {
        let path = entry.unwrap().path();
        let patch = fs::read_to_string(&path).unwrap();
        let test = patch.lines().find_map(|line| line.strip_prefix("Found by ")).unwrap();
        let (_, name) = test.rsplit_once("::").unwrap();
        let head = format!("fn {name}(");
        assert!(tests.iter().any(|(_, text)| text.contains(&head)), "{}: no test {test}", path.display());
        for (file, hunk) in expected_hunks(&patch) {
            let source = fs::read_to_string(root.join(file)).unwrap();
            assert_eq!(
                source.matches(&hunk).count(),
                1,
                "{}: {file} does not have these lines exactly once:\n{hunk}",
                path.display()
            );
            hunks += 1;
        }
    }
    assert!(hunks >= 12, "only {hunks} hunks were found");
}
