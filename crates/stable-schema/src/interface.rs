//! Compares the Candid interfaces of two builds, by Candid's rules and by what front ends can decode. (The function of
//! the same name in the root of the crate compares schemas.)
//!
//! A canister in Rust decodes a value as the specification says. The agent of most front ends, @icp-sdk/core (tested
//! with 6.1.0), deviates from the specification in these cases, which Candid's rules allow:
//!
//! | the front end was made for | the canister answers | what happens |
//! |---|---|---|
//! | more results | fewer, the others being `opt`, `null` or `reserved` | an error: wrong number of return values |
//! | `int` | `nat` | an error; within an `opt`, silently none |
//! | `opt opt t` | `t` | silently none |
//! | a field of type `null` | no such field | an error |
//! | a field of type `reserved` | no such field | silently an empty list |

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use candid::types::internal::Field;
use candid::types::subtype::{Gamma, OptReport, subtype_check_all, subtype_with_config};
use candid::types::{Type, TypeInner};
use candid::{TypeEnv, types::Function};
use candid_parser::utils::CandidSource;
use serde::Serialize;

use crate::candid_records::one_line;

/// A text that is not a Candid interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a Candid interface: {0}")]
pub struct NotCandid(String);

/// An incompatibility of a method.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct MethodNote {
    /// The method.
    pub method: String,
    /// What is incompatible about it.
    pub text: String,
}

impl fmt::Display for MethodNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.method, self.text)
    }
}

/// The comparison of two interfaces.
#[derive(Serialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceComparison {
    /// Where the new interface is not a subtype of the old one: clients of the old interface break.
    pub breaking: Vec<String>,
    /// What front ends of the old interface misread or cannot decode from the new build.
    pub upgrade: Vec<MethodNote>,
    /// What front ends of the new interface do not find, misread or cannot decode in the old build: after a rollback,
    /// or if the front ends are deployed before the new build.
    pub rollback: Vec<MethodNote>,
}

/// Compares two interfaces.
///
/// # Errors
/// [`NotCandid`] if a text is not a Candid interface.
pub fn compare(old: &str, new: &str) -> Result<InterfaceComparison, NotCandid> {
    let (old, new) = (Interface::parse(old)?, Interface::parse(new)?);
    let mut upgrade = front_end_notes(&old, &new);
    upgrade.extend(changed_options(&old, &new));
    let mut rollback = front_end_notes(&new, &old);
    for method in new.methods.keys().filter(|method| !old.methods.contains_key(*method)) {
        rollback
            .push(MethodNote { method: method.clone(), text: "the older build has no such method".into() });
    }
    let mut env = new.env.clone();
    let old_service = env.merge_type(old.env.clone(), old.service.clone());
    let errors = subtype_check_all(&mut Gamma::new(), &env, &new.service, &old_service);
    let breaking = errors.iter().map(|error| one_line(&error.to_string())).collect();
    Ok(InterfaceComparison { breaking, upgrade, rollback })
}

/// A parsed interface; `service` is its type without the arguments of the installation.
struct Interface {
    env: TypeEnv,
    service: Type,
    methods: BTreeMap<String, Function>,
}

impl Interface {
    fn parse(text: &str) -> Result<Self, NotCandid> {
        let from_parser = |error: candid_parser::Error| NotCandid(one_line(&error.to_string()));
        let from_candid = |error: candid::Error| NotCandid(one_line(&error.to_string()));
        let (env, service) = CandidSource::Text(text).load().map_err(from_parser)?;
        let service = service.ok_or_else(|| NotCandid("it has no service".into()))?;
        let service = match env.trace_type(&service).map_err(from_candid)?.as_ref() {
            TypeInner::Class(_, service) => service.clone(),
            _ => service,
        };
        let mut methods = BTreeMap::new();
        for (name, function) in env.as_service(&service).map_err(from_candid)? {
            methods.insert(name.clone(), env.as_func(function).map_err(from_candid)?.clone());
        }
        Ok(Self { env, service, methods })
    }
}

/// Lists the methods whose results contain an option that has another type in the new interface: a client of the old
/// interface reads such an option as null.
fn changed_options(old: &Interface, new: &Interface) -> Vec<MethodNote> {
    let mut notes = Vec::new();
    for (method, wanted) in &old.methods {
        let Some(function) = new.methods.get(method) else { continue };
        let mut env = new.env.clone();
        let check_subtype = |env: &TypeEnv, report, answered: &Type, wanted: &Type| {
            subtype_with_config(report, &mut Gamma::new(), env, answered, wanted)
        };
        for (answered, wanted) in function.rets.iter().zip(&wanted.rets) {
            let wanted = env.merge_type(old.env.clone(), wanted.clone());
            if check_subtype(&env, OptReport::Silence, answered, &wanted).is_ok()
                && let Err(error) = check_subtype(&env, OptReport::Error, answered, &wanted)
            {
                let text =
                    format!("an option of another type is read as null: {}", one_line(&error.to_string()));
                notes.push(MethodNote { method: method.clone(), text });
            }
        }
    }
    notes
}

/// Lists what is misread, or cannot be decoded, in the replies of `canister` by a front end that was made for the
/// interface `client`.
fn front_end_notes(client: &Interface, canister: &Interface) -> Vec<MethodNote> {
    let mut notes = Vec::new();
    for (method, wanted) in &client.methods {
        let Some(answered) = canister.methods.get(method) else { continue };
        let mut walk = ResultWalk {
            client: &client.env,
            canister: &canister.env,
            compared: HashSet::new(),
            notes: BTreeSet::new(),
        };
        let (expected, got) = (wanted.rets.len(), answered.rets.len());
        if expected > got {
            let text = format!("{got} results where {expected} are expected: an error in @icp-sdk/core");
            walk.notes.insert(text);
        }
        for (wanted, answered) in wanted.rets.iter().zip(&answered.rets) {
            walk.compare("the result", wanted, answered, false);
        }
        notes.extend(walk.notes.into_iter().map(|text| MethodNote { method: method.clone(), text }));
    }
    notes
}

/// Compares the results of one method, type by type, and collects the notes.
struct ResultWalk<'a> {
    client: &'a TypeEnv,
    canister: &'a TypeEnv,
    /// What has been compared already, so that recursive types end.
    compared: HashSet<(Type, Type, bool)>,
    notes: BTreeSet<String>,
}

impl ResultWalk<'_> {
    /// Compares the type that the front end expects with the canister's. Within an option, the agent of the front end
    /// hides some errors: it returns none.
    fn compare(&mut self, place: &str, wanted: &Type, answered: &Type, is_within_opt: bool) {
        if !self.compared.insert((wanted.clone(), answered.clone(), is_within_opt)) {
            return;
        }
        let (Ok(wanted), Ok(answered)) = (self.client.trace_type(wanted), self.canister.trace_type(answered))
        else {
            return;
        };
        match (wanted.as_ref(), answered.as_ref()) {
            (TypeInner::Int, TypeInner::Nat) => {
                let effect = if is_within_opt { "silently none" } else { "an error" };
                self.notes.insert(format!("{place} is nat where int is expected: {effect} in @icp-sdk/core"));
            }
            (TypeInner::Opt(wanted), TypeInner::Opt(answered)) => self.compare(place, wanted, answered, true),
            (TypeInner::Opt(_), TypeInner::Null | TypeInner::Reserved) => {}
            (TypeInner::Opt(wanted), _) => match self.client.trace_type(wanted) {
                Ok(inner) if matches!(inner.as_ref(), TypeInner::Opt(_)) => {
                    let text = "is not an option, where an option of an option is expected: silently none in @icp-sdk/core";
                    self.notes.insert(format!("{place} {text}"));
                }
                Ok(_) => self.compare(place, wanted, &answered, true),
                Err(_) => {}
            },
            (TypeInner::Vec(wanted), TypeInner::Vec(answered)) => {
                self.compare(&format!("{place}[]"), wanted, answered, is_within_opt);
            }
            (TypeInner::Record(wanted), TypeInner::Record(answered)) => {
                for field in wanted {
                    let place = format!("{place}.{}", field.id);
                    match find_field(answered, field) {
                        Some(other) => self.compare(&place, &field.ty, &other.ty, is_within_opt),
                        None => self.note_absent_field(&place, &field.ty),
                    }
                }
            }
            (TypeInner::Variant(wanted), TypeInner::Variant(answered)) => {
                for variant in answered {
                    if let Some(other) = find_field(wanted, variant) {
                        self.compare(
                            &format!("{place}.{}", variant.id),
                            &other.ty,
                            &variant.ty,
                            is_within_opt,
                        );
                    }
                }
            }
            _ => {}
        }
    }

    fn note_absent_field(&mut self, place: &str, wanted: &Type) {
        let Ok(wanted) = self.client.trace_type(wanted) else { return };
        let effect = match wanted.as_ref() {
            TypeInner::Null => "null, is absent: an error in @icp-sdk/core",
            TypeInner::Reserved => "reserved, is absent: silently an empty list in @icp-sdk/core",
            _ => return,
        };
        self.notes.insert(format!("{place}, {effect}"));
    }
}

/// Returns the field, or the variant, with the same id, which is the hash of the name.
fn find_field<'f>(fields: &'f [Field], wanted: &Field) -> Option<&'f Field> {
    fields.iter().find(|field| field.id.get_id() == wanted.id.get_id())
}
