//! Constants of the build: its name, its features, the layouts that it accepts, and what it serves.

use crate::stable::layout::Layout;

/// Whether the build can serve sessions of layout 1; otherwise it cannot roll back to that layout.
pub const SERVES_LAYOUT_1: bool = cfg!(feature = "compat");

/// Share of new sessions, in percent, that the compat path may get: all of them if there is no other path.
pub const COMPAT_SHARE_PERCENT: std::ops::RangeInclusive<u8> =
    if cfg!(feature = "direct") { 0 } else { 100 }..=if cfg!(feature = "compat") { 100 } else { 0 };

cfg_if::cfg_if! {
    if #[cfg(all(feature = "compat", feature = "direct"))] {
        /// Name of the build.
        pub const BUILD: &str = "staged";
        /// Cargo features of the build.
        pub const FEATURES: &[&str] = &["compat", "direct"];
        /// Layouts that the build accepts at an upgrade.
        pub const LAYOUTS: &[Layout] = &[Layout::LEGACY, Layout::SPLIT];
        /// Layout of a fresh installation.
        pub const FRESH_LAYOUT: Layout = Layout::SPLIT;
    } else if #[cfg(feature = "compat")] {
        /// Name of the build.
        pub const BUILD: &str = "legacy";
        /// Cargo features of the build.
        pub const FEATURES: &[&str] = &["compat"];
        /// Layouts that the build accepts at an upgrade.
        pub const LAYOUTS: &[Layout] = &[Layout::LEGACY];
        /// Layout of a fresh installation.
        pub const FRESH_LAYOUT: Layout = Layout::LEGACY;
    } else if #[cfg(feature = "direct")] {
        /// Name of the build.
        pub const BUILD: &str = "direct";
        /// Cargo features of the build.
        pub const FEATURES: &[&str] = &["direct"];
        /// Layouts that the build accepts at an upgrade.
        pub const LAYOUTS: &[Layout] = &[Layout::LEGACY, Layout::SPLIT, Layout::EXTENTS];
        /// Layout of a fresh installation.
        pub const FRESH_LAYOUT: Layout = Layout::EXTENTS;
    } else {
        compile_error!("choose a session path: `--features compat` (legacy), `--features direct`, or both (staged)");
    }
}
