//! A canister's Candid interface: the names of labels, and the types of arguments and replies.

use std::collections::HashMap;

use candid::types::value::{IDLArgs, IDLField, IDLValue, VariantValue};
use candid::types::{Label, Type, TypeInner};
use candid::{DecoderConfig, TypeEnv, idl_hash};
use candid_parser::utils::{CandidSource, merge_init_args};

use super::TraceError;

/// Decoding quota per byte of a message, in the units of the Candid library. The library counts 50 for a byte of a
/// blob, and up to a few hundred for a byte of a small field. A message that costs more declares a large number of
/// values that take no bytes.
const UNITS_PER_BYTE: usize = 1_000;

/// Decoding quota of every message in addition to [`UNITS_PER_BYTE`].
const BASE_UNITS: usize = 1_000_000;

/// The newest checked-in interface. The interfaces of the other builds and of earlier releases are its supertypes, so
/// its labels include theirs.
const NEWEST: &str = include_str!("../../../../candid/direct.did");

/// A parsed interface.
#[derive(Clone, Debug)]
pub struct Interface {
    env: TypeEnv,
    service: Type,
    /// Labels by their hashes; a message contains only hashes.
    labels: HashMap<u32, String>,
}

impl Interface {
    /// Returns the upload canister's interface.
    pub fn upload_canister() -> Result<Interface, TraceError> {
        Interface::parse(NEWEST).map_err(TraceError::Interface)
    }

    /// Parses an interface.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Interface, String> {
        Interface::parse_with(text, None)
    }

    /// Parses an interface, and the types of the arguments of `init` if they are given separately.
    pub(crate) fn parse_with(text: &str, init_args: Option<&str>) -> Result<Interface, String> {
        let (env, service) = match init_args {
            Some(init_args) => merge_init_args(text, init_args).map(|(env, service)| (env, Some(service))),
            None => CandidSource::Text(text).load(),
        }
        .map_err(|error| first_line(&error))?;
        let service = service.ok_or("it has no service")?;
        let mut labels = HashMap::new();
        for ty in env.0.values() {
            collect_labels(ty, &mut labels);
        }
        Ok(Interface { env, service, labels })
    }

    /// Encodes arguments by the types of the interface, as clients do. Trailing arguments may be missing, even required
    /// ones.
    pub(super) fn encode(&self, method: &str, args: IDLArgs) -> Result<Vec<u8>, String> {
        let function = self.env.get_method(&self.service, method).map_err(|error| error.to_string())?;
        self.encode_as(method, &function.args, args)
    }

    /// Encodes arguments like [`Interface::encode`]; only optional arguments may be missing.
    pub(crate) fn encode_all(&self, method: &str, args: IDLArgs) -> Result<Vec<u8>, String> {
        let function = self.env.get_method(&self.service, method).map_err(|error| error.to_string())?;
        self.check_count(method, &function.args, args.args.len())?;
        self.encode(method, args)
    }

    /// Checks that at least all arguments that are not optional are given.
    fn check_count(&self, method: &str, types: &[Type], given: usize) -> Result<(), String> {
        let is_required = |ty: &Type| {
            let ty = self.env.trace_type(ty);
            !ty.is_ok_and(|ty| {
                matches!(ty.as_ref(), TypeInner::Opt(_) | TypeInner::Null | TypeInner::Reserved)
            })
        };
        if types.iter().skip(given).any(is_required) {
            return Err(format!("{method} takes {} arguments, got {given}", types.len()));
        }
        Ok(())
    }

    /// Encodes arguments of the canister's `init` by the types of the interface or, if the interface declares no
    /// `init`, by the arguments' own types. Only optional arguments may be missing.
    pub(crate) fn encode_init(&self, args: IDLArgs) -> Result<Vec<u8>, String> {
        let service = self.env.trace_type(&self.service).map_err(|error| first_line(&error))?;
        match service.as_ref() {
            TypeInner::Class(types, _) => {
                self.check_count("init", types, args.args.len())?;
                self.encode_as("init", types, args)
            }
            _ => args.to_bytes().map_err(|error| first_line(&error)),
        }
    }

    /// Encodes arguments by the first of these types; `method` is for the error.
    fn encode_as(&self, method: &str, types: &[Type], args: IDLArgs) -> Result<Vec<u8>, String> {
        let types = types
            .get(..args.args.len())
            .ok_or_else(|| format!("{method} takes {} arguments", types.len()))?;
        args.annotate_types(true, &self.env, types)
            .and_then(|args| args.to_bytes_with_types(&self.env, types))
            .map_err(|error| error.to_string())
    }

    /// Decodes a reply by the types of the interface, as clients do; `None` if the reply does not fit them.
    pub(crate) fn decode_reply(&self, method: &str, reply: &[u8]) -> Option<IDLArgs> {
        let function = self.env.get_method(&self.service, method).ok()?;
        IDLArgs::from_bytes_with_types(reply, &self.env, &function.rets).ok()
    }

    pub(crate) fn has_method(&self, method: &str) -> bool {
        self.env.get_method(&self.service, method).is_ok()
    }

    /// Decodes a message by its own types, so that messages of other releases decode, too. `None` if it is not Candid,
    /// or exceeds the decoding quota.
    pub(super) fn decode(&self, message: &[u8]) -> Option<IDLArgs> {
        let mut config = DecoderConfig::new();
        config.set_decoding_quota(message.len().saturating_mul(UNITS_PER_BYTE).saturating_add(BASE_UNITS));
        let args = IDLArgs::from_bytes_with_config(message, &config).ok()?;
        Some(IDLArgs { args: args.args.into_iter().map(|value| self.with_labels(value)).collect() })
    }

    /// Replaces the hashes of labels by the labels, where they are known.
    fn with_labels(&self, value: IDLValue) -> IDLValue {
        match value {
            IDLValue::Opt(inner) => IDLValue::Opt(Box::new(self.with_labels(*inner))),
            IDLValue::Vec(values) => {
                IDLValue::Vec(values.into_iter().map(|value| self.with_labels(value)).collect())
            }
            IDLValue::Record(fields) => {
                let mut fields: Vec<IDLField> =
                    fields.into_iter().map(|field| self.field_with_label(field)).collect();
                // In a message, fields are sorted by hash. Sorted by name, they are easier to read.
                fields.sort_by_key(|field| field.id.to_string());
                IDLValue::Record(fields)
            }
            IDLValue::Variant(VariantValue(field, index)) => {
                IDLValue::Variant(VariantValue(Box::new(self.field_with_label(*field)), index))
            }
            other => other,
        }
    }

    fn field_with_label(&self, field: IDLField) -> IDLField {
        let id = match &field.id {
            Label::Id(hash) => {
                self.labels.get(hash).map_or(Label::Id(*hash), |name| Label::Named(name.clone()))
            }
            id => id.clone(),
        };
        IDLField { id, val: self.with_labels(field.val) }
    }
}

/// Returns the first line of a parser's error; the further lines are an excerpt of the text.
fn first_line(error: &impl ToString) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn collect_labels(ty: &Type, labels: &mut HashMap<u32, String>) {
    match ty.as_ref() {
        TypeInner::Opt(inner) | TypeInner::Vec(inner) => collect_labels(inner, labels),
        TypeInner::Record(fields) | TypeInner::Variant(fields) => {
            for field in fields {
                if let Label::Named(name) = field.id.as_ref() {
                    labels.insert(idl_hash(name), name.clone());
                }
                collect_labels(&field.ty, labels);
            }
        }
        _ => {}
    }
}
