//! Words of `docs/words.txt`, looked for in comments, documents, string literals and identifiers.

use std::fs;
use std::path::{Path, PathBuf};

use super::{read_documents, read_sources, relative_path, tree};

/// A word or phrase that must not come back.
struct Banned {
    phrase: String,
    /// The phrase in lower case, as it is looked for in texts; `None` if it is banned in identifiers only.
    words: Option<String>,
    name: Name,
    instead: String,
    /// Files that may contain the phrase, since it is part of stored data there, such as the name of a class.
    except: Vec<String>,
}

/// A phrase as it would be written in an identifier.
enum Name {
    /// The name of a type.
    Type(String),
    /// A part of an identifier, as [`snake_case`] writes it.
    Part(String),
}

impl Banned {
    fn new(phrase: &str, instead: &str, except: &str) -> Self {
        let (is_code, name) = (phrase.starts_with('`'), phrase.trim_matches('`'));
        Self {
            phrase: phrase.to_owned(),
            words: (!is_code).then(|| phrase.to_lowercase()),
            name: match is_code && name.starts_with(char::is_uppercase) {
                true => Name::Type(name.to_owned()),
                false => Name::Part(format!("_{}_", name.to_lowercase().replace([' ', '-'], "_"))),
            },
            instead: instead.to_owned(),
            except: except.split(", ").map(str::to_owned).collect(),
        }
    }

    /// Returns whether a text, which is in lower case, has the phrase.
    fn is_in(&self, text: &str) -> bool {
        self.words.as_ref().is_some_and(|words| has_words(text, words))
    }
}

/// Returns the list of `docs/words.txt`.
fn read_banned() -> Vec<Banned> {
    let list = fs::read_to_string(tree::root().join("docs/words.txt")).unwrap();
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parse_line = |line: &str| {
        let mut columns = line.split('|').map(str::trim);
        let mut next = || columns.next().unwrap_or_default();
        let (phrase, instead, except) = (next(), next(), next());
        assert!(!phrase.is_empty() && !instead.is_empty(), "a phrase or its replacement is missing: {line}");
        Banned::new(phrase, instead, except)
    };
    lines.map(parse_line).collect()
}

/// Returns the files below a folder with one of these extensions, without generated and installed ones.
fn read_files(folder: &Path, extensions: &[&str]) -> Vec<(PathBuf, String)> {
    const GENERATED: [&str; 3] = ["node_modules", "dist", "declarations"];
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_generated = GENERATED.iter().any(|name| path.ends_with(name));
        if path.is_dir() && !path.is_symlink() && !is_generated {
            found.extend(read_files(&path, extensions));
        } else if path.extension().is_some_and(|extension| extensions.iter().any(|known| extension == *known))
        {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// Returns the documents, and the files of Rust, Candid, TypeScript and scripts, whose comments are for people.
fn files_with_texts() -> Vec<(PathBuf, String)> {
    let code = ["src", "migrations", "crates", "tests"].into_iter().flat_map(read_sources);
    let folders = ["candid", "clients", "crates/pocket-ic-embedded/clients"];
    let others = folders
        .into_iter()
        .flat_map(|folder| read_files(&tree::root().join(folder), &["did", "ts", "mjs", "sh", "py"]));
    code.chain(others).chain(read_documents()).collect()
}

/// Returns the paragraphs of a document, or of the comments in a file of code, in lower case, each with the number of
/// its first line: a phrase may span two lines. Text in backticks or in a fenced block is left out.
fn paragraphs(path: &Path, text: &str) -> Vec<(usize, String)> {
    let has_extension =
        |extensions: &[&str]| extensions.iter().any(|known| path.extension().is_some_and(|e| e == *known));
    let (is_document, marker) =
        (has_extension(&["md"]), if has_extension(&["sh", "py"]) { "#" } else { "//" });
    let mut found: Vec<(usize, String)> = Vec::new();
    let (mut is_continued, mut is_fenced) = (false, false);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if is_document && line.starts_with("```") {
            is_fenced = !is_fenced;
        }
        let words = match is_document {
            true => Some(line).filter(|line| !line.is_empty() && !is_fenced),
            false if has_extension(&["ts", "mjs"]) && line.starts_with(['/', '*']) => {
                Some(line.trim_start_matches(['/', '*']))
            }
            false => line.strip_prefix(marker).map(|comment| comment.trim_start_matches(['/', '!', '#'])),
        };
        let Some(words) = words else {
            is_continued = false;
            continue;
        };
        match found.last_mut().filter(|_| is_continued && !line.starts_with(['|', '-', '*', '#'])) {
            Some((_, paragraph)) => *paragraph = format!("{paragraph} {}", words.trim()),
            None => found.push((number + 1, words.trim().to_owned())),
        }
        is_continued = true;
    }
    for (_, paragraph) in &mut found {
        let outside: Vec<&str> = paragraph.split('`').step_by(2).collect();
        *paragraph = outside.join("`").to_lowercase();
    }
    found
}

/// Returns whether `text` has `phrase` as whole words; both are in lower case.
fn has_words(text: &str, phrase: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    text.match_indices(phrase).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + phrase.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[test]
fn words_of_the_list_do_not_come_back() {
    let banned: Vec<Banned> = read_banned().into_iter().filter(|word| word.words.is_some()).collect();
    assert!(banned.len() > 20, "only {} words were read", banned.len());
    let mut found = Vec::new();
    for (path, text) in files_with_texts() {
        let name = relative_path(&path);
        for (line, paragraph) in paragraphs(&path, &text) {
            // The last column of the glossary lists the words that must not be used.
            let shown = match name.as_str() {
                "docs/glossary.md" if paragraph.starts_with('|') => {
                    paragraph.trim_end_matches([' ', '|']).rsplit_once('|').map_or("", |(row, _)| row)
                }
                _ => &paragraph,
            };
            let banned = banned.iter().filter(|word| !word.except.contains(&name));
            let words = banned.filter(|word| word.is_in(shown));
            found
                .extend(words.map(|word| format!("{name}:{line}: `{}`, use: {}", word.phrase, word.instead)));
        }
    }
    assert!(found.is_empty(), "docs/words.txt lists these words:\n{}", found.join("\n"));
}

/// Texts of errors, logs and reports are in string literals.
#[test]
fn string_literals_have_no_listed_words() {
    let banned = read_banned();
    let mut found = Vec::new();
    for (path, text) in ["src", "migrations", "crates", "tests"].into_iter().flat_map(read_sources) {
        let name = relative_path(&path);
        // The literals of this file are examples of listed words.
        if path.ends_with("tests/structure/words.rs") {
            continue;
        }
        let banned: Vec<&Banned> = banned.iter().filter(|word| !word.except.contains(&name)).collect();
        for (number, line) in
            text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for literal in line.to_lowercase().split('"').skip(1).step_by(2) {
                let words = banned.iter().filter(|word| word.is_in(literal));
                found.extend(
                    words.map(|word| {
                        format!("{name}:{}: `{}`, use: {}", number + 1, word.phrase, word.instead)
                    }),
                );
            }
        }
    }
    assert!(found.is_empty(), "docs/words.txt lists these words:\n{}", found.join("\n"));
}

/// Returns the identifiers of a line of code, without those in comments and strings.
fn identifiers(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or_default();
    let outside = code.split('"').step_by(2);
    let words = outside.flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.filter(|word| !word.is_empty()).collect()
}

/// Returns the words of an identifier in lower case, joined by underscores, with an underscore at each end.
fn snake_case(identifier: &str) -> String {
    let mut words = String::from("_");
    let mut follows_lower_case = false;
    for c in identifier.chars() {
        if c.is_uppercase() && follows_lower_case {
            words.push('_');
        }
        follows_lower_case = c.is_lowercase() || c.is_numeric();
        words.extend(c.to_lowercase());
    }
    words + "_"
}

/// Returns the listed words that a line of code contains in an identifier, or declares as the name of a type.
fn in_identifiers<'w>(line: &str, banned: &[&'w Banned]) -> Vec<&'w Banned> {
    let identifiers = identifiers(line);
    let is_declared = |name: &str| {
        let declares = |keyword| ["struct", "enum", "trait", "type", "union"].contains(&keyword);
        identifiers.windows(2).any(|pair| pair[1] == name && declares(pair[0]))
    };
    let words: Vec<String> = identifiers.iter().map(|identifier| snake_case(identifier)).collect();
    let is_in = |word: &&&Banned| match &word.name {
        Name::Type(name) => is_declared(name),
        Name::Part(part) => words.iter().any(|words| words.contains(part)),
    };
    banned.iter().filter(is_in).copied().collect()
}

#[test]
fn identifiers_have_no_listed_words() {
    let banned = read_banned();
    let mut found = Vec::new();
    for (path, text) in ["src", "migrations", "crates", "tests"].into_iter().flat_map(read_sources) {
        let name = relative_path(&path);
        let banned: Vec<&Banned> = banned.iter().filter(|word| !word.except.contains(&name)).collect();
        for (number, line) in text.lines().enumerate() {
            // The names of stable memories are part of the schema.
            let line = line.replace("LEGACY_LEFT_BEHIND", "");
            let words = in_identifiers(&line, &banned).into_iter();
            found.extend(
                words.map(|word| format!("{name}:{}: {}, use: {}", number + 1, word.phrase, word.instead)),
            );
        }
    }
    assert!(found.is_empty(), "docs/words.txt lists these words:\n{}", found.join("\n"));
}

#[test]
fn listed_words_are_found_in_identifiers_but_not_in_strings() {
    let has = |line: &str, phrase: &str| !in_identifiers(line, &[&Banned::new(phrase, "", "")]).is_empty();
    assert!(has(&format!("let {} = 1;", ["put", "aside"].join("_")), "put aside"));
    assert!(has(&format!("{},", ["Put", "Aside"].concat()), "put aside"));
    assert!(!has("let aside = 1; // put_aside", "put aside") && !has("f(\"put_aside\")", "put aside"));
    assert!(has("pub struct Run<'a> {", "`Run`") && !has("Watched::Run", "`Run`"));
    assert!(has("let world = 1;", "`world`") && !has("let worldly = 1;", "`world`"));
}

#[test]
fn phrases_are_found_across_lines_but_not_in_code() {
    let text = "/// Begins a\n/// session `anew`.\nfn f() {}\n// Anew-ish\n";
    let found = paragraphs(Path::new("a.rs"), text);
    assert_eq!(found, [(1, "begins a session `.".to_owned()), (4, "anew-ish".to_owned())]);
    assert!(has_words(&found[0].1, "a session") && !has_words(&found[1].1, "anew"));
}
