//! The folder in which compiled modules are cached: the one of the command line, else that of the environment
//! variable, else one in the user's cache folder.

use crate::engine::{ModuleCache, ModuleCacheError};
use crate::stderr;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The environment variable that names the folder, or is `off`. An empty value counts as not set.
const CACHE_VARIABLE: &str = "POCKET_IC_EMBEDDED_MODULE_CACHE";
/// The value of the variable, and of the option `--module-cache`, that disables the cache. (`./off` is a folder.)
const OFF: &str = "off";

/// Where compiled modules are kept for other processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheFolder {
    /// Nowhere: every process compiles for itself.
    Off,
    /// In this folder, which must belong to the user of the process, and which nobody else may be able to write to.
    At(PathBuf),
}

impl From<OsString> for CacheFolder {
    fn from(text: OsString) -> Self {
        if text == OFF { Self::Off } else { Self::At(text.into()) }
    }
}

impl CacheFolder {
    /// Returns the folder from `POCKET_IC_EMBEDDED_MODULE_CACHE`; if the variable is not set, one in the user's cache
    /// folder; `Off` if the variable says so, or if it is not set and the user has no cache folder.
    pub(crate) fn from_environment() -> Self {
        Self::chosen(env::var_os(CACHE_VARIABLE), dirs::cache_dir())
    }

    /// Like [`Self::from_environment`], for this value of the variable (`None`: not set) and this cache folder.
    fn chosen(variable: Option<OsString>, user_cache_folder: Option<PathBuf>) -> Self {
        match (variable.filter(|value| !value.is_empty()), user_cache_folder) {
            (Some(value), _) => value.into(),
            (None, Some(folder)) => Self::At(folder.join("pocket-ic-embedded").join("modules")),
            (None, None) => Self::Off,
        }
    }

    /// Opens the cache in this folder; returns `None` if the cache is off, and an error if the folder is unusable.
    pub(crate) fn open(&self) -> Result<Option<ModuleCache>, ModuleCacheError> {
        match self {
            Self::Off => Ok(None),
            Self::At(folder) => ModuleCache::open(folder).map(Some),
        }
    }

    /// Like [`Self::open`], but reports an unusable folder on standard error and returns `None`.
    pub(crate) fn open_if_possible(&self) -> Option<ModuleCache> {
        self.open().unwrap_or_else(|error| {
            stderr::print_line(format_args!(
                "pocket-ic-embedded: {error}. Compiled modules are not shared with other processes"
            ));
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_overrides_the_users_folder() {
        let user = || Some(PathBuf::from("/home/somebody/.cache"));
        let chosen = |value: &str| CacheFolder::chosen(Some(value.into()), user());
        assert_eq!(chosen("off"), CacheFolder::Off);
        assert_eq!(chosen("target/modules"), CacheFolder::At("target/modules".into()));
        let default = CacheFolder::At("/home/somebody/.cache/pocket-ic-embedded/modules".into());
        assert_eq!(chosen(""), default);
        assert_eq!(CacheFolder::chosen(None, user()), default);
        assert_eq!(CacheFolder::chosen(None, None), CacheFolder::Off);
    }
}
