//! The texts that a message prints: only the newest are kept, up to a limit.

use std::collections::VecDeque;

/// Maximum size to which a canister's log can be set, in bytes; therefore also the maximum total size of the texts that
/// are kept of one message.
pub const MAX_LOG_BYTES: u64 = 2 << 20;
/// Bytes that a text takes in a log in addition to its own bytes: eight for its index, eight for its time, four for its
/// length.
pub const LOG_RECORD_BYTES: u64 = 20;
/// Maximum length of a text that is kept, in bytes: a text of this length fills a log.
pub(super) const MAX_TEXT_BYTES: u64 = MAX_LOG_BYTES - LOG_RECORD_BYTES;

/// Texts that together take at most [`MAX_LOG_BYTES`] in a log.
#[derive(Default)]
pub(super) struct Texts {
    texts: VecDeque<Vec<u8>>,
    bytes: u64,
}

impl Texts {
    /// Appends a text of at most [`MAX_TEXT_BYTES`], dropping the oldest ones if necessary.
    pub(super) fn push(&mut self, text: Vec<u8>) {
        self.bytes += bytes_in_log(&text);
        self.texts.push_back(text);
        while self.bytes > MAX_LOG_BYTES {
            let Some(oldest) = self.texts.pop_front() else {
                break;
            };
            self.bytes -= bytes_in_log(&oldest);
        }
    }

    /// Returns the texts, oldest first.
    pub(super) fn into_vec(self) -> Vec<Vec<u8>> {
        self.texts.into()
    }
}

fn bytes_in_log(text: &[u8]) -> u64 {
    text.len() as u64 + LOG_RECORD_BYTES
}
