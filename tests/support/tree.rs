//! The folder of the checked-out tree.

use std::path::Path;

/// Returns the parent of the package of these tests, which is the folder `tests`.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
