//! Reads the inputs of a rehearsal of two wasms, before anything runs.

use std::path::{Path, PathBuf};

use candid::{IDLArgs, Principal};

use super::ForeignOptions;
use super::calls::{self, ParsedCall, Section};
use crate::build::{self, Methods, Module};
use crate::rehearse::RehearseError;
use crate::trace::{CallKind, Interface};

/// Which of the two wasms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    Old,
    New,
}

impl Release {
    pub fn name(self) -> &'static str {
        match self {
            Release::Old => "old",
            Release::New => "new",
        }
    }
}

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

    /// Encodes the arguments of an installation by the types of `init`.
    fn init_args(&self, text: &str) -> Result<Vec<u8>, RehearseError> {
        let unusable = |why| unusable_option("--init-args", why);
        let args = calls::parse_arguments(text).map_err(unusable)?;
        self.encode_init(args).map_err(unusable)
    }

    /// Encodes the arguments of an upgrade by the types of `init` or, if they do not fit these, by their own types:
    /// `post_upgrade` may take others, which no interface declares.
    fn upgrade_args(&self, text: &str) -> Result<UpgradeArgs, RehearseError> {
        let unusable = |why| unusable_option("--upgrade-args", why);
        let args = calls::parse_arguments(text).map_err(unusable)?;
        match self.encode_init(args.clone()) {
            Ok(bytes) => Ok(UpgradeArgs { bytes, unlike_init: None }),
            Err(why) => {
                let bytes = args.to_bytes().map_err(|error| unusable(error.to_string()))?;
                Ok(UpgradeArgs { bytes, unlike_init: Some(why) })
            }
        }
    }

    fn encode_init(&self, args: IDLArgs) -> Result<Vec<u8>, String> {
        match &self.interface {
            Some(interface) => interface.encode_init(args),
            None => args.to_bytes().map_err(|error| error.to_string()),
        }
    }
}

/// Returns an error with the option's name as its path.
fn unusable_option(option: &str, why: String) -> RehearseError {
    RehearseError::File { path: option.into(), why }
}

/// The arguments of an upgrade, encoded.
pub(super) struct UpgradeArgs {
    pub bytes: Vec<u8>,
    /// Why they are not arguments of `init`, if they are not; the cause, if the upgrade fails because of them.
    pub unlike_init: Option<String>,
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
    pub upgrade_args: UpgradeArgs,
}

impl Inputs {
    pub fn module(&self, release: Release) -> &RehearsedModule {
        match release {
            Release::Old => &self.old,
            Release::New => &self.new,
        }
    }

    /// Returns the arguments of an upgrade to a wasm. The upgrade back to the old wasm has those with which the old
    /// wasm was installed.
    pub fn arg_of_upgrade(&self, to: Release) -> &[u8] {
        match to {
            Release::Old => &self.init_arg,
            Release::New => &self.upgrade_args.bytes,
        }
    }

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
        Ok(Inputs {
            init_arg: old.init_args(&options.init_args)?,
            upgrade_args: new.upgrade_args(&options.upgrade_args)?,
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
