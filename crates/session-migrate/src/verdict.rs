//! The verdict of a report.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a report's work passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing is lost or damaged, and every difference is allowed.
    Pass,
    /// Something is lost or damaged, or a difference is not allowed; or the upgrade would fail.
    Fail,
}

impl Verdict {
    /// Returns the verdict as a word.
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
