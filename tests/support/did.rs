//! The checked-in interfaces, parsed.

use std::path::PathBuf;

use candid::TypeEnv;
use candid::types::Function;
use candid_parser::utils::CandidSource;
use session_migrate::build::Build;

pub fn path(build: Build) -> PathBuf {
    super::tree::root().join("candid").join(format!("{build}.did"))
}

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

pub fn names(build: Build) -> Vec<String> {
    functions(build).1.into_iter().map(|(name, _)| name).collect()
}
