//! Errors of `cargo migrate plan`.

use std::path::PathBuf;

use crate::client::ClientError;
use crate::costs::CostError;
use crate::inspect::InspectError;
use crate::rehearse::RehearseError;
use crate::server::ServerError;
use crate::snapshot::{CopyError, SnapshotError};

/// Why no plan could be made. Reasons against the upgrade are not errors; they are in the [`Report`](super::Report).
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The snapshot cannot be inspected.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The snapshot is not in layout 1.
    #[error(
        "{path} is in stable layout {layout}, but a plan begins in layout 1: the staged upgrade has begun; \
        `inspect` shows its state"
    )]
    Layout {
        /// The snapshot.
        path: PathBuf,
        /// The layout of the snapshot.
        layout: u16,
    },
    /// The wasms are not available.
    #[error(transparent)]
    Wasms(#[from] RehearseError),
    /// There is no usable server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The snapshot cannot be loaded into a canister on the server.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The server does not report the cost of messages.
    #[error(transparent)]
    Costs(#[from] CostError),
    /// A call failed that no build refuses, such as reading the migration's status.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl PlanError {
    /// Returns whether the user's input is at fault, not the machine.
    pub fn is_usage(&self) -> bool {
        match self {
            PlanError::Inspect(error) => error.is_usage(),
            PlanError::Snapshot(error) => error.is_usage(),
            PlanError::Wasms(error) => error.is_usage(),
            PlanError::Layout { .. } | PlanError::Copy(_) => true,
            PlanError::Server(_) | PlanError::Costs(_) | PlanError::Client(_) => false,
        }
    }
}
