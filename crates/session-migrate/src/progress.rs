//! Progress output: a moving bar on a terminal; without a terminal, lines, of which no two in a phase are more than
//! `SILENCE` apart. Keeps the time of each phase for the report.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::page;
use crate::utc::utc;

/// Without a terminal, the current phase is printed again after this time without output.
const SILENCE: Duration = Duration::from_secs(5);

/// Time between two redrawings of the bar on a terminal.
const FRAME: Duration = Duration::from_millis(250);

/// A phase and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Name of the phase.
    pub name: String,
    /// When the phase began, in UTC.
    pub began: String,
    /// Duration of the phase in real time.
    pub seconds: f64,
}

/// Reports progress until it is dropped.
pub struct Progress {
    shared: Arc<Shared>,
    /// Drawn on a terminal only; hidden otherwise.
    bar: ProgressBar,
    /// Repeats the current phase in lines; `None` if no lines are printed.
    ticker: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the ticker so that it ends.
    ended: Condvar,
}

struct State {
    /// `None` before the first phase, during [`Progress::silent`] and at the end.
    current: Option<CurrentPhase>,
    phases: Vec<Phase>,
    /// Bytes moved so far, in all phases.
    moved: u64,
    /// `None` if it is unknown how many bytes will be moved, and then no total is shown.
    total: Option<Total>,
    /// Where lines are printed; `None` on a terminal, and if nothing is reported ([`Progress::hidden`]).
    lines: Option<Box<dyn Write + Send>>,
    last_line: Instant,
    has_ended: bool,
}

/// How many bytes will be moved from the moment at which this was set, in the current phase and in later ones.
#[derive(Clone, Copy)]
struct Total {
    bytes: u64,
    /// Bytes that had been moved before that moment.
    moved_before: u64,
}

struct CurrentPhase {
    name: String,
    began: SystemTime,
    since: Instant,
    moved_before: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in another thread leaves at most an unfinished line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Describes the current phase: its time and rate, but the bytes of all phases since the total was set. `None`
    /// between phases.
    fn current_line(&self) -> Option<String> {
        let CurrentPhase { name, since, moved_before, .. } = self.current.as_ref()?;
        let seconds = since.elapsed().as_secs_f64();
        let mut line = format!("{name}: {seconds:.0} s");
        // Moved in this phase, for the rate.
        let moved = self.moved - moved_before;
        if let Some(Total { bytes, moved_before }) = self.total {
            // Writing to a string does not fail.
            let _ = write!(line, ", {} of {}", page::bytes(self.moved - moved_before), page::bytes(bytes));
        }
        if moved > 0 && seconds > 0.0 {
            let _ = write!(line, ", {}/s", page::bytes((moved as f64 / seconds) as u64));
        }
        Some(line)
    }

    fn print_line(&mut self, line: &str) {
        self.last_line = Instant::now();
        if let Some(out) = &mut self.lines {
            // Nothing can be done if the reader has closed the stream.
            let _ = writeln!(out, "{line}");
        }
    }

    fn end_phase(&mut self) {
        if let Some(CurrentPhase { name, began, since, .. }) = self.current.take() {
            self.phases.push(Phase { name, began: utc(began), seconds: since.elapsed().as_secs_f64() });
        }
    }
}

impl Progress {
    /// Reports progress on standard error.
    pub fn stderr() -> Progress {
        let stderr = std::io::stderr();
        if stderr.is_terminal() {
            Progress::start(ProgressDrawTarget::stderr(), None, FRAME)
        } else {
            Progress::start(ProgressDrawTarget::hidden(), Some(Box::new(stderr)), SILENCE)
        }
    }

    /// Reports nothing, but keeps the times.
    pub fn hidden() -> Progress {
        Progress::start(ProgressDrawTarget::hidden(), None, SILENCE)
    }

    fn start(
        target: ProgressDrawTarget,
        lines: Option<Box<dyn Write + Send>>,
        silence: Duration,
    ) -> Progress {
        let shows_lines = lines.is_some();
        let state = State {
            current: None,
            phases: Vec::new(),
            moved: 0,
            total: None,
            lines,
            last_line: Instant::now(),
            has_ended: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), ended: Condvar::new() });
        let bar = ProgressBar::with_draw_target(None, target);
        let ticker = shows_lines.then(|| {
            let shared = shared.clone();
            std::thread::spawn(move || report_after_silence(&shared, silence))
        });
        Progress { shared, bar, ticker }
    }

    /// Ends the current phase, and begins the phase `name`.
    pub fn phase(&self, name: impl Into<String>) {
        let name = name.into();
        let mut state = self.shared.state();
        state.end_phase();
        let moved_before = state.moved;
        state.print_line(&name);
        state.current =
            Some(CurrentPhase { name, began: SystemTime::now(), since: Instant::now(), moved_before });
        drop(state);
        if !self.bar.is_hidden() {
            self.draw_bar();
        }
    }

    fn draw_bar(&self) {
        let template = if self.bar.length().is_some() { "{bar:30} {line}" } else { "{spinner} {line}" };
        let shared = self.shared.clone();
        let line = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&shared.state().current_line().unwrap_or_default());
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.with_key("line", line));
        }
        self.bar.enable_steady_tick(FRAME);
    }

    /// Runs `work` as a phase during which this progress is silent, because `work` prints output of its own.
    pub fn silent<T>(&self, name: &str, work: impl FnOnce() -> T) -> T {
        self.shared.state().end_phase();
        let (began, since) = (SystemTime::now(), Instant::now());
        let done = self.bar.suspend(work);
        let mut state = self.shared.state();
        let seconds = since.elapsed().as_secs_f64();
        state.phases.push(Phase { name: name.to_owned(), began: utc(began), seconds });
        done
    }

    /// Sets the number of bytes to move from now on, in this phase and in later ones. Bytes that were moved before do
    /// not count.
    pub fn set_total(&self, bytes: u64) {
        let mut state = self.shared.state();
        state.total = Some(Total { bytes, moved_before: state.moved });
        drop(state);
        self.bar.set_position(0);
        self.bar.set_length(bytes);
        if !self.bar.is_hidden() {
            self.draw_bar();
        }
    }

    /// Adds bytes that were read or sent.
    pub fn add_bytes(&self, bytes: u64) {
        self.shared.state().moved += bytes;
        self.bar.inc(bytes);
    }

    /// Prints a line that the bar does not overwrite; nothing if hidden ([`Progress::hidden`]).
    pub fn line(&self, line: &str) {
        if self.bar.is_hidden() {
            self.shared.state().print_line(line);
        } else {
            self.bar.println(line);
        }
    }

    /// Ends the current phase and returns all phases.
    pub fn finish(&self) -> Vec<Phase> {
        self.bar.finish_and_clear();
        let mut state = self.shared.state();
        state.end_phase();
        std::mem::take(&mut state.phases)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        self.shared.state().has_ended = true;
        self.shared.ended.notify_all();
        if let Some(ticker) = self.ticker.take() {
            // The thread does not panic. Even if it did, the work would be done.
            let _ = ticker.join();
        }
    }
}

/// Prints how long the current phase has taken, whenever nothing was printed for `silence`.
fn report_after_silence(shared: &Shared, silence: Duration) {
    let mut state = shared.state();
    while !state.has_ended {
        let left = silence.saturating_sub(state.last_line.elapsed());
        if left.is_zero() {
            match state.current_line() {
                Some(line) => state.print_line(&line),
                None => state.last_line = Instant::now(),
            }
            continue;
        }
        state = shared.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Sends what is printed to the test.
    struct Lines(Sender<String>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.0.send(text).map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn progress_in_lines(silence: Duration) -> (Progress, Receiver<String>) {
        let (sender, receiver) = channel();
        (Progress::start(ProgressDrawTarget::hidden(), Some(Box::new(Lines(sender))), silence), receiver)
    }

    fn expect_line(lines: &Receiver<String>, words: &str) {
        let mut read = String::new();
        while !read.contains(words) {
            read += &lines
                .recv_timeout(Duration::from_secs(60))
                .unwrap_or_else(|_| panic!("no line with `{words}`: {read}"));
        }
    }

    #[test]
    fn long_work_without_a_terminal_is_reported_repeatedly() {
        let (progress, printed) = progress_in_lines(Duration::from_millis(1));
        progress.phase("moving");
        for _ in 0..3 {
            expect_line(&printed, "moving: 0 s\n");
        }
        progress.set_total(2 << 20);
        progress.add_bytes(1 << 20);
        expect_line(&printed, ", 1.00 MiB of 2.00 MiB, ");
    }

    #[test]
    fn bytes_moved_before_the_total_was_set_do_not_count() {
        let (progress, printed) = progress_in_lines(Duration::from_millis(1));
        progress.phase("verifying");
        progress.add_bytes(5 << 20);
        progress.phase("uploading");
        progress.set_total(2 << 20);
        progress.add_bytes(1 << 20);
        expect_line(&printed, ", 1.00 MiB of 2.00 MiB, ");
        progress.phase("hashing");
        progress.set_total(4 << 20);
        expect_line(&printed, ", 0 B of 4.00 MiB\n");
        assert_eq!((progress.bar.position(), progress.bar.length()), (0, Some(4 << 20)));
    }

    #[test]
    fn lines_of_the_work_are_printed_unchanged() {
        let (progress, printed) = progress_in_lines(Duration::from_secs(3_600));
        progress.phase("compiling");
        progress.line("   Compiling a v0.1.0");
        drop(progress);
        let all: String = printed.try_iter().collect();
        assert_eq!(all, "compiling\n   Compiling a v0.1.0\n");
    }

    #[test]
    fn the_rate_is_that_of_the_phase_alone() {
        let now = Instant::now();
        let at = |seconds: u64| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        let current = |since, moved_before| {
            Some(CurrentPhase { name: "reading".into(), began: SystemTime::now(), since, moved_before })
        };
        let mut state = State {
            current: current(at(10), 90 << 20),
            phases: Vec::new(),
            moved: 100 << 20,
            total: Some(Total { bytes: 200 << 20, moved_before: 0 }),
            lines: None,
            last_line: now,
            has_ended: false,
        };
        let line = state.current_line().unwrap();
        assert!(line.starts_with("reading: 10 s, 100 MiB of 200 MiB, "), "{line}");
        // Slightly more than 10 s may have passed.
        assert!(line.ends_with("1.00 MiB/s") || line.ends_with("1023 KiB/s"), "{line}");
        state.current = current(at(10), 100 << 20);
        assert_eq!(state.current_line().unwrap(), "reading: 10 s, 100 MiB of 200 MiB");
    }

    #[test]
    fn every_phase_is_kept_with_its_time() {
        let progress = Progress::hidden();
        progress.phase("one");
        assert_eq!(progress.silent("two", || 7), 7);
        progress.phase("three");
        let phases = progress.finish();
        let names: Vec<&str> = phases.iter().map(|phase| phase.name.as_str()).collect();
        assert_eq!(names, ["one", "two", "three"]);
        assert!(phases.iter().all(|phase| phase.seconds >= 0.0 && phase.began.ends_with('Z')));
    }
}
