//! Labels: under which circumstances code runs, for messages.

use std::{cell::RefCell, mem};

thread_local! {
    static CURRENT: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The labels that are in force on a thread, outermost first.
#[derive(Clone, Debug, Default)]
pub struct Labels(Vec<String>);

impl Labels {
    /// Those of the calling thread.
    #[must_use]
    pub fn current() -> Self {
        CURRENT.with_borrow(|labels| Self(labels.clone()))
    }

    /// These, and one more.
    #[must_use]
    pub fn and(mut self, label: impl Into<String>) -> Self {
        self.0.push(label.into());
        self
    }

    /// Runs `code` on this thread with these labels in force, in place of the thread's own.
    ///
    /// A thread that is made by hand has none of its maker's: hand them over by this.
    pub fn during<T>(&self, code: impl FnOnce() -> T) -> T {
        let _restore = Restore(CURRENT.replace(self.0.clone()));
        code()
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.0
    }
}

struct Restore(Vec<String>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(mem::take(&mut self.0));
    }
}
