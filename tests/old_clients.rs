//! What clients of the first public release can do with this canister: which of their calls are accepted, and which
//! replies they can decode. `docs/adopting.md` has the table.

use candid::TypeEnv;
use candid::types::subtype::{Gamma, subtype};
use candid::types::{Function, Label, Type, TypeInner};
use candid_parser::utils::CandidSource;
use session_migrate::build::Build;

use crate::support::{did, tree};

/// Returns the type that a result has in the case `name`, which is `Ok` or `Err`. Returns `None` if `ty` is not a
/// result.
fn result_case(env: &TypeEnv, ty: &Type, name: &str) -> Option<Type> {
    let ty = env.trace_type(ty).unwrap();
    let TypeInner::Variant(cases) = ty.as_ref() else { return None };
    let has_name = |label: &Label| *label == Label::Named(name.into());
    cases.iter().find(|case| has_name(&case.id)).map(|case| case.ty.clone())
}

/// Returns whether a value of the type `given` can be decoded as `expected`.
fn fits(env: &TypeEnv, given: &Type, expected: &Type) -> bool {
    subtype(&mut Gamma::new(), env, given, expected).is_ok()
}

/// Returns three cells of a function's row in the table: whether the function accepts the arguments of old clients, and
/// whether old clients can decode its `Ok` and its `Err`. (`old` and `new` are the types of one function.)
fn row_cells(env: &TypeEnv, old: &Function, new: &Function) -> [&'static str; 3] {
    let are_args_accepted = old.args.iter().zip(&new.args).all(|(old, new)| fits(env, old, new));
    let [old_reply, new_reply] = [old, new].map(|function| &function.rets[0]);
    let decodes = |name: &str| match (result_case(env, old_reply, name), result_case(env, new_reply, name)) {
        (Some(old), Some(new)) => fits(env, &new, &old),
        _ => fits(env, new_reply, old_reply),
    };
    let [ok, err] = ["Ok", "Err"].map(decodes);
    let cell = |yes: bool, good, bad| if yes { good } else { bad };
    [
        cell(are_args_accepted, "accepted", "**refused**"),
        cell(ok, "decodes", "**does not decode**"),
        match result_case(env, new_reply, "Err") {
            None => "none",
            Some(_) => cell(err, "decodes", "**does not decode**"),
        },
    ]
}

#[test]
fn the_table_for_old_clients_matches_every_build() {
    let page = std::fs::read_to_string(tree::root().join("docs/adopting.md")).unwrap();
    let path = tree::root().join("tests/golden/public-release.did");
    for build in Build::ALL {
        let (mut env, service) = CandidSource::File(&did::path(build)).load().unwrap();
        let (old_env, old_service) = CandidSource::File(&path).load().unwrap();
        let old_service = env.merge_type(old_env, old_service.unwrap());
        let service = service.unwrap();
        let new = env.as_service(&service).unwrap();
        let rows: Vec<String> = env
            .as_service(&old_service)
            .unwrap()
            .iter()
            .map(|(name, old)| {
                let old = env.as_func(old).unwrap();
                match new.iter().find(|(found, _)| found == name) {
                    None => format!("| `{name}` | there is no such function | | |"),
                    Some((_, new)) => {
                        let [args, ok, err] = row_cells(&env, old, env.as_func(new).unwrap());
                        format!("| `{name}` | {args} | {ok} | {err} |")
                    }
                }
            })
            .collect();
        let table = rows.join("\n");
        assert!(page.contains(&table), "docs/adopting.md must have this table for {build}:\n{table}");
    }
}
