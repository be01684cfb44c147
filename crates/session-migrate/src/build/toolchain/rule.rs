//! The rule by which a compiler is chosen, as a pure function: facts in, decision out.

use std::path::PathBuf;

/// What the rule has to know about the machine and the tree.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Whether the active compiler has the target's standard library.
    pub target_installed: bool,
    pub rustup: Rustup,
    /// `None` if there is no such compiler, or its version cannot be read.
    pub distribution: Option<Distribution>,
    pub apt: Apt,
    /// The oldest version of the compiler that can build the canister, as (major, minor).
    pub needed_version: (u32, u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rustup {
    /// The active compiler is not rustup's, or there is no rustup on the PATH.
    Absent,
    /// The user's settings forbid rustup to install anything on its own.
    NotAllowed,
    /// Rustup may add a target to this toolchain.
    Allowed { toolchain: String },
    /// Rustup was run, and the target is still missing.
    Failed(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Apt {
    /// No apt on this system.
    Absent,
    /// Apt is available, but the user is not root.
    NotRoot,
    /// The user is root, so apt may be asked for these packages; whether it has them is not known yet.
    Offers { packages: Vec<String> },
    /// Apt was run, and there is still no usable compiler.
    Failed(String),
}

/// The compiler that the distribution installed under `/usr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Distribution {
    pub rustc: PathBuf,
    pub version: (u32, u32),
    /// Whether the sources of the standard library are installed.
    pub has_sources: bool,
    pub linker: Linker,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Linker {
    /// The compiler finds `rust-lld` on its own.
    FoundByRustc,
    /// This linker has to be specified.
    Named(PathBuf),
    Missing,
}

/// What is to be done next. After `AddTarget` (by rustup) and `InstallPackages` (by apt), the rule decides again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    UseInstalled,
    AddTarget { toolchain: String },
    UseDistribution { rustc: PathBuf, linker: Option<PathBuf> },
    InstallPackages { packages: Vec<String> },
    NoCompiler { tried: String, advice: String },
}

pub(crate) fn decide(facts: &Facts) -> Decision {
    if facts.target_installed {
        return Decision::UseInstalled;
    }
    if let Rustup::Allowed { toolchain } = &facts.rustup {
        return Decision::AddTarget { toolchain: toolchain.clone() };
    }
    let why_no_distribution = match decide_on_distribution(facts) {
        Ok(decision) => return decision,
        Err(why) => why,
    };
    if let Apt::Offers { packages } = &facts.apt {
        return Decision::InstallPackages { packages: packages.clone() };
    }
    NoCompilerText { facts }.decision(why_no_distribution)
}

/// Returns the decision for the distribution's compiler, or why this compiler cannot be used.
fn decide_on_distribution(facts: &Facts) -> Result<Decision, String> {
    let Some(distribution) = &facts.distribution else {
        return Err("the distribution's rustc is not installed".into());
    };
    let rustc = distribution.rustc.display();
    if distribution.version < facts.needed_version {
        return Err(format!(
            "{rustc} is {}.{}, older than the {}.{} that the canister needs",
            distribution.version.0, distribution.version.1, facts.needed_version.0, facts.needed_version.1
        ));
    }
    if !distribution.has_sources {
        return Err(format!("{rustc} has no sources of the standard library"));
    }
    let linker = match &distribution.linker {
        Linker::FoundByRustc => None,
        Linker::Named(path) => Some(path.clone()),
        Linker::Missing => return Err(format!("{rustc} has no wasm linker (lld)")),
    };
    Ok(Decision::UseDistribution { rustc: distribution.rustc.clone(), linker })
}

struct NoCompilerText<'f> {
    facts: &'f Facts,
}

impl NoCompilerText<'_> {
    fn decision(&self, why_no_distribution: String) -> Decision {
        let rustup = match &self.facts.rustup {
            Rustup::Absent => "no rustup".to_owned(),
            Rustup::NotAllowed => "rustup is set not to install anything".to_owned(),
            Rustup::Failed(why) => why.clone(),
            // Not reached: `decide` has already returned in this case.
            Rustup::Allowed { toolchain } => format!("rustup has {toolchain}"),
        };
        let apt = match &self.facts.apt {
            Apt::Absent => "no apt".to_owned(),
            Apt::NotRoot => "apt needs root".to_owned(),
            Apt::Failed(why) => why.clone(),
            // Not reached, for the same reason.
            Apt::Offers { packages } => format!("apt offers {}", packages.join(" ")),
        };
        Decision::NoCompiler {
            tried: format!("{rustup}; {why_no_distribution}; {apt}"),
            advice: format!(
                "Install it with `rustup target add {}`, or as root on Debian with `apt-get install {}`",
                crate::build::TARGET,
                DEBIAN_PACKAGES[0].join(" ")
            ),
        }
    }
}

/// Sets of packages, each with compiler, library sources and linker, in order of preference: Debian 12's compiler for
/// building browsers, then the main compiler of Debian and Ubuntu.
pub(crate) const DEBIAN_PACKAGES: [&[&str]; 2] =
    [&["rustc-web", "rust-web-src", "rust-web-llvm", "lld-22"], &["rustc", "rust-src", "lld"]];

/// Parses `1.95`, `1.95.0` or `rustc 1.95.0 (…)` as (1, 95).
pub(crate) fn parse_major_minor(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut parts = number.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine without any means to build.
    fn nothing() -> Facts {
        Facts {
            target_installed: false,
            rustup: Rustup::Absent,
            distribution: None,
            apt: Apt::Absent,
            needed_version: (1, 95),
        }
    }

    /// A distribution's compiler that is new enough and complete.
    fn debian() -> Distribution {
        Distribution {
            rustc: "/usr/bin/rustc".into(),
            version: (1, 96),
            has_sources: true,
            linker: Linker::FoundByRustc,
        }
    }

    fn offers() -> Apt {
        Apt::Offers { packages: vec!["rustc-web".into()] }
    }

    fn allowed() -> Rustup {
        Rustup::Allowed { toolchain: "stable".into() }
    }

    #[test]
    fn an_installed_target_comes_first() {
        let facts = Facts {
            target_installed: true,
            rustup: allowed(),
            distribution: Some(debian()),
            apt: offers(),
            ..nothing()
        };
        assert_eq!(decide(&facts), Decision::UseInstalled);
    }

    #[test]
    fn rustup_comes_before_the_distribution() {
        let facts = Facts { rustup: allowed(), distribution: Some(debian()), ..nothing() };
        assert_eq!(decide(&facts), Decision::AddTarget { toolchain: "stable".into() });
    }

    #[test]
    fn rustup_that_may_not_install_is_not_run() {
        for rustup in [Rustup::NotAllowed, Rustup::Failed("offline".into())] {
            let facts = Facts { rustup, distribution: Some(debian()), ..nothing() };
            assert_eq!(
                decide(&facts),
                Decision::UseDistribution { rustc: "/usr/bin/rustc".into(), linker: None }
            );
        }
    }

    #[test]
    fn a_linker_elsewhere_is_named() {
        let facts = Facts {
            distribution: Some(Distribution { linker: Linker::Named("/opt/rust-lld".into()), ..debian() }),
            ..nothing()
        };
        assert_eq!(
            decide(&facts),
            Decision::UseDistribution {
                rustc: "/usr/bin/rustc".into(),
                linker: Some("/opt/rust-lld".into())
            }
        );
    }

    #[test]
    fn an_incomplete_distribution_is_completed_by_apt() {
        for lacking in [
            None,
            Some(Distribution { has_sources: false, ..debian() }),
            Some(Distribution { linker: Linker::Missing, ..debian() }),
            Some(Distribution { version: (1, 63), ..debian() }),
        ] {
            let facts = Facts { distribution: lacking, apt: offers(), ..nothing() };
            assert_eq!(decide(&facts), Decision::InstallPackages { packages: vec!["rustc-web".into()] });
        }
    }

    #[test]
    fn a_missing_compiler_is_reported_with_what_to_install() {
        let facts = Facts {
            rustup: Rustup::NotAllowed,
            distribution: Some(Distribution { version: (1, 63), ..debian() }),
            apt: Apt::NotRoot,
            ..nothing()
        };
        let Decision::NoCompiler { tried, advice } = decide(&facts) else {
            panic!("expected NoCompiler");
        };
        for part in ["not to install", "/usr/bin/rustc is 1.63", "1.95", "root"] {
            assert!(tried.contains(part), "{part} in {tried}");
        }
        assert!(advice.contains("rustup target add wasm32-unknown-unknown"), "{advice}");
        assert!(advice.contains("apt-get install rustc-web rust-web-src"), "{advice}");
    }

    #[test]
    fn versions_are_read_from_all_their_spellings() {
        assert_eq!(parse_major_minor("1.95"), Some((1, 95)));
        assert_eq!(parse_major_minor("1.95.0"), Some((1, 95)));
        assert_eq!(parse_major_minor("rustc 1.96.0 (ac68faa20 2026-05-25)"), Some((1, 96)));
        assert_eq!(parse_major_minor("rustc"), None);
    }
}
