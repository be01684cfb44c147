//! The file of Candid calls that a rehearsal of two wasms makes.
//!
//! ```text
//! # the calls that fill the old wasm
//! [before]
//! 1..=100 @user{n} open ("name {n}")
//! @user1 deposit (5)
//! # one call for each round of the migration
//! [during]
//! @user1 deposit (7)
//! account (principal "@user1")
//! # once everything is converted
//! [after]
//! @user2 deposit (1)
//! ```

use candid::{IDLArgs, Principal};
use candid_parser::parse_idl_args;

use crate::rehearse::stages;

/// Maximum number of calls in a file, counting every repetition.
const MAX_CALLS: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    /// On the old wasm, before the upgrade.
    Before,
    /// While the migration runs, one call per round.
    During,
    /// Once everything is converted.
    After,
}

/// A call as the file specifies it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ParsedCall {
    /// Line number, from 1.
    pub line: usize,
    pub section: Section,
    pub caller: Principal,
    pub method: String,
    pub args: IDLArgs,
}

/// Parses the file. A repeated line becomes one call for each number. The error names the line.
pub(super) fn parse(text: &str) -> Result<Vec<ParsedCall>, String> {
    let mut calls = Vec::new();
    let mut section = None;
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, text) in text.lines().enumerate() {
        let line = index + 1;
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if text.starts_with('[') {
            section = Some(parse_section(text).ok_or_else(|| {
                format!("line {line}: the sections are [before], [during] and [after], got `{text}`")
            })?);
            continue;
        }
        let section = section.ok_or_else(|| format!("line {line}: a call before the first section"))?;
        let (numbers, text) = parse_repetition(text).map_err(|why| format!("line {line}: {why}"))?;
        for number in numbers {
            if calls.len() >= MAX_CALLS {
                return Err(format!("line {line}: more than {MAX_CALLS} calls"));
            }
            let text = number.map_or(text.to_owned(), |number| text.replace("{n}", &number.to_string()));
            let (caller, method, args) = parse_call(&text).map_err(|why| format!("line {line}: {why}"))?;
            calls.push(ParsedCall { line, section, caller, method, args });
        }
    }
    if calls.is_empty() { Err("it contains no call".into()) } else { Ok(calls) }
}

fn parse_section(text: &str) -> Option<Section> {
    match text {
        "[before]" => Some(Section::Before),
        "[during]" => Some(Section::During),
        "[after]" => Some(Section::After),
        _ => None,
    }
}

/// Returns the numbers for which a line is repeated, and the rest of the line. A line without a range has one number,
/// `None`: it is used once, and `{n}` is not replaced.
fn parse_repetition(text: &str) -> Result<(Vec<Option<u32>>, &str), String> {
    let Some((range, rest)) = text.split_once(char::is_whitespace).filter(|(range, _)| range.contains("..="))
    else {
        return Ok((vec![None], text));
    };
    let numbers = range.split_once("..=").and_then(|(first, last)| {
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        let is_valid = first <= last && (last - first) as usize <= MAX_CALLS;
        is_valid.then(|| (first..=last).map(Some).collect())
    });
    match numbers {
        Some(numbers) => Ok((numbers, rest.trim_start())),
        None => Err(format!("expected a range such as 1..=100, got `{range}`")),
    }
}

/// Parses `@caller method (arguments)`; the default caller is the anonymous principal, the default arguments are `()`.
fn parse_call(text: &str) -> Result<(Principal, String, IDLArgs), String> {
    let (caller, text) = match text.strip_prefix('@') {
        Some(text) => {
            let (name, rest) =
                text.split_once(char::is_whitespace).ok_or("expected a method after the caller")?;
            (principal_of(name)?, rest.trim_start())
        }
        None => (Principal::anonymous(), text),
    };
    let end = text.find(|c: char| c == '(' || c.is_whitespace()).unwrap_or(text.len());
    let (method, args) = text.split_at(end);
    if method.is_empty() {
        return Err(format!("expected a method and its arguments, got `{text}`"));
    }
    let args = match args.trim() {
        "" => "()".to_owned(),
        args => resolve_principals(args)?,
    };
    let args = parse_arguments(&args).map_err(|why| format!("{method}: {why}"))?;
    Ok((caller, method.to_owned(), args))
}

/// Parses arguments in Candid's textual format. The error is in one line.
pub(super) fn parse_arguments(text: &str) -> Result<IDLArgs, String> {
    parse_idl_args(text).map_err(|error| {
        let error = error.to_string();
        format!("`{text}` are not Candid arguments: {}", error.lines().next().unwrap_or_default())
    })
}

/// Returns the principal for a name: `controller`, `anonymous`, the text of a principal, or any other name, from which
/// a principal is derived.
fn principal_of(name: &str) -> Result<Principal, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!("expected a name of letters, digits, `-`, `_` and `.` after @, got `{name}`"));
    }
    Ok(match name {
        "controller" => stages::controller(),
        "anonymous" => Principal::anonymous(),
        name => Principal::from_text(name).unwrap_or_else(|_| Principal::self_authenticating(name)),
    })
}

/// Replaces the name in each `principal "@name"` by the text of its principal.
fn resolve_principals(text: &str) -> Result<String, String> {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\"@") {
        let (before, from) = rest.split_at(at);
        let name = &from[2..];
        done.push_str(before);
        let Some(end) = name.find('"').filter(|_| before.trim_end().ends_with("principal")) else {
            done.push_str("\"@");
            rest = name;
            continue;
        };
        done.push_str(&format!("\"{}\"", principal_of(&name[..end])?));
        rest = &name[end + 1..];
    }
    done.push_str(rest);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_parsed_with_callers_ranges_and_sections() {
        let text = "# made up\n[before]\n2..=3 @user{n} open (\"name {n}\")\n\n[during]\naccount (principal \"@user2\")\n\
                    [after]\n@2vxsx-fae status\n@controller note (\"@user2\", record { 1 })\n";
        let calls = parse(text).unwrap();
        let shown: Vec<String> = calls.iter().map(|call| format!("{} {}", call.method, call.args)).collect();
        let user2 = Principal::self_authenticating("user2");
        assert_eq!(
            shown,
            [
                "open (\"name 2\")".to_owned(),
                "open (\"name 3\")".to_owned(),
                format!("account (principal \"{user2}\")"),
                "status ()".to_owned(),
                "note (\"@user2\", record { 1 })".to_owned(),
            ]
        );
        assert_eq!(calls[0].caller, user2);
        assert_eq!([calls[2].caller, calls[3].caller], [Principal::anonymous(); 2]);
        assert_eq!(calls[4].caller, stages::controller());
        let sections: Vec<_> = calls.iter().map(|call| (call.line, call.section)).collect();
        use Section::{After, Before, During};
        assert_eq!(sections, [(3, Before), (3, Before), (6, During), (8, After), (9, After)]);
    }

    #[test]
    fn files_of_other_editors_are_parsed_alike() {
        let text = "[before]\n@alice open (\"a\")\n";
        for other in [format!("\u{feff}{text}"), text.replace('\n', "\r\n")] {
            assert_eq!(parse(&other).unwrap(), parse(text).unwrap(), "{other:?}");
        }
    }

    #[test]
    fn a_wrong_line_is_named_with_what_is_expected() {
        for (text, words) in [
            ("", "it contains no call"),
            ("open ()", "line 1: a call before the first section"),
            ("[befor]", "line 1: the sections are"),
            ("[before]\nopen (", "line 2: open: `(` are not Candid arguments"),
            ("[before]\n@alice", "line 2: expected a method after the caller"),
            ("[before]\n@al/ice open ()", "line 2: expected a name"),
            ("[before]\n(1)", "line 2: expected a method"),
            ("[before]\n3..=1 open ()", "line 2: expected a range"),
            ("[before]\n1..=4294967295 open ()", "line 2: expected a range"),
            ("[before]\n1..=90000 a ()\n1..=90000 a ()", "line 3: more than 100000 calls"),
            ("[before]\nopen (principal \"@a b\")", "line 2: expected a name"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(words) && !why.contains('\n'), "{text:?}: {why}");
        }
    }
}
