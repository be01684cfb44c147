//! What to record: a kind of workload, a seed, and a size.

use std::fmt;
use std::str::FromStr;

/// A kind of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    /// One client, one file of many chunks.
    SingleLarge,
    /// Many files smaller than a chunk: each in a session, each in one call, several in one call.
    ManySmall,
    /// Several clients, with several calls (lanes) in flight at once.
    ParallelLanes,
    /// Files whose chunks are sent backwards or shuffled.
    OutOfOrder,
    /// Replies are lost, so calls are repeated; the client returns and asks for the status.
    FlakyClient,
    /// A client so slow that its sessions almost expire, or do expire.
    SlowClient,
    /// Calls beyond limits, with wrong hashes, with bytes that are not Candid, and about other callers' sessions.
    AbusiveClient,
    /// Several of these kinds at once.
    Mixed,
}

impl Workload {
    /// All kinds.
    pub const ALL: [Workload; 8] = [
        Workload::SingleLarge,
        Workload::ManySmall,
        Workload::ParallelLanes,
        Workload::OutOfOrder,
        Workload::FlakyClient,
        Workload::SlowClient,
        Workload::AbusiveClient,
        Workload::Mixed,
    ];

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Workload::SingleLarge => "single-large",
            Workload::ManySmall => "many-small",
            Workload::ParallelLanes => "parallel-lanes",
            Workload::OutOfOrder => "out-of-order",
            Workload::FlakyClient => "flaky-client",
            Workload::SlowClient => "slow-client",
            Workload::AbusiveClient => "abusive-client",
            Workload::Mixed => "mixed",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = || Workload::ALL.map(Workload::name).join(", ");
        Workload::ALL
            .into_iter()
            .find(|workload| workload.name() == text)
            .ok_or_else(|| format!("expected one of {}; got `{text}`", names()))
    }
}

/// A workload to record: an order for one, not a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The kind of workload.
    pub workload: Workload,
    /// Seed of the files' contents and of every random choice; the same seed results in the same calls.
    pub seed: u64,
    /// Scale factor: multiplies the number of files or, if there is only one, its size.
    pub size: u32,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "workload {}, seed {}, size {}", self.workload, self.seed, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_read_as_they_are_written() {
        for workload in Workload::ALL {
            assert_eq!(workload.to_string().parse(), Ok(workload));
        }
        assert!("large".parse::<Workload>().unwrap_err().contains("single-large, many-small"));
    }
}
