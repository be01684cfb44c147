//! The canister's Candid interface, as far as a trace needs it: names for the labels of a message, types for arguments.

use std::collections::HashMap;

use candid::types::value::{IDLArgs, IDLField, IDLValue, VariantValue};
use candid::types::{Label, Type, TypeInner};
use candid::{DecoderConfig, TypeEnv, idl_hash};
use candid_parser::utils::CandidSource;

use super::TraceError;

/// Maximum cost of decoding a message per byte, in the units of the Candid library, which counts 50 for a
/// byte of a blob and up to a few hundred for one of a small field. A message that costs more declares a
/// large number of values without bytes.
const UNITS_PER_BYTE: usize = 1_000;

/// What the smallest message may cost.
const UNITS: usize = 1_000_000;

/// The newest checked-in interface; those of the other builds and of earlier releases are supertypes of it.
const NEWEST: &str = include_str!("../../../../candid/direct.did");

/// A parsed interface.
#[derive(Clone, Debug)]
pub struct Interface {
    env: TypeEnv,
    service: Type,
    /// Labels by their hashes: a message contains only the hashes.
    labels: HashMap<u32, String>,
}

impl Interface {
    /// Returns the upload canister's interface.
    pub fn upload_canister() -> Result<Interface, TraceError> {
        let bad = |detail: String| TraceError::Interface(detail);
        let (env, service) = CandidSource::Text(NEWEST).load().map_err(|error| bad(error.to_string()))?;
        let service = service.ok_or_else(|| bad("it has no service".into()))?;
        let mut labels = HashMap::new();
        for ty in env.0.values() {
            collect_labels(ty, &mut labels);
        }
        Ok(Interface { env, service, labels })
    }

    /// Encodes arguments as a client of the interface does.
    pub(super) fn encode(&self, method: &str, args: IDLArgs) -> Result<Vec<u8>, String> {
        let function = self.env.get_method(&self.service, method).map_err(|error| error.to_string())?;
        let types = function
            .args
            .get(..args.args.len())
            .ok_or_else(|| format!("{method} takes {} arguments", function.args.len()))?;
        args.annotate_types(true, &self.env, types)
            .and_then(|args| args.to_bytes_with_types(&self.env, types))
            .map_err(|error| error.to_string())
    }

    /// Decodes a message by its own types, so that one from another release decodes, too.
    pub(super) fn decode(&self, message: &[u8]) -> Option<IDLArgs> {
        let mut config = DecoderConfig::new();
        config.set_decoding_quota(message.len().saturating_mul(UNITS_PER_BYTE).saturating_add(UNITS));
        let args = IDLArgs::from_bytes_with_config(message, &config).ok()?;
        Some(IDLArgs { args: args.args.into_iter().map(|value| self.named(value)).collect() })
    }

    fn named(&self, value: IDLValue) -> IDLValue {
        match value {
            IDLValue::Opt(inner) => IDLValue::Opt(Box::new(self.named(*inner))),
            IDLValue::Vec(values) => {
                IDLValue::Vec(values.into_iter().map(|value| self.named(value)).collect())
            }
            IDLValue::Record(fields) => {
                let mut fields: Vec<IDLField> =
                    fields.into_iter().map(|field| self.named_field(field)).collect();
                // A message has them in the order of their hashes; a reader expects the order of their names.
                fields.sort_by_key(|field| field.id.to_string());
                IDLValue::Record(fields)
            }
            IDLValue::Variant(VariantValue(field, index)) => {
                IDLValue::Variant(VariantValue(Box::new(self.named_field(*field)), index))
            }
            other => other,
        }
    }

    fn named_field(&self, field: IDLField) -> IDLField {
        let id = match &field.id {
            Label::Id(hash) => {
                self.labels.get(hash).map_or(Label::Id(*hash), |name| Label::Named(name.clone()))
            }
            id => id.clone(),
        };
        IDLField { id, val: self.named(field.val) }
    }
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
