//! The verdict of a rehearsal or a comparison.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing was lost, and there are no differences except those allowed by a rule.
    Pass,
    /// Something was lost or differs.
    Fail,
}

impl Verdict {
    /// Returns it as a word.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
