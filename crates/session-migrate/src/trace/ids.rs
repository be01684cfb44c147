//! Names for the ids that a canister issues: `@session:1` is the session that appears in its replies first, whatever
//! the session's id is.

use std::collections::HashMap;
use std::fmt;

/// What an id is the id of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum IdKind {
    Session,
    Capsule,
    Memory,
    Blob,
}

impl IdKind {
    const ALL: [IdKind; 4] = [IdKind::Session, IdKind::Capsule, IdKind::Memory, IdKind::Blob];

    fn word(self) -> &'static str {
        match self {
            IdKind::Session => "session",
            IdKind::Capsule => "capsule",
            IdKind::Memory => "memory",
            IdKind::Blob => "blob",
        }
    }

    /// Recognizes an id by its format: `capsule_1`; `blob_1`; `mem_1_` and 32 hexadecimal digits; or `mem_`, a letter
    /// for the length of a number (`a`: one digit), this number in base 32, `_`, and 26 digits in base 32.
    fn of_text(text: &str) -> Option<IdKind> {
        let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if text.strip_prefix("capsule_").is_some_and(are_digits) {
            return Some(IdKind::Capsule);
        }
        if text.strip_prefix("blob_").is_some_and(are_digits) {
            return Some(IdKind::Blob);
        }
        let (number, digest) = text.strip_prefix("mem_")?.split_once('_')?;
        let is_base_32 = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'v'));
        let is_memory = match digest.len() {
            32 => are_digits(number) && digest.bytes().all(|byte| byte.is_ascii_hexdigit()),
            26 => {
                let (length, number) = number.split_at_checked(1)?;
                let digit_count = usize::from(length.bytes().next()?.checked_sub(b'a')?) + 1;
                number.len() == digit_count && is_base_32(number) && is_base_32(digest)
            }
            _ => false,
        };
        is_memory.then_some(IdKind::Memory)
    }
}

/// A name that stands for an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name {
    kind: IdKind,
    number: u32,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}:{}", self.kind.word(), self.number)
    }
}

/// The names of all ids that replies have contained.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    names: HashMap<(IdKind, String), Name>,
    ids: HashMap<Name, String>,
    /// Number of names by kind.
    name_counts: HashMap<IdKind, u32>,
}

impl Ids {
    /// Returns the name of an id; a new id gets a new name.
    fn learn(&mut self, kind: IdKind, id: &str) -> Name {
        if let Some(name) = self.names.get(&(kind, id.to_owned())) {
            return *name;
        }
        let number = self.name_counts.entry(kind).or_default();
        *number += 1;
        let name = Name { kind, number: *number };
        self.names.insert((kind, id.to_owned()), name);
        self.ids.insert(name, id.to_owned());
        name
    }

    fn name_of(&self, kind: IdKind, id: &str) -> Option<Name> {
        self.names.get(&(kind, id.to_owned())).copied()
    }

    /// Returns the name of a session in a reply; a new session gets a new name.
    pub(super) fn learn_session(&mut self, session: u64) -> String {
        self.learn(IdKind::Session, &session.to_string()).to_string()
    }

    /// Returns the name of a session, if a reply has contained the session.
    pub(super) fn known_session_name(&self, session: &str) -> Option<String> {
        self.name_of(IdKind::Session, session).map(|name| name.to_string())
    }

    /// Replaces the ids in a text of a reply by names; new ids get new names.
    pub(super) fn learn_text(&mut self, text: &str) -> String {
        for word in words(text) {
            if let Some(kind) = IdKind::of_text(word) {
                self.learn(kind, word);
            }
        }
        self.name_text(text)
    }

    /// Replaces known ids in a text by names; ids that no reply has contained stay.
    pub(super) fn name_text(&self, text: &str) -> String {
        let mut named = String::with_capacity(text.len());
        let mut rest = text;
        for word in words(text) {
            let Some((before, after)) = rest.split_once(word) else { continue };
            named.push_str(before);
            match IdKind::of_text(word).and_then(|kind| self.name_of(kind, word)) {
                Some(name) => named.push_str(&name.to_string()),
                None => named.push_str(word),
            }
            rest = after;
        }
        named + rest
    }

    /// Replaces names in a text by ids. The error is a name that no reply has introduced.
    pub(super) fn resolve(&self, text: &str) -> Result<String, String> {
        let mut resolved = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('@') {
            resolved.push_str(before);
            match leading_name(after) {
                Some((name, tail)) => {
                    resolved.push_str(self.ids.get(&name).ok_or_else(|| name.to_string())?);
                    rest = tail;
                }
                None => {
                    resolved.push('@');
                    rest = after;
                }
            }
        }
        Ok(resolved + rest)
    }
}

/// Splits a text into the words that could be ids.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Parses the name at the beginning of the text after an `@`; also returns the rest.
fn leading_name(text: &str) -> Option<(Name, &str)> {
    let kind = IdKind::ALL.into_iter().find(|kind| text.starts_with(kind.word()))?;
    let digits = text.strip_prefix(kind.word())?.strip_prefix(':')?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (number, tail) = digits.split_at(end);
    Some((Name { kind, number: number.parse().ok()? }, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: &str = "mem_3_00112233445566778899aabbccddeeff";

    #[test]
    fn ids_are_named_in_the_order_in_which_they_are_shown() {
        let mut ids = Ids::default();
        assert_eq!(ids.learn_session(40), "@session:1");
        assert_eq!(ids.learn_session(41), "@session:2");
        assert_eq!(ids.learn_session(40), "@session:1");
        assert_eq!(ids.learn_text("icp://blob/blob_9"), "icp://blob/@blob:1");
        assert_eq!(ids.learn_text(MEMORY), "@memory:1");
        assert_eq!(ids.name_text("capsule_1"), "capsule_1", "no reply has shown capsule_1");
        assert_eq!(ids.known_session_name("41").as_deref(), Some("@session:2"));
        assert_eq!(ids.known_session_name("42"), None);
    }

    #[test]
    fn names_resolve_to_the_ids_of_another_canister() {
        let mut ids = Ids::default();
        ids.learn_session(7);
        ids.learn_text("capsule_5 of blob_6, blob_66");
        assert_eq!(ids.resolve("a @capsule:1 b@c @blob:2").unwrap(), "a capsule_5 b@c blob_66");
        assert_eq!(ids.resolve("@session:1").unwrap(), "7");
        assert_eq!(ids.resolve("x @session:2"), Err("@session:2".into()));
    }

    #[test]
    fn memories_of_earlier_and_present_releases_are_named() {
        let mut ids = Ids::default();
        let present = "mem_g4oiq001_bfkpjhtesqgaq1ocaluur6afjf";
        assert_eq!(ids.learn_text(&format!("{MEMORY} {present}")), "@memory:1 @memory:2");
        let others =
            "mem_f4oiq001_bfkpjhtesqgaq1ocaluur6afjf mem_g4oiq001_bfkpjhtesqgaq1ocaluur6afjw mem_3_0011";
        assert_eq!(
            ids.learn_text(others),
            others,
            "a number of another length, a digit beyond base 32, a short digest"
        );
    }

    #[test]
    fn only_whole_ids_are_named() {
        let mut ids = Ids::default();
        ids.learn_text("blob_1");
        assert_eq!(ids.name_text("blob_12 my_blob_1 blob_1x blob_1"), "blob_12 my_blob_1 blob_1x @blob:1");
    }
}
