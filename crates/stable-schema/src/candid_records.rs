//! Compares the Candid types of stored records.

use candid::TypeEnv;
use candid::types::Type;
use candid::types::subtype::{Gamma, OptReport, equal, subtype_with_config};
use candid_parser::utils::CandidSource;

use crate::candid_types::STORED;

/// Returns whether two texts define the same type as `stored`, however they name the types that it consists of; `false`
/// also if a text is not Candid.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let (Ok((mut env, one)), Ok((other_env, other))) = (parse(one), parse(other)) else { return false };
    let other = env.merge_type(other_env, other);
    equal(&mut Gamma::new(), &env, &one, &other).is_ok()
}

/// Returns `Ok(())` if a record of the type `written` decodes as `read` without losing anything.
///
/// Candid reads an option of another type as null. For an argument, that is intended; for stored data, it is a loss
/// and, here, an error.
pub(crate) fn check_readable(written: &str, read: &str) -> Result<(), String> {
    let (mut env, read) = parse(read)?;
    let (other, written) = parse(written)?;
    let written = env.merge_type(other, written);
    let checked = subtype_with_config(OptReport::Error, &mut Gamma::new(), &env, &written, &read);
    checked.map_err(|error| one_line(&error.to_string()))
}

/// Parses type definitions; returns them, and the type `stored` among them, which is that of the record itself.
fn parse(text: &str) -> Result<(TypeEnv, Type), String> {
    let (env, _) = CandidSource::Text(text).load().map_err(|error| one_line(&error.to_string()))?;
    let ty = env.find_type(STORED).map_err(|_| format!("no type `{STORED}`"))?.clone();
    Ok((env, ty))
}

/// Returns an error text of Candid's libraries as one line, without the explanation of Candid's special subtyping
/// rules.
pub(crate) fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.split(" due to special subtyping rules").next().unwrap_or_default();
    line.replace("WARNING: ", "")
}
