//! Which layer keeps a session. The one place in the upload layer that knows of the cargo features.

use crate::api::{self, Result};
use crate::session::{PutOutcome, Session, SessionId, SessionSpec, Time};
use crate::stable::layout::Layout;
use crate::storage::Storage;

use super::UploadMeta;

/// An upload in flight: the session and what it is about, whichever layer keeps them.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    /// Which chunks have arrived.
    pub session: Session,
    /// Where it goes, and as what.
    pub meta: UploadMeta,
    /// The layer that keeps it.
    pub path: api::SessionPath,
}

/// A layer that keeps sessions. Both give the same answers; they differ in what is stored.
///
/// Every method checks first and changes afterwards.
pub trait UploadPath {
    /// Begins a session under an allocated id.
    ///
    /// # Errors
    /// What the session service refuses.
    fn begin(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        spec: SessionSpec,
        meta: UploadMeta,
        now: Time,
    ) -> Result<()>;

    /// The upload, if there is one in flight.
    ///
    /// # Errors
    /// A damaged record.
    fn load(&mut self, storage: &mut Storage, id: SessionId, now: Time) -> Result<Option<Upload>>;

    /// Takes a chunk.
    ///
    /// # Errors
    /// What the session service refuses.
    fn put_chunk(
        &mut self,
        storage: &mut Storage,
        id: SessionId,
        chunk: Chunk<'_>,
        now: Time,
    ) -> Result<PutOutcome>;

    /// Ends a complete session; its bytes stay where they are.
    ///
    /// # Errors
    /// What the session service refuses.
    fn finish(&mut self, storage: &mut Storage, id: SessionId, caller: &[u8], now: Time) -> Result<Session>;

    /// Ends a session and gives its bytes back.
    ///
    /// # Errors
    /// What the session service refuses.
    fn abort(&mut self, storage: &mut Storage, id: SessionId, caller: &[u8], now: Time) -> Result<()>;
}

/// A chunk on its way in.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Who sends it.
    pub caller: &'a [u8],
    /// Its number.
    pub idx: u32,
    /// Its bytes.
    pub bytes: &'a [u8],
}

cfg_if::cfg_if! {
    if #[cfg(all(feature = "compat", feature = "direct"))] {
        pub(crate) mod compat;
        pub(crate) mod direct;
        mod staged;
        pub use staged::StagedPath as ActivePath;
        /// Name of the build.
        pub const BUILD: &str = "staged";
        /// Cargo features of the build.
        pub const FEATURES: &[&str] = &["compat", "direct"];
        /// Layouts that the build accepts at an upgrade.
        pub const LAYOUTS: &[Layout] = &[Layout::LEGACY, Layout::SPLIT];
        /// Layout of a fresh installation.
        pub const FRESH_LAYOUT: Layout = Layout::SPLIT;
    } else if #[cfg(feature = "compat")] {
        pub(crate) mod compat;
        pub use compat::CompatPath as ActivePath;
        /// Name of the build.
        pub const BUILD: &str = "legacy";
        /// Cargo features of the build.
        pub const FEATURES: &[&str] = &["compat"];
        /// Layouts that the build accepts at an upgrade.
        pub const LAYOUTS: &[Layout] = &[Layout::LEGACY];
        /// Layout of a fresh installation.
        pub const FRESH_LAYOUT: Layout = Layout::LEGACY;
    } else if #[cfg(feature = "direct")] {
        pub(crate) mod direct;
        pub use direct::DirectPath as ActivePath;
        /// Name of the build.
        pub const BUILD: &str = "direct";
        /// Cargo features of the build.
        pub const FEATURES: &[&str] = &["direct"];
        /// Layouts that the build accepts at an upgrade.
        pub const LAYOUTS: &[Layout] = &[Layout::LEGACY, Layout::SPLIT];
        /// Layout of a fresh installation.
        pub const FRESH_LAYOUT: Layout = Layout::SPLIT;
    } else {
        compile_error!("choose a session path: `--features compat` (legacy), `--features direct`, or both (staged)");
    }
}
