//! Names of tests, and names of code in documents.

use std::collections::BTreeSet;

use super::{read_documents, read_sources, relative_path};

/// Maximum length of a test's name, which states subject, condition and expectation.
const LONGEST: usize = 60;

#[test]
fn test_names_have_at_most_60_characters() {
    let mut seen = 0;
    let mut long = Vec::new();
    for (path, text) in ["src", "migrations", "crates", "tests"].into_iter().flat_map(read_sources) {
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if is_test && let Some((_, name)) = line.split_once("fn ") {
                let name = name.split('(').next().unwrap();
                is_test = false;
                seen += 1;
                if name.len() > LONGEST {
                    long.push(format!("{}: {name}, {} characters", relative_path(&path), name.len()));
                }
            }
        }
    }
    assert!(seen > 500, "only {seen} tests were found");
    assert_eq!(long, Vec::<String>::new());
}

/// Returns the names that a source file appears to declare, and some other words.
fn declared_names(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let words: Vec<&str> = text.split(|c: char| !is_part(c)).filter(|word| !word.is_empty()).collect();
    let items: Vec<&str> = words
        .windows(2)
        .filter(|pair| {
            matches!(
                pair[0],
                "struct" | "enum" | "trait" | "fn" | "mod" | "const" | "static" | "type" | "macro_rules"
            )
        })
        .map(|pair| pair[1])
        .collect();
    let variants = text.lines().filter_map(move |line| {
        let line = line.trim_start();
        let end = line.find(|c: char| !is_part(c)).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        let is_variant = rest.is_empty() || rest.starts_with(['(', ',']) || rest.starts_with(" {");
        (name.starts_with(char::is_uppercase) && is_variant).then_some(name)
    });
    items.into_iter().chain(variants)
}

/// Every Rust file named in a document exists; of every Rust path named there, the last part is declared somewhere, and
/// the other parts are declared or used.
#[test]
fn documents_name_what_exists() {
    let code: Vec<_> = ["src", "migrations", "crates", "tests"].into_iter().flat_map(read_sources).collect();
    let declared: BTreeSet<&str> = code.iter().flat_map(|(_, text)| declared_names(text)).collect();
    let modules: BTreeSet<String> = code
        .iter()
        .flat_map(|(path, _)| {
            relative_path(&path.with_extension("")).split('/').map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let is_file = |name: &str| code.iter().any(|(path, _)| path.ends_with(name));
    let is_file_name =
        |name: &str| name.ends_with(".rs") && name.chars().all(|c| c.is_alphanumeric() || "_/.-".contains(c));
    let exists = |name: &str| declared.contains(name) || modules.contains(name);
    // All parts but the last may also be foreign: a crate, or a type of one.
    let is_used =
        |name: &str| exists(name) || code.iter().any(|(_, text)| text.contains(&format!("{name}::")));
    let is_path =
        |name: &str| name.contains("::") && name.chars().all(|c| c.is_alphanumeric() || "_:".contains(c));
    let mut seen = 0;
    let mut missing = Vec::new();
    for (path, text) in read_documents() {
        // Fenced blocks are examples, and may name other code.
        let prose = text.split("```").step_by(2);
        for name in prose.flat_map(|prose| prose.split('`').skip(1).step_by(2)) {
            let name = name.strip_suffix("()").unwrap_or(name);
            let is_missing = match name {
                file if is_file_name(file) => !is_file(file),
                path if is_path(path) => {
                    let (parents, last) = path.rsplit_once("::").unwrap();
                    !exists(last) || !parents.split("::").all(is_used)
                }
                _ => continue,
            };
            seen += 1;
            if is_missing {
                missing.push(format!("{}: `{name}`", relative_path(&path)));
            }
        }
    }
    assert!(seen > 200, "only {seen} names were found");
    assert_eq!(missing, Vec::<String>::new());
}
