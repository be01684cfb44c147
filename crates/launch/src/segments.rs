//! Cargo's output on standard error, split into segments: a line ends in a line feed, the progress bar in a carriage
//! return.

use std::io::{BufReader, Bytes, Read};

/// A piece of the output, without what ends it.
#[derive(Debug, PartialEq)]
pub enum Segment {
    /// A line that stays on the screen.
    Line(String),
    /// The progress bar, which is replaced by the next one.
    Bar(String),
}

/// Escape code that cargo writes before a line that replaces the bar.
const CLEAR_TO_END: &str = "\x1b[K";

/// Iterates over the segments of a reader, until the reader ends or fails. If text without a line end is left by then,
/// it is the last line.
pub struct Segments<R> {
    bytes: Bytes<BufReader<R>>,
}

impl<R: Read> Segments<R> {
    pub fn new(reader: R) -> Segments<R> {
        Segments { bytes: BufReader::new(reader).bytes() }
    }
}

impl<R: Read> Iterator for Segments<R> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let mut text = Vec::new();
        loop {
            let byte = self.bytes.next().and_then(Result::ok);
            let segment_text =
                || String::from_utf8_lossy(&text).trim_start_matches(CLEAR_TO_END).trim_end().to_owned();
            match byte {
                Some(b'\n') => return Some(Segment::Line(segment_text())),
                Some(b'\r') => return Some(Segment::Bar(segment_text())),
                Some(byte) => text.push(byte),
                None if text.is_empty() => return None,
                None => {
                    let rest = segment_text();
                    return (!rest.is_empty()).then_some(Segment::Line(rest));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(text: &str) -> Vec<Segment> {
        Segments::new(text.as_bytes()).collect()
    }

    #[test]
    fn lines_and_the_progress_bar_are_separated() {
        let output = "   Compiling a v1.0.0\n    Building [=>  ] 1/2: b     \r\x1b[K   Compiling c v1.0.0\n";
        let expected = [
            Segment::Line("   Compiling a v1.0.0".into()),
            Segment::Bar("    Building [=>  ] 1/2: b".into()),
            Segment::Line("   Compiling c v1.0.0".into()),
        ];
        assert_eq!(segments(output), expected);
    }

    #[test]
    fn output_without_a_line_end_is_not_lost() {
        assert_eq!(segments("error: no"), [Segment::Line("error: no".into())]);
        assert_eq!(segments("error\n\x1b[K"), [Segment::Line("error".into())]);
        assert_eq!(segments(""), []);
    }
}
