//! Options that name wasms to use instead of the builds of the tree.

use std::path::PathBuf;

use clap::Args;
use session_migrate::rehearse::Wasms;

// Wasms to use instead of the three builds. A doc comment here would become the help text of the command.
#[derive(Debug, Args)]
pub(super) struct WasmArgs {
    /// Use this wasm instead of the legacy build.
    #[arg(long, value_name = "WASM")]
    legacy: Option<PathBuf>,
    /// Use this wasm instead of the staged build.
    #[arg(long, value_name = "WASM")]
    staged: Option<PathBuf>,
    /// Use this wasm instead of the direct build.
    #[arg(long, value_name = "WASM")]
    direct: Option<PathBuf>,
}

impl From<WasmArgs> for Wasms {
    fn from(WasmArgs { legacy, staged, direct }: WasmArgs) -> Wasms {
        Wasms { legacy, staged, direct }
    }
}
