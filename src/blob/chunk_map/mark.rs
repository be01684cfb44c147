//! A step that may trap: one message marks it, the next one takes the mark and does it. If that one traps, the mark is
//! still there at the second check in between messages.

/// The marked step. This is on the heap: after an upgrade nothing is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark<T> {
    /// The step of the next message.
    step: Option<T>,
    /// The step that was marked at the time of the last check.
    seen: Option<T>,
}

impl<T> Default for Mark<T> {
    fn default() -> Self {
        Self { step: None, seen: None }
    }
}

impl<T: Copy + PartialEq> Mark<T> {
    /// Marks a step for the next message.
    pub const fn set(&mut self, step: Option<T>) {
        *self = Self { step, seen: None };
    }

    /// Removes the mark; returns the step, to be done in this message.
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).step
    }

    /// Returns whether the message of the marked step has trapped, since it has not taken the mark between two checks; then
    /// removes the mark.
    pub fn has_trapped(&mut self) -> bool {
        let has_trapped = self.step.is_some() && self.step == self.seen;
        self.seen = self.step;
        if has_trapped {
            *self = Self::default();
        }
        has_trapped
    }

    /// Returns the marked step.
    #[cfg(test)]
    pub const fn step(&self) -> Option<T> {
        self.step
    }
}
