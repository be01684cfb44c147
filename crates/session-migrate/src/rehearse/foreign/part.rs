//! The part of a report that only rehearsals of two wasms have.

use serde::{Deserialize, Serialize};

/// What a rehearsal of two wasms adds to the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanisterPart {
    /// The old wasm.
    pub old: String,
    /// The new wasm.
    pub new: String,
    /// The methods that were called.
    pub methods: Vec<MethodReport>,
    /// Interruptions that were made, one line each.
    pub interruptions: Vec<String>,
}

/// The calls of a method, and how they were answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodReport {
    /// The method.
    pub name: String,
    /// Whether the method is a query.
    pub is_query: bool,
    /// Calls of the method on the canister that is upgraded.
    pub calls: u64,
    /// Calls whose answer was compared with the old wasm's.
    pub compared: u64,
    /// Compared answers that differ.
    pub differ: u64,
    /// Whether the method's answers may differ (`--may-differ`), so that they were not compared.
    pub may_differ: bool,
}
