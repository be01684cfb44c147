//! Snapshots on disk: a folder, or a file with stable memory.

/// The form of a snapshot on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A folder as `icp`, `dfx` or PocketIC writes it.
    Folder,
    /// The bytes of stable memory.
    Raw,
    /// The gzipped bytes of stable memory.
    Gzip,
}

impl Form {
    /// Returns the form as text.
    pub fn name(self) -> &'static str {
        match self {
            Form::Folder => "snapshot folder",
            Form::Raw => "raw stable memory",
            Form::Gzip => "gzipped stable memory",
        }
    }
}
