//! The three builds of the canister: names, cargo features, order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The compilation target of all canisters.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The folder of the schemas in the tree.
pub const SCHEMAS: &str = "schemas";

/// One of the canister's three builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Build {
    /// The compat path alone; stable layout 1.
    Legacy,
    /// Both session paths, and the migration; accepts layouts 1 and 2.
    Staged,
    /// The direct path alone, and the migration; accepts all layouts.
    Direct,
}

impl Build {
    /// All builds, in the order in which a canister is upgraded to them.
    pub const ALL: [Build; 3] = [Build::Legacy, Build::Staged, Build::Direct];

    /// Returns the build's name, which is also the stem of the names of its files: `legacy`, `staged` or `direct`.
    pub fn name(self) -> &'static str {
        match self {
            Build::Legacy => "legacy",
            Build::Staged => "staged",
            Build::Direct => "direct",
        }
    }

    /// Returns the name of the file with its schema, in [`SCHEMAS`] or in the folder of a release.
    pub fn schema_file(self) -> String {
        format!("{self}.json")
    }

    /// Returns whether `to` is the next build of the staged upgrade, or this is the staged or direct build and `to` the
    /// same one (an upgrade to a newer module). `false` for legacy to legacy.
    pub fn leads_to(self, to: Build) -> bool {
        matches!(
            (self, to),
            (Build::Legacy, Build::Staged)
                | (Build::Staged, Build::Staged | Build::Direct)
                | (Build::Direct, Build::Direct)
        )
    }

    /// Returns the cargo features of this build.
    pub fn features(self) -> &'static [&'static str] {
        match self {
            Build::Legacy => &["compat"],
            Build::Staged => &["compat", "direct"],
            Build::Direct => &["direct"],
        }
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Build {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Build::ALL
            .into_iter()
            .find(|build| build.name() == text)
            .ok_or_else(|| format!("expected legacy, staged or direct, got `{text}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_lead_to_the_next_build_or_a_newer_module() {
        let steps: Vec<(Build, Build)> = Build::ALL
            .into_iter()
            .flat_map(|from| Build::ALL.map(|to| (from, to)))
            .filter(|(from, to)| from.leads_to(*to))
            .collect();
        use Build::{Direct, Legacy, Staged};
        assert_eq!(steps, [(Legacy, Staged), (Staged, Staged), (Staged, Direct), (Direct, Direct)]);
    }
}
