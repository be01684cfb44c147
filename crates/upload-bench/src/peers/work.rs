//! Does the [jobs](super::jobs), measures them, and checks that they were done.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::PeerFigures;
use super::jobs::{self, Job, State, Via, Way};
use super::peer::{Content, Peer, Stored};
use crate::compare;
use crate::cost::Cost;
use crate::error::BenchError;

/// Maximum number of minutes, with a timer run in each, until the bytes of deleted files must be freed.
const MAX_MINUTES: u32 = 100;

/// Number of rounds until a timer has the reply to its call.
const ROUNDS_OF_A_CALL: u32 = 4;

/// The cost of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCost {
    /// The name of the job.
    pub job: String,
    /// The state of the canister before the job.
    #[serde(flatten)]
    pub state: State,
    /// Number of executed messages.
    pub messages: u64,
    /// Instructions of these messages.
    pub instructions: u64,
    /// Bytes written to stable memory.
    pub stable_bytes_written: u64,
    /// Bytes in the pages of both memories that changed.
    pub delta_bytes: u64,
}

/// Does the jobs of each of these states, each job on a fresh canister; calls `done` after each. A job that the
/// canister cannot do is omitted. If a job does not have the result that its clients expect, returns
/// [`BenchError::State`].
pub fn measure(
    install: &dyn Fn() -> Result<Box<dyn Peer>, BenchError>,
    states: &[State],
    done: &dyn Fn(&JobCost),
) -> Result<Vec<JobCost>, BenchError> {
    let mut costs = Vec::new();
    for &state in states {
        for job in jobs::all().into_iter().filter(|job| state.includes(job)) {
            let filled = FilledCanister::new(install()?, state)?;
            let Some(cost) = filled.cost_of(&job)? else { continue };
            let cost = JobCost {
                job: job.to_string(),
                state,
                messages: cost.messages,
                instructions: cost.instructions,
                stable_bytes_written: cost.stable_bytes_written,
                delta_bytes: cost.delta_bytes(),
            };
            done(&cost);
            costs.push(cost);
        }
    }
    Ok(costs)
}

/// Describes the jobs whose figures are worse than the checked-in ones, or are not checked in.
pub fn faults(measured: &[PeerFigures], recorded: &[PeerFigures]) -> Vec<String> {
    let mut faults = Vec::new();
    for peer in measured {
        let recorded_peer = recorded.iter().find(|known| known.name == peer.name);
        let recorded_jobs = recorded_peer.map_or(&[][..], |known| known.jobs.as_slice());
        for cost in &peer.jobs {
            let JobCost { job, state: State { files, members }, .. } = cost;
            let name = format!("{}, {files} files, {members} members, {job}", peer.name);
            let Some(known) =
                recorded_jobs.iter().find(|known| known.job == *job && known.state == cost.state)
            else {
                faults.push(format!("{name}: not checked in"));
                continue;
            };
            let (before, now) = (known.instructions, cost.instructions);
            if compare::is_worse(before, now, compare::NOISE_INSTRUCTIONS) {
                faults.push(format!("{name}: instructions {before} -> {now}"));
            }
            let (before, now) = (known.stable_bytes_written, cost.stable_bytes_written);
            if compare::is_worse(before, now, 0) {
                faults.push(format!("{name}: stable bytes written {before} -> {now}"));
            }
        }
    }
    faults
}

/// A canister with the files of a state, and the keys to read these files by.
struct FilledCanister {
    peer: Box<dyn Peer>,
    state: State,
    read_keys: Vec<String>,
}

impl FilledCanister {
    fn new(peer: Box<dyn Peer>, state: State) -> Result<Self, BenchError> {
        let contents: Vec<Content> =
            (0..u64::from(state.files)).map(|number| Content::new(number, 1 << 10)).collect();
        let stored = peer.upload_together(&contents, false)?;
        if state.members > 1 {
            peer.fill_access_lists()?;
        }
        // In the minute after the first upload, the upload canister asks for the key of its access tokens.
        peer.canister().settle();
        (0..ROUNDS_OF_A_CALL).for_each(|_| peer.canister().tick());
        let read_keys = stored.into_iter().map(|stored| stored.read_key).collect();
        Ok(Self { peer, state, read_keys })
    }

    /// Returns files that differ from those of the state.
    fn new_files(&self, files: u32, bytes: u64) -> Vec<Content> {
        (0..u64::from(files))
            .map(|number| Content::new(u64::from(self.state.files) + number, bytes))
            .collect()
    }

    fn upload_each(&self, contents: &[Content]) -> Result<Vec<Stored>, BenchError> {
        contents.iter().map(|content| self.peer.upload(content)).collect()
    }

    /// Returns the cost and the result of `work`, without the messages before it.
    fn measure<T>(&self, work: impl FnOnce() -> Result<T, BenchError>) -> Result<(Cost, T), BenchError> {
        self.peer.canister().take_cost()?;
        let result = work()?;
        Ok((self.peer.canister().take_cost()?, result))
    }

    /// Does a job and checks its result. Returns its cost; `None` if the canister cannot do the job.
    fn cost_of(&self, job: &Job) -> Result<Option<Cost>, BenchError> {
        let peer = self.peer.as_ref();
        match job {
            Job::Upload { files, bytes, way } => {
                let contents = self.new_files(*files, *bytes);
                let (cost, stored) = self.measure(|| match way {
                    Way::AtOnce => contents.iter().map(|content| peer.upload_at_once(content)).collect(),
                    Way::InChunks => self.upload_each(&contents),
                    Way::Together => peer.upload_together(&contents, false),
                    Way::OnTrust => peer.upload_together(&contents, true),
                })?;
                for (content, stored) in contents.iter().zip(&stored) {
                    self.check_bytes(&content.bytes(0..*bytes), &peer.read(stored)?)?;
                }
                peer.canister().check_equal("files uploaded", contents.len(), stored.len())?;
                Ok(Some(cost))
            }
            Job::Read { bytes, range, via } => {
                let content = self.new_files(1, *bytes).remove(0);
                let stored = peer.upload(&content)?;
                let wanted = content.bytes(range.clone().unwrap_or(0..*bytes));
                let (cost, read) = match via {
                    Via::Query => self.measure(|| match range {
                        Some(range) => peer.read_range(&stored, range.clone()),
                        None => peer.read_small(&stored),
                    })?,
                    Via::Http | Via::PrivateHttp => {
                        let private = *via == Via::PrivateHttp;
                        let Some(url) = peer.open_to_browsers(&stored, private)? else { return Ok(None) };
                        self.measure(|| peer.browse(&url, range.clone()))?
                    }
                };
                self.check_bytes(&wanted, &read)?;
                Ok(Some(cost))
            }
            Job::Delete { files, bytes } => {
                let stored = self.upload_each(&self.new_files(*files, *bytes))?;
                let (mut cost, ()) = self.measure(|| peer.delete(&stored))?;
                for _ in 0..MAX_MINUTES {
                    if !peer.is_freeing()? {
                        break;
                    }
                    let pass_minute = || {
                        peer.canister().pass_time(Duration::from_secs(61));
                        Ok(())
                    };
                    cost += self.measure(pass_minute)?.0;
                }
                peer.canister().check_equal("timers that free bytes", false, peer.is_freeing()?)?;
                self.check_files(peer.list()?)?;
                Ok(Some(cost))
            }
            Job::List => {
                let (cost, list) = self.measure(|| peer.list())?;
                self.check_files(list)?;
                Ok(Some(cost))
            }
            Job::Upgrade => {
                let (cost, ()) = self.measure(|| {
                    peer.upgrade()?;
                    peer.canister().settle();
                    Ok(())
                })?;
                self.check_files(peer.list()?)?;
                Ok(Some(cost))
            }
        }
    }

    fn check_bytes(&self, wanted: &[u8], read: &[u8]) -> Result<(), BenchError> {
        let canister = self.peer.canister();
        canister.check_equal("bytes read", wanted.len(), read.len())?;
        canister.check_equal("the bytes read are those of the file", true, wanted == read)
    }

    /// Checks that the list has exactly the files of the state.
    fn check_files(&self, mut list: Vec<String>) -> Result<(), BenchError> {
        let mut wanted = self.read_keys.clone();
        wanted.sort();
        list.sort();
        let canister = self.peer.canister();
        canister.check_equal("number of files", wanted.len(), list.len())?;
        canister.check_equal("the files are those uploaded before", true, wanted == list)
    }
}

#[cfg(test)]
mod tests {
    use super::super::jobs::FEW;
    use super::*;

    fn figures(instructions: u64, stable_bytes_written: u64) -> Vec<PeerFigures> {
        let cost = JobCost {
            job: "list all files".into(),
            state: FEW,
            messages: 1,
            instructions,
            stable_bytes_written,
            delta_bytes: 0,
        };
        vec![PeerFigures { jobs: vec![cost], ..PeerFigures::of("direct") }]
    }

    #[test]
    fn jobs_that_are_worse_or_new_are_reported() {
        let before = figures(1_000_000, 100);
        assert_eq!(faults(&figures(1_020_000, 102), &before), Vec::<String>::new());
        assert_eq!(
            faults(&figures(1_021_000, 103), &before),
            [
                "direct, 10 files, 1 members, list all files: instructions 1000000 -> 1021000",
                "direct, 10 files, 1 members, list all files: stable bytes written 100 -> 103",
            ]
        );
        assert_eq!(faults(&before, &[]), ["direct, 10 files, 1 members, list all files: not checked in"]);
    }
}
