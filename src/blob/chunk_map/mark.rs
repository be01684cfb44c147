//! A step that may trap: one message marks the step, and the next one takes the mark and performs the step. If this
//! second message traps, the IC rolls back its removal of the mark, too. So if two checks in separate messages find the
//! same mark, the step has trapped.

/// The mark of a step, on the heap: after an upgrade, nothing is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark<T> {
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
    /// Marks a step for the next message; `None` removes the mark.
    pub const fn set(&mut self, step: Option<T>) {
        *self = Self { step, seen: None };
    }

    /// Removes the mark, and returns the step, which this message must perform.
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).step
    }

    /// This is the check: returns whether the message of the marked step has trapped, that is, whether the same step
    /// was marked at the last check, and its mark has not been taken since. If so, removes the mark; otherwise
    /// remembers it for the next check.
    pub fn has_trapped(&mut self) -> bool {
        if self.step.is_some() && self.step == self.seen {
            *self = Self::default();
            return true;
        }
        self.seen = self.step;
        false
    }

    #[cfg(test)]
    pub const fn step(&self) -> Option<T> {
        self.step
    }
}
