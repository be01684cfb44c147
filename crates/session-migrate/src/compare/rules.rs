//! The rules file: allowed differences, each with a name and a reason.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Difference;

/// An allowed difference.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name of the rule.
    pub name: String,
    /// Why the difference is allowed.
    pub reason: String,
    /// The methods and parts of the state to which the rule applies.
    pub of: Vec<String>,
    /// Fields, as the report names them; `*` at the end matches any suffix.
    pub field: Vec<String>,
    /// The only value of side A that the rule allows; any if omitted.
    pub a: Option<String>,
    /// The only value of side B that the rule allows; any if omitted.
    pub b: Option<String>,
    /// Whether the rule applies only to replays of a trace on another module than the one on which it was recorded, and
    /// not to comparisons of two builds.
    #[serde(default)]
    pub replay_only: bool,
}

/// A rule for endpoints, or figures of a whole trace, that may cost more on side B.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostRule {
    /// Name of the rule.
    pub name: String,
    /// Why the endpoints may cost more.
    pub reason: String,
    /// Endpoints, such as `uploads_finish`, or figures of a whole trace: `stable_bytes_written`, `stable_memory`,
    /// `heap`.
    pub endpoint: Vec<String>,
    /// By how many percent each endpoint may cost more on side B than on side A.
    pub percent: u32,
}

/// The two builds that rules are written for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleBuilds {
    /// Side A.
    pub a: String,
    /// Side B.
    pub b: String,
}

/// The rules file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// By how many percent any cost figure may be larger on side B.
    #[serde(default)]
    pub tolerance_percent: u32,
    /// How many more instructions a message may take on side B, in addition to the percentage.
    #[serde(default)]
    pub tolerance_instructions: u64,
    /// The builds for which the rules are written; if absent, any two. A rule is stale if it matched no difference when
    /// these builds were compared with all workloads.
    #[serde(default)]
    pub builds: Option<RuleBuilds>,
    /// Allowed differences.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
    /// Endpoints and figures that may exceed the tolerance.
    #[serde(default, rename = "cost")]
    pub costs: Vec<CostRule>,
}

/// Why a rules file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file does not parse.
    #[error("{path}: {detail}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        detail: String,
    },
    /// Two rules have the same name, or a rule has no reason.
    #[error("{path}: the rule `{name}` {fault}")]
    Rule {
        /// The file.
        path: PathBuf,
        /// The rule.
        name: String,
        /// What is wrong with the rule.
        fault: &'static str,
    },
}

impl Rules {
    /// Reads a rules file.
    pub fn read(path: &Path) -> Result<Rules, RuleError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| RuleError::Read { path: path.to_path_buf(), source })?;
        Rules::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Rules, RuleError> {
        let rules: Rules = toml::from_str(text).map_err(|error| RuleError::Parse {
            path: path.to_path_buf(),
            detail: error.to_string().trim().replace('\n', " "),
        })?;
        let rule_error =
            |name: &str, fault| RuleError::Rule { path: path.to_path_buf(), name: name.into(), fault };
        let mut seen: Vec<&str> = Vec::new();
        for (name, reason) in rules.names() {
            if seen.contains(&name) {
                return Err(rule_error(name, "occurs twice"));
            }
            if reason.trim().is_empty() {
                return Err(rule_error(name, "gives no reason"));
            }
            seen.push(name);
        }
        Ok(rules)
    }

    /// Removes the rules that do not apply to comparisons of two builds.
    #[must_use]
    pub fn for_two_builds(mut self) -> Rules {
        self.rules.retain(|rule| !rule.replay_only);
        self
    }

    /// Iterates over the names and reasons of all rules: those for differences, then those for costs, each in the order
    /// of the file.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        let differences = self.rules.iter().map(|rule| (rule.name.as_str(), rule.reason.as_str()));
        differences.chain(self.costs.iter().map(|rule| (rule.name.as_str(), rule.reason.as_str())))
    }
}

fn matches_field(wanted: &str, field: &str) -> bool {
    wanted.strip_suffix('*').map_or(wanted == field, |beginning| field.starts_with(beginning))
}

impl Rule {
    fn allows(&self, method_or_part: &str, difference: &Difference) -> bool {
        let is_unset_or =
            |wanted: &Option<String>, got: &str| wanted.as_ref().is_none_or(|wanted| wanted == got);
        self.of.iter().any(|wanted| wanted == method_or_part)
            && self.field.iter().any(|wanted| matches_field(wanted, &difference.field))
            && is_unset_or(&self.a, &difference.a)
            && is_unset_or(&self.b, &difference.b)
    }
}

/// The rules, and how often each has matched.
#[derive(Clone, Debug)]
pub struct Tally {
    rules: Rules,
    /// In the order of [`Rules::names`].
    matched: Vec<u64>,
}

impl Tally {
    /// Creates a tally without matches.
    pub fn new(rules: Rules) -> Tally {
        let matched = vec![0; rules.names().count()];
        Tally { rules, matched }
    }

    /// Returns the name of the first rule that allows a difference, and counts the match; `None` if no rule allows it.
    pub fn use_rule_for(&mut self, method_or_part: &str, difference: &Difference) -> Option<String> {
        let index = self.rules.rules.iter().position(|rule| rule.allows(method_or_part, difference))?;
        self.count(index);
        self.rules.rules.get(index).map(|rule| rule.name.clone())
    }

    /// Returns how many more instructions a message may take on side B, in addition to the percentage.
    pub const fn tolerance_instructions(&self) -> u64 {
        self.rules.tolerance_instructions
    }

    /// Returns the percentage by which `endpoint` (or a figure of a whole trace) may cost more on side B, given
    /// `more_percent`, the percentage by which it does. If `more_percent` exceeds the common tolerance and `endpoint`
    /// has a rule, this is the percentage of the rule, otherwise the common tolerance. If that rule allows
    /// `more_percent`, counts the match and also returns the rule's name.
    pub fn cost_allowance(&mut self, endpoint: &str, more_percent: f64) -> (u32, Option<String>) {
        let common = self.rules.tolerance_percent;
        let index =
            self.rules.costs.iter().position(|rule| rule.endpoint.iter().any(|name| name == endpoint));
        match index.and_then(|index| Some((index, self.rules.costs.get(index)?.clone()))) {
            Some((index, rule)) if more_percent > f64::from(common) => {
                if more_percent > f64::from(rule.percent) {
                    return (rule.percent, None);
                }
                self.count(self.rules.rules.len() + index);
                (rule.percent, Some(rule.name))
            }
            _ => (common, None),
        }
    }

    fn count(&mut self, index: usize) {
        if let Some(matched) = self.matched.get_mut(index) {
            *matched += 1;
        }
    }

    /// Iterates over each rule's name and reason, and how often it has matched.
    pub fn uses(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.rules.names().zip(&self.matched).map(|((name, reason), matched)| (name, reason, *matched))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        tolerance_percent = 2
        [[rule]]
        name = "path"
        reason = "the path is shown"
        of = ["uploads_status"]
        field = ["Ok.path"]
        b = "variant { Direct }"
        [[cost]]
        name = "begin"
        reason = "takes its room at once"
        endpoint = ["uploads_begin"]
        percent = 30
    "#;

    fn parse(text: &str) -> Result<Rules, String> {
        Rules::parse(Path::new("rules.toml"), text).map_err(|error| error.to_string())
    }

    fn difference(field: &str, b: &str) -> Difference {
        Difference { field: field.into(), a: "variant { Compat }".into(), b: b.into() }
    }

    #[test]
    fn a_rule_allows_what_it_names_and_nothing_else() {
        let mut tally = Tally::new(parse(FILE).unwrap());
        let direct = difference("Ok.path", "variant { Direct }");
        assert_eq!(tally.use_rule_for("uploads_status", &direct).as_deref(), Some("path"));
        for (of, difference) in [
            ("uploads_list", &direct),
            ("uploads_status", &difference("Ok.idem", "variant { Direct }")),
            ("uploads_status", &difference("Ok.path", "variant { Compat }")),
        ] {
            assert_eq!(tally.use_rule_for(of, difference), None);
        }
        let uses: Vec<u64> = tally.uses().map(|(_, _, matched)| matched).collect();
        assert_eq!(uses, [1, 0]);
    }

    #[test]
    fn a_field_with_a_star_matches_every_field_with_that_prefix() {
        assert!(
            matches_field("counts.compat.*", "counts.compat.begin.messages")
                && matches_field("Ok.path", "Ok.path")
        );
        assert!(
            !matches_field("counts.compat.*", "counts.direct.begin.messages")
                && !matches_field("Ok", "Ok.path")
        );
    }

    #[test]
    fn an_endpoint_may_cost_what_its_rule_says() {
        let mut tally = Tally::new(parse(FILE).unwrap());
        assert_eq!(
            tally.cost_allowance("uploads_begin", 1.0),
            (2, None),
            "a rule that is not needed is not matched"
        );
        assert_eq!(tally.cost_allowance("uploads_begin", 20.0), (30, Some("begin".into())));
        assert_eq!(
            tally.cost_allowance("uploads_begin", 31.0),
            (30, None),
            "more than the percentage of the rule is not allowed"
        );
        assert_eq!(tally.cost_allowance("uploads_finish", 20.0), (2, None));
        assert_eq!(tally.uses().last(), Some(("begin", "takes its room at once", 1)));
    }

    #[test]
    fn an_unusable_rules_file_is_reported_with_the_reason() {
        let error = parse(&FILE.replace("the path is shown", " ")).unwrap_err();
        assert!(error.contains("`path` gives no reason"), "{error}");
        let error = parse(&FILE.replace("\"begin\"", "\"path\"")).unwrap_err();
        assert!(error.contains("`path` occurs twice"), "{error}");
        let error = parse(&FILE.replace("percent = 30", "perzent = 30")).unwrap_err();
        assert!(error.starts_with("rules.toml: ") && error.contains("perzent"), "{error}");
    }
}
