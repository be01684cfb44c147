//! Reads the inputs of a rehearsal of two wasms, before anything runs.

use std::path::{Path, PathBuf};

use candid::Principal;

use super::ForeignOptions;
use super::calls::{self, ParsedCall, Section};
use crate::build::{self, Methods, Module};
use crate::rehearse::RehearseError;
use crate::trace::{CallKind, Interface};

/// The old or the new wasm.
pub(super) struct RehearsedModule {
    pub path: PathBuf,
    pub module: Module,
    pub methods: Methods,
    /// Whether an upgrade to this wasm keeps the wasm memory.
    pub keeps_wasm_memory: bool,
    /// The Candid interface in the wasm, if there is one.
    pub interface: Option<Interface>,
}

impl RehearsedModule {
    fn read(path: &Path) -> Result<RehearsedModule, RehearseError> {
        let unusable = |why| RehearseError::File { path: path.to_path_buf(), why };
        let file = std::fs::read(path).map_err(|error| unusable(format!("cannot read: {error}")))?;
        let wrong = |source| RehearseError::Wasm { path: path.to_path_buf(), source };
        let wasm = build::unpack(&file).map_err(wrong)?.into_owned();
        let methods = build::methods(&wasm).map_err(wrong)?;
        let interface = build::interface_of(&wasm)
            .map(|text| Interface::parse_with(&text, build::init_args_of(&wasm).as_deref()))
            .transpose()
            .map_err(|why| unusable(format!("its Candid interface: {why}")))?;
        Ok(RehearsedModule {
            keeps_wasm_memory: build::keeps_wasm_memory(&wasm),
            module: Module::of(path, file)?,
            path: path.to_path_buf(),
            methods,
            interface,
        })
    }

    /// Encodes the arguments of an installation or upgrade; `option` is the name of the option that gives them.
    fn install_args(&self, option: &str, text: &str) -> Result<InstallArgs, RehearseError> {
        let unusable = |why| unusable_option(option, why);
        let args = calls::parse_arguments(text).map_err(unusable)?;
        let missing =
            self.interface.as_ref().and_then(|interface| interface.check_init_count(args.args.len()).err());
        let bytes = match &self.interface {
            Some(interface) => interface.encode_init(args),
            None => args.to_bytes().map_err(|error| error.to_string()),
        }
        .map_err(unusable)?;
        Ok(InstallArgs { bytes, missing })
    }
}

/// Returns an error with the option's name as its path.
fn unusable_option(option: &str, why: String) -> RehearseError {
    RehearseError::File { path: option.into(), why }
}

/// The arguments of an installation or upgrade, encoded.
struct InstallArgs {
    bytes: Vec<u8>,
    /// How many arguments `init` takes, and how many are given, if there are too few.
    missing: Option<String>,
}

/// A call with its encoded arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EncodedCall {
    pub line: usize,
    pub section: Section,
    pub caller: Principal,
    pub method: String,
    pub kind: CallKind,
    pub arg: Vec<u8>,
    /// Whether the old wasm has the method, so that the answers can be compared.
    pub old_has_method: bool,
}

/// What a rehearsal needs, read and checked.
pub(super) struct Inputs {
    pub old: RehearsedModule,
    pub new: RehearsedModule,
    pub calls: Vec<EncodedCall>,
    pub init_arg: Vec<u8>,
    pub upgrade_arg: Vec<u8>,
    /// How many arguments `init` of the new wasm takes, and how many an upgrade gives, if there are too few. Whether
    /// `post_upgrade` takes the same is not known.
    pub missing_upgrade_args: Option<String>,
}

impl Inputs {
    pub fn read(options: &ForeignOptions) -> Result<Inputs, RehearseError> {
        let (old, new) = (RehearsedModule::read(&options.old)?, RehearsedModule::read(&options.new)?);
        let path = &options.calls;
        let unusable = |why| RehearseError::File { path: path.clone(), why };
        let text =
            std::fs::read_to_string(path).map_err(|error| unusable(format!("cannot read: {error}")))?;
        let parsed = calls::parse(&text).map_err(unusable)?;
        let calls: Vec<EncodedCall> = parsed
            .into_iter()
            .map(|call| encode_call(&old, &new, call))
            .collect::<Result<_, _>>()
            .map_err(unusable)?;
        if let Some(name) =
            options.may_differ.iter().find(|name| !calls.iter().any(|call| call.method == **name))
        {
            return Err(unusable(format!("--may-differ {name}: it contains no call of this method")));
        }
        let init_args = old.install_args("--init-args", &options.init_args)?;
        if let Some(missing) = init_args.missing {
            return Err(unusable_option("--init-args", missing));
        }
        let upgrade_args = new.install_args("--upgrade-args", &options.upgrade_args)?;
        Ok(Inputs {
            init_arg: init_args.bytes,
            upgrade_arg: upgrade_args.bytes,
            missing_upgrade_args: upgrade_args.missing,
            old,
            new,
            calls,
        })
    }
}

fn encode_call(
    old: &RehearsedModule,
    new: &RehearsedModule,
    call: ParsedCall,
) -> Result<EncodedCall, String> {
    let ParsedCall { line, section, caller, method, args } = call;
    let failed = |why: String| format!("line {line}: {why}");
    let old_has_method = old.methods.has(&method);
    if !old_has_method && !new.methods.has(&method) {
        let (old, new) = (old.path.display(), new.path.display());
        return Err(failed(format!("neither {old} nor {new} has a method `{method}`")));
    }
    if !old_has_method && section == Section::Before {
        return Err(failed(format!(
            "{} has no method `{method}`, and [before] is played on it: call it in [during] or [after]",
            old.path.display()
        )));
    }
    if method.starts_with("migration_") {
        return Err(failed(format!("the rehearsal itself calls `{method}`: remove this call")));
    }
    // The wasm whose interface gives the types of the arguments.
    let declaring = if old_has_method { old } else { new };
    let arg = match declaring.interface.as_ref().filter(|interface| interface.has_method(&method)) {
        Some(interface) => interface.encode_all(&method, args),
        None => args.to_bytes().map_err(|error| error.to_string()),
    };
    let arg = arg.map_err(|why| failed(format!("{method}: {}", why.lines().next().unwrap_or_default())))?;
    let kind = if declaring.methods.queries.contains(&method) { CallKind::Query } else { CallKind::Update };
    Ok(EncodedCall { line, section, caller, method, kind, arg, old_has_method })
}
