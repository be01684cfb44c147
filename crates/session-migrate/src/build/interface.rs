//! Extraction of the Candid interface from a canister's wasm.
//!
//! The canister exports a function that returns a pointer to the interface's text, terminated by a zero byte. To read
//! the text, the module is instantiated for a single call of this function, with every imported function of the IC
//! replaced by one that traps.

use wasmtime::{Config, Engine, Linker, Module, Store};

use super::postprocess::candid_of;

/// The name of the exported function, which is a convention of Candid's tools.
const EXPORT: &str = "get_candid_pointer";

/// Errors of the extraction.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// The module lacks the export.
    #[error("the wasm does not export `{EXPORT}`")]
    NoExport,
    /// The module could not be loaded or the call trapped.
    #[error("running `{EXPORT}` failed: {0}")]
    Run(String),
    /// The pointer does not lead to a valid text.
    #[error("`{EXPORT}` does not point to a text that ends with a zero byte")]
    Text,
}

/// Returns the Candid interface of any canister's `wasm` (unpacked): from its metadata, or else from the exported
/// function; `None` if the module has neither, or the call of the function fails.
pub fn interface_of(wasm: &[u8]) -> Option<String> {
    candid_of(wasm).or_else(|| exported_interface(wasm).ok())
}

/// Returns the Candid interface of the canister `wasm` (unpacked) by calling the exported function; its metadata are
/// not read. The text ends with a line break.
///
/// # Errors
/// [`InterfaceError`].
pub fn exported_interface(wasm: &[u8]) -> Result<String, InterfaceError> {
    let run_error = |error: wasmtime::Error| InterfaceError::Run(format!("{error:#}"));
    let mut config = Config::new();
    // One short call: compile quickly rather than well.
    config.cranelift_opt_level(wasmtime::OptLevel::None);
    let engine = Engine::new(&config).map_err(run_error)?;
    let module = Module::new(&engine, wasm).map_err(run_error)?;
    let mut linker = Linker::new(&engine);
    linker.define_unknown_imports_as_traps(&module).map_err(run_error)?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).map_err(run_error)?;
    let pointer = instance
        .get_typed_func::<(), i32>(&mut store, EXPORT)
        .map_err(|_| InterfaceError::NoExport)?
        .call(&mut store, ())
        .map_err(run_error)?;
    let memory = instance.get_memory(&mut store, "memory").ok_or(InterfaceError::Text)?.data(&store);
    // A wasm address is unsigned.
    let text = memory.get(pointer as u32 as usize..).ok_or(InterfaceError::Text)?;
    let end = text.iter().position(|&byte| byte == 0).ok_or(InterfaceError::Text)?;
    let mut did = String::from_utf8(text[..end].to_vec()).map_err(|_| InterfaceError::Text)?;
    if !did.ends_with('\n') {
        did.push('\n');
    }
    Ok(did)
}
