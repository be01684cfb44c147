//! What a message prints: the newest texts within a bound, however much the wasm prints.

use std::collections::VecDeque;

/// The most that a canister's log can be set to keep, in bytes; hence the most that is kept of one message.
pub const MAX_LOG_BYTES: u64 = 2 << 20;
/// What a text takes in a log besides its own bytes: index and time with eight each, and the length with four.
pub const LOG_RECORD_BYTES: u64 = 20;
/// The longest text that is kept, in bytes: one that fills a log.
pub(super) const MAX_TEXT_BYTES: u64 = MAX_LOG_BYTES - LOG_RECORD_BYTES;

/// Texts of at most [`MAX_LOG_BYTES`] together.
#[derive(Default)]
pub(super) struct Texts {
    texts: VecDeque<Vec<u8>>,
    bytes: u64,
}

impl Texts {
    /// Appends a text of at most [`MAX_TEXT_BYTES`], and drops the oldest ones for it.
    pub(super) fn push(&mut self, text: Vec<u8>) {
        self.bytes += size(&text);
        self.texts.push_back(text);
        while self.bytes > MAX_LOG_BYTES {
            let Some(oldest) = self.texts.pop_front() else {
                break;
            };
            self.bytes -= size(&oldest);
        }
    }

    /// Returns the texts, oldest first.
    pub(super) fn into_vec(self) -> Vec<Vec<u8>> {
        self.texts.into()
    }
}

fn size(text: &[u8]) -> u64 {
    text.len() as u64 + LOG_RECORD_BYTES
}
