//! The `record` command.

use std::net::SocketAddr;
use std::path::PathBuf;

use candid::Principal;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use reqwest::Url;
use session_migrate::progress::Progress;
use session_migrate::proxy::Options;
use session_migrate::replay::Builds;
use session_migrate::trace::{Trace, Writer};
use session_migrate::workload::{self, Order, Workload, WorkloadError};

use super::failure::{Failure, without_panic};
use super::proxy;
use super::replay::describe_calls;

#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    /// Synthetic workload to run.
    #[arg(long, value_name = "NAME", value_parser = workload_parser())]
    workload: Option<Workload>,
    /// Record real clients instead of a workload: listen at this address, forward everything to a PocketIC server, and
    /// record the calls to the first upload canister that appears. Port 0 selects a free port. Ctrl-C or SIGTERM
    /// finishes the trace.
    #[arg(long, value_name = "ADDRESS", requires = "server", conflicts_with_all = ["workload", "build", "seed", "size"])]
    proxy: Option<SocketAddr>,
    /// PocketIC server to forward to.
    #[arg(long, value_name = "URL", requires = "proxy")]
    server: Option<Url>,
    /// Record only this canister.
    #[arg(long, value_name = "ID", requires = "proxy")]
    canister: Option<Principal>,
    /// Build to record on: legacy, staged, direct, or a wasm file.
    #[arg(long, value_name = "BUILD", default_value = "legacy")]
    build: String,
    /// Seed for the contents and choices of the workload; the same seed gives the same calls.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Scale factor of the workload: multiplies the number of files.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    size: u32,
    /// Trace file to write.
    #[arg(value_name = "OUT")]
    out: PathBuf,
}

impl RecordArgs {
    pub fn has_proxy(&self) -> bool {
        self.proxy.is_some()
    }
}

pub(super) fn record(args: RecordArgs) -> Result<u8, Failure> {
    match (args.workload, args.proxy, args.server.clone()) {
        (_, Some(listen), Some(server)) => {
            proxy::record(Options { listen, server, out: args.out, canister: args.canister })
        }
        (Some(workload), _, _) => record_workload(workload, &args),
        _ => {
            let names = Workload::ALL.map(Workload::name).join(", ");
            Err(Failure::usage(format_args!(
                "nothing to record: give either --workload with one of {names}, or --proxy and --server"
            )))
        }
    }
}

/// Returns a parser of the names of workloads, which lists all names in the help.
fn workload_parser() -> impl TypedValueParser<Value = Workload> {
    PossibleValuesParser::new(Workload::ALL.map(Workload::name)).try_map(|name| name.parse())
}

fn record_workload(workload: Workload, args: &RecordArgs) -> Result<u8, Failure> {
    let order = Order { workload, seed: args.seed, size: args.size };
    let work = || -> Result<PathBuf, WorkloadError> {
        Writer::check(&args.out)?;
        let module = Builds::default().get(&args.build)?;
        let progress = Progress::stderr();
        progress.phase(format!("recording {} on {}", order.workload, args.build));
        workload::record(order, &args.build, &module, &args.out)
    };
    let recorded = without_panic(work)?.and_then(|path| Ok((describe_calls(&Trace::read(&path)?), path)));
    let (calls, path) = recorded.map_err(|error| Failure::of(error, WorkloadError::is_usage))?;
    say!("{}: {calls}, {order}, recorded on {}", path.display(), args.build);
    Ok(0)
}
