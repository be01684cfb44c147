//! Constants of the build: its name, its features, the layouts that it accepts, and what it serves.

use crate::stable::layout::Layout;

/// Whether the build can serve sessions of layout 1; otherwise it cannot roll back to that layout.
pub const SERVES_LAYOUT_1: bool = cfg!(feature = "compat");

/// Percentages of new sessions that the compat path may get: exactly 100 in a build without the direct path, exactly 0
/// in a build without the compat path, and any in a build with both.
pub const COMPAT_SHARE_PERCENT: std::ops::RangeInclusive<u8> =
    if cfg!(feature = "direct") { 0 } else { 100 }..=if cfg!(feature = "compat") { 100 } else { 0 };

/// What distinguishes one build from another.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Name of the build.
    pub name: &'static str,
    /// Cargo features of the build.
    pub features: &'static [&'static str],
    /// Layouts that the build accepts at an upgrade.
    pub layouts: &'static [Layout],
    /// Layout in which a fresh installation of the build starts.
    pub fresh_layout: Layout,
}

/// The build with the compat path alone.
pub const LEGACY: Profile = Profile {
    name: "legacy",
    features: &["compat"],
    layouts: &[Layout::LEGACY],
    fresh_layout: Layout::LEGACY,
};

/// The build with both paths.
pub const STAGED: Profile = Profile {
    name: "staged",
    features: &["compat", "direct"],
    layouts: &[Layout::LEGACY, Layout::SPLIT],
    fresh_layout: Layout::SPLIT,
};

/// The build with the direct path alone.
pub const DIRECT: Profile = Profile {
    name: "direct",
    features: &["direct"],
    layouts: &[Layout::LEGACY, Layout::SPLIT, Layout::EXTENTS],
    fresh_layout: Layout::EXTENTS,
};

/// All builds, in the order in which a canister is upgraded to them.
pub const PROFILES: [Profile; 3] = [LEGACY, STAGED, DIRECT];

cfg_if::cfg_if! {
    if #[cfg(all(feature = "compat", feature = "direct"))] {
        const PROFILE: Profile = STAGED;
    } else if #[cfg(feature = "compat")] {
        const PROFILE: Profile = LEGACY;
    } else if #[cfg(feature = "direct")] {
        const PROFILE: Profile = DIRECT;
    } else {
        compile_error!("choose a session path: `--features compat` (legacy), `--features direct`, or both (staged)");
    }
}

/// Name of this build.
pub const BUILD: &str = PROFILE.name;

/// Cargo features of this build.
pub const FEATURES: &[&str] = PROFILE.features;

/// Layouts that this build accepts at an upgrade.
pub const LAYOUTS: &[Layout] = PROFILE.layouts;

/// Layout of a fresh installation of this build.
pub const FRESH_LAYOUT: Layout = PROFILE.fresh_layout;
