//! Runs the benchmarks of a canbench module on the embedded server and prints the instructions next to the
//! published ones.
//!
//! `cargo run -p pocket-ic-embedded --example canbench -- MODULE.wasm [canbench_results.yml]`. The module is one that
//! was built with `canbench-rs`: each of its queries `__canbench__<name>` runs a benchmark and replies with the
//! measurement. The results are a file that `canbench --persist` has written, with measurements on the official server.

use candid::{CandidType, Principal};
use clap::Parser;
use flate2::read::GzDecoder;
use pocket_ic::common::rest::{BlobCompression, IcpConfig, IcpConfigFlag};
use pocket_ic::{PocketIc, PocketIcBuilder};
use pocket_ic_embedded::EmbeddedServer;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wasmparser::{ExternalKind, Payload};

/// How the name of an exported benchmark begins; the name of the benchmark follows.
const BENCHMARK_PREFIX: &str = "canister_query __canbench__";
/// Maximum relative difference from a published count of instructions, for "within 0.1 %" in the report.
const SAME: f64 = 0.001;
/// Likewise, for "within 1 %": these include the counts within [`SAME`].
const CLOSE: f64 = 0.01;

#[derive(Parser)]
#[command(
    name = "canbench",
    about = "Runs a canbench module on the embedded server and compares its counts."
)]
struct Arguments {
    /// The module: wasm, gzipped or not.
    module: PathBuf,
    /// The published results: a `canbench_results.yml`.
    results: Option<PathBuf>,
    /// Run only benchmarks whose name contains this text.
    #[arg(long, default_value = "")]
    filter: String,
    /// The argument of `canister_init`, in hexadecimal.
    #[arg(long, value_name = "HEX", default_value = "")]
    init_arg: String,
    /// The contents of stable memory when the benchmarks begin.
    #[arg(long, value_name = "FILE")]
    stable_memory: Option<PathBuf>,
}

/// The measurement of a benchmark or of a part of it. Modules built with `canbench-rs` before 0.2 do not count calls.
#[derive(Debug, Clone, PartialEq, CandidType, Deserialize)]
struct Measurement {
    #[serde(default)]
    // Read, but not compared. The two increases are numbers of 64 KiB pages.
    calls: Option<u64>,
    instructions: u64,
    #[serde(default)]
    heap_increase: u64,
    #[serde(default)]
    stable_memory_increase: u64,
}

#[derive(Debug, Clone, PartialEq, CandidType, Deserialize)]
struct BenchResult {
    total: Measurement,
    #[serde(default)]
    scopes: BTreeMap<String, Measurement>,
}

#[derive(Debug, Deserialize)]
struct Published {
    benches: BTreeMap<String, BenchResult>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("canbench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the benchmarks and returns the report.
fn run(arguments: &Arguments) -> Result<String, Box<dyn Error>> {
    let module = read_file(&arguments.module)?;
    let mut names = benchmarks(&module)?;
    names.retain(|name| name.contains(&arguments.filter));
    if names.is_empty() {
        return Err(format!("{} has no such benchmark", arguments.module.display()).into());
    }
    let published = match &arguments.results {
        None => BTreeMap::new(),
        Some(path) => {
            let text = read_file(path)?;
            let results: Published =
                serde_yaml_ng::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            results.benches
        }
    };
    let server = EmbeddedServer::shared()?;
    // The method names of a module with many benchmarks may exceed the limits of a canister.
    let config =
        IcpConfig { function_name_length_limits: Some(IcpConfigFlag::Disabled), ..IcpConfig::default() };
    let pic = PocketIcBuilder::new()
        .with_server_url(server.url())
        .with_max_request_time_ms(None)
        .with_icp_config(config)
        .with_benchmarking_application_subnet()
        .build();
    let canister = pic.create_canister();
    pic.install_canister(canister, module, hex::decode(&arguments.init_arg)?, None);
    if let Some(path) = &arguments.stable_memory {
        pic.set_stable_memory(canister, read_file(path)?, BlobCompression::NoCompression);
    }
    let total = names.len();
    let results = names.into_iter().zip(1..).map(|(name, number)| {
        // Progress, since hundreds of benchmarks take minutes.
        eprintln!("{number} of {total}: {name}");
        let result = measure(&pic, canister, &name).map_err(|error| format!("{name}: {error}"))?;
        Ok((name, result))
    });
    Ok(report(&results.collect::<Result<_, String>>()?, &published))
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Returns the names of the benchmarks, in the module's order.
fn benchmarks(module: &[u8]) -> Result<Vec<String>, Box<dyn Error>> {
    let mut unpacked = Vec::new();
    let wasm = if module.starts_with(&[0x1f, 0x8b]) {
        GzDecoder::new(module).read_to_end(&mut unpacked)?;
        &unpacked
    } else {
        module
    };
    let mut names = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(exports) = payload? {
            for export in exports {
                let export = export?;
                if let (ExternalKind::Func, Some(name)) =
                    (export.kind, export.name.strip_prefix(BENCHMARK_PREFIX))
                {
                    names.push(name.to_owned());
                }
            }
        }
    }
    Ok(names)
}

fn measure(pic: &PocketIc, canister: Principal, name: &str) -> Result<BenchResult, String> {
    let method = format!("__canbench__{name}");
    let argument = candid::encode_one(()).map_err(|error| error.to_string())?;
    let reply = pic
        .query_call(canister, Principal::anonymous(), &method, argument)
        .map_err(|reject| reject.to_string())?;
    candid::decode_one(&reply).map_err(|error| error.to_string())
}

/// Returns a table of all counts of instructions, then a summary: how many counts are close to the published ones, the
/// range of the ratios of whole benchmarks (not of their parts), and what grew its memory by other numbers of pages.
fn report(results: &BTreeMap<String, BenchResult>, published: &BTreeMap<String, BenchResult>) -> String {
    let mut text = String::from("| benchmark | published | here | ratio |\n|---|---|---|---|\n");
    let (mut compared, mut same, mut close) = (0, 0, 0);
    let mut ratios = Vec::new();
    let mut with_other_page_counts = Vec::new();
    for (name, result) in results {
        let known = published.get(name);
        ratios.extend(known.map(|known| ratio(result.total.instructions, known.total.instructions)));
        let rows = [(name.clone(), &result.total, known.map(|known| &known.total))];
        let scopes = result.scopes.iter().map(|(scope, measured)| {
            (format!("{name} / {scope}"), measured, known.and_then(|known| known.scopes.get(scope)))
        });
        for (name, measured, reference) in rows.into_iter().chain(scopes) {
            let ratio = reference.map(|reference| ratio(measured.instructions, reference.instructions));
            let shown = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} |",
                shown(reference.map(|reference| reference.instructions)),
                measured.instructions,
                ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.4}"))
            );
            if let Some(ratio) = ratio {
                compared += 1;
                same += u32::from((ratio - 1.0).abs() <= SAME);
                close += u32::from((ratio - 1.0).abs() <= CLOSE);
            }
            if reference.is_some_and(|reference| {
                (measured.heap_increase, measured.stable_memory_increase)
                    != (reference.heap_increase, reference.stable_memory_increase)
            }) {
                with_other_page_counts.push(name);
            }
        }
    }
    let _ = write!(
        text,
        "\n{} benchmarks; of {compared} counts {same} within 0.1 % of the published ones, {close} within 1 %.",
        results.len()
    );
    ratios.sort_by(f64::total_cmp);
    if let (Some(lowest), Some(median), Some(highest)) =
        (ratios.first(), ratios.get(ratios.len() / 2), ratios.last())
    {
        let _ = write!(text, "\nRatios: lowest {lowest:.3}, median {median:.3}, highest {highest:.3}.");
    }
    if !with_other_page_counts.is_empty() {
        let _ = write!(text, "\nDifferent numbers of new pages: {}", with_other_page_counts.join(", "));
    }
    text
}

/// Returns `measured` divided by `reference`: 1 if both are 0, infinite if only `reference` is 0.
fn ratio(measured: u64, reference: u64) -> f64 {
    if measured == reference { 1.0 } else { measured as f64 / reference as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    /// Returns a module with one benchmark, which replies with `reply`, and two queries that are not benchmarks.
    fn module(reply: &BenchResult) -> Vec<u8> {
        let bytes = candid::encode_one(reply).unwrap();
        let escaped = bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "\\{byte:02x}").unwrap();
            text
        });
        let wat = format!(
            r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1) (data (i32.const 0) "{escaped}")
            (func (export "canister_query __canbench__one")
                (call $append (i32.const 0) (i32.const {})) (call $reply))
            (func (export "canister_query __tracing__one"))
            (func (export "canister_query other")))"#,
            bytes.len()
        );
        wat::parse_str(wat).unwrap()
    }

    fn measured(instructions: u64) -> Measurement {
        Measurement { calls: Some(1), instructions, heap_increase: 0, stable_memory_increase: 0 }
    }

    #[test]
    fn counts_are_printed_next_to_published_ones() {
        let dir = tempfile::tempdir().unwrap();
        let (wasm, results) = (dir.path().join("m.wasm"), dir.path().join("canbench_results.yml"));
        let scopes = [("part".to_owned(), measured(300))].into();
        fs::write(&wasm, module(&BenchResult { total: measured(1005), scopes })).unwrap();
        // The published total differs by 0.5 %, and in the pages of stable memory.
        let yaml = "benches:\n  one:\n    total:\n      calls: 1\n      instructions: 1000\n      heap_increase: 0\n      \
                    stable_memory_increase: 7\n    scopes:\n      part:\n        instructions: 300\nversion: 0.7.0\n";
        fs::write(&results, yaml).unwrap();
        let arguments = |filter: &str| Arguments {
            module: wasm.clone(),
            results: Some(results.clone()),
            filter: filter.to_owned(),
            init_arg: String::new(),
            stable_memory: None,
        };
        let text = run(&arguments("")).unwrap();
        for line in [
            "| one | 1000 | 1005 | 1.0050 |",
            "| one / part | 300 | 300 | 1.0000 |",
            "1 benchmarks; of 2 counts 1 within 0.1 % of the published ones, 2 within 1 %.",
            "Ratios: lowest 1.005, median 1.005, highest 1.005.",
            "Different numbers of new pages: one",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
        assert!(run(&arguments("none")).unwrap_err().to_string().contains("no such benchmark"));
    }
}
