//! The checked-in interfaces, parsed.

use std::path::PathBuf;

use candid::TypeEnv;
use candid::types::Function;
use candid_parser::utils::CandidSource;
use session_migrate::build::Build;

/// Returns the path of a build's checked-in interface.
pub fn path(build: Build) -> PathBuf {
    super::tree::root().join("candid").join(format!("{build}.did"))
}

/// Returns the type definitions of a build's interface, and its functions in the order of the interface.
pub fn functions(build: Build) -> (TypeEnv, Vec<(String, Function)>) {
    let (env, service) = CandidSource::File(&path(build)).load().unwrap();
    let service = service.unwrap();
    let functions = env
        .as_service(&service)
        .unwrap()
        .iter()
        .map(|(name, function)| (name.clone(), env.as_func(function).unwrap().clone()))
        .collect();
    (env, functions)
}

/// Returns the names of the functions of a build's interface.
pub fn names(build: Build) -> Vec<String> {
    functions(build).1.into_iter().map(|(name, _)| name).collect()
}
