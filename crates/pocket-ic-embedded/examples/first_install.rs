//! Measures what the first installation of a module costs a server, without and with the compiled module on disk: the
//! tables in `BENCHMARKS.md`.
//!
//! `cargo run -p pocket-ic-embedded --example first_install -- SERVER MODULE`, where SERVER is the program, for example
//! `target/debug/pocket-ic-embedded`. Three servers are started, one after the other, and the module is installed on
//! each: the first caches nothing, the second has an empty folder for compiled modules, and the third has that folder,
//! which now contains the module.

use pocket_ic::PocketIcBuilder;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// Ends the server by SIGTERM when the value is dropped, so that the server shuts down in an orderly way even if this
/// program panics.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [program, module] = arguments.as_slice() else {
        eprintln!("usage: first_install SERVER MODULE");
        std::process::exit(2);
    };
    let module = fs::read(module).expect("the module can be read");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = folder.path().join("modules");
    println!(
        "| module of {} bytes, cache | seconds | CPU seconds | resident MB | peak MB |\n|---|---|---|---|---|",
        module.len()
    );
    measure("off", program, &module, Path::new("off"), folder.path());
    measure("on, new module", program, &module, &cache, folder.path());
    measure("on, cached module", program, &module, &cache, folder.path());
}

/// Starts a server, installs the module, and prints a row of the table. `what` is the first cell; `cache` is the folder
/// for compiled modules, or `off`; `folder` is for the port file.
fn measure(what: &str, program: &str, module: &[u8], cache: &Path, folder: &Path) {
    let port_file = folder.join("port");
    let _ = fs::remove_file(&port_file);
    let server = Server(
        Command::new(program)
            .arg("--port-file")
            .arg(&port_file)
            .env("POCKET_IC_EMBEDDED_MODULE_CACHE", cache)
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts"),
    );
    let port = loop {
        match fs::read_to_string(&port_file) {
            Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
            _ => thread::sleep(Duration::from_millis(5)),
        }
    };
    let url = format!("http://127.0.0.1:{port}/").parse().expect("a URL");
    let pic = PocketIcBuilder::new()
        .with_server_url(url)
        .with_max_request_time_ms(None)
        .with_application_subnet()
        .build();
    let canister = pic.create_canister();
    let before = processor_seconds(server.0.id());
    let begun = Instant::now();
    pic.install_canister(canister, module.to_vec(), vec![], None);
    let seconds = begun.elapsed().as_secs_f64();
    let processor = processor_seconds(server.0.id()) - before;
    let status = fs::read_to_string(format!("/proc/{}/status", server.0.id())).unwrap_or_default();
    let megabytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib: Option<f64> = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        kib.map_or("-".to_owned(), |kib| format!("{:.0}", kib * 1024.0 / 1e6))
    };
    println!("| {what} | {seconds:.2} | {processor:.2} | {} | {} |", megabytes("VmRSS"), megabytes("VmHWM"));
}

/// Returns the processor time that a process has used, in seconds; 0 where the system does not report it.
fn processor_seconds(process: u32) -> f64 {
    /// Linux's `USER_HZ`, the same on every machine.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    // The name is the second field. The first field after it is the third, so skipping eleven leads to the 14th and the
    // 15th: the times in user mode and in the kernel.
    let ticks = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}
