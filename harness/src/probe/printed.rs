//! What a program prints, while it runs.

use std::{fmt, process::ExitStatus, sync::Arc, time::Duration};

use super::{Probe, Seen, Watch};
use crate::{
    Deadline, Namespace, Result,
    world::{Child, Kept, Outputs, Process, held, last_lines},
};

impl Child {
    /// Looks at what it has printed so far: in [`expect!`](crate::expect!) a text, `text if text.contains("ready")`.
    pub fn stdout(&self) -> Printed {
        self.printed("standard output", Outputs::stdout)
    }

    /// Looks at what it has printed on standard error so far.
    pub fn stderr(&self) -> Printed {
        self.printed("standard error", Outputs::stderr)
    }

    fn printed(&self, what: &str, kept: fn(&Outputs) -> Kept) -> Printed {
        let line = format!("{}: {what} of {}", self.namespace, self.program);
        Printed { printed: Arc::clone(&self.printed), kept, process: Arc::clone(&self.process), line }
    }
}

/// A probe of what a program has printed; made by [`Child::stdout`] and [`Child::stderr`].
#[derive(Clone)]
#[must_use]
pub struct Printed {
    printed: Arc<Outputs>,
    kept: fn(&Outputs) -> Kept,
    process: Process,
    line: String,
}

/// What a program has printed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Text {
    /// The text, up to 1 MiB of it; what is no UTF-8 stands as U+FFFD.
    pub text: String,
    /// Whether there was more.
    pub is_cut: bool,
    /// Whether nobody can print there any more.
    pub is_closed: bool,
    /// How the program ended, if it has.
    pub ended: Option<ExitStatus>,
}

impl Probe for Printed {
    type Output = Text;

    fn describe(&self) -> String {
        self.line.clone()
    }

    fn look(&self, _deadline: Deadline) -> Result<Text> {
        let kept = (self.kept)(&self.printed);
        if kept.is_closed {
            // A process that dies closes its outputs some time before anybody can learn how it ended.
            self.printed.wait_for_end(Deadline::exactly(Duration::from_millis(100)));
        }
        let ended = held(&self.process).has_ended();
        let text = String::from_utf8_lossy(&kept.bytes).into_owned();
        Ok(Text { text, is_cut: kept.more, is_closed: kept.is_closed, ended })
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(More { printed: Arc::clone(&self.printed), version: self.printed.version() }))
    }

    fn concerned(&self) -> Vec<Namespace> {
        Vec::new()
    }

    fn last_word(&self, seen: &Text) -> bool {
        seen.is_closed
    }

    /// What silence would match, too, says that something was not printed: that is known of all that it prints only.
    fn control<M: Fn(&str) -> bool>(&self, seen: &Text, matches: &M) -> Result<Option<String>> {
        let unproven = (seen.is_cut || !seen.is_closed) && matches("");
        Ok(unproven.then(|| "it may print more: look once it has ended (`Child::output`)".into()))
    }
}

struct More {
    printed: Arc<Outputs>,
    version: u64,
}

impl Watch for More {
    fn wait(&mut self, deadline: Deadline) -> Result<bool> {
        let changed = self.printed.wait_after(self.version, deadline);
        self.version = changed.unwrap_or(self.version);
        Ok(changed.is_some())
    }
}

impl Seen for Text {
    type As<'a> = &'a str;

    fn seen(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.text.is_empty(), self.is_closed) {
            (true, true) => f.write_str("nothing")?,
            (true, false) => f.write_str("nothing yet")?,
            (false, _) => f.write_str(&last_lines(&self.text, 40))?,
        }
        if self.is_cut {
            f.write_str("\n(and more, which was not kept)")?;
        }
        match self.ended {
            Some(status) => write!(f, "\n(it has ended: {status})"),
            None if self.is_closed => f.write_str("\n(it runs, and has closed its output)"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        World, expect,
        expect::{Kind, check},
        world::Signal,
    };

    fn sh(world: &World, script: &str) -> Child {
        world.command("/bin/sh").args(["-c", script]).spawn().unwrap()
    }

    fn world() -> World {
        World::new(&Namespace::new("host").unwrap(), &[]).unwrap()
    }

    /// What a program prints is seen while it runs, each output by itself; a signal reaches it, and how it ended is known.
    #[test]
    fn what_a_program_prints_is_seen_while_it_runs() {
        let world = world();
        let script = "trap 'echo stopped; exit 7' TERM; echo ready >&2; while :; do sleep 0.01; done";
        let child = sh(&world, script);
        expect!(child.stderr(), "ready\n");
        assert_eq!(child.try_wait(), None);
        assert_eq!(child.wait(Deadline::exactly(Duration::from_millis(50))), None);
        child.signal(Signal::SIGTERM).unwrap();
        expect!(child.stdout(), "stopped\n");
        assert_eq!(child.wait(Duration::from_secs(10)).and_then(|status| status.code()), Some(7));
        let output = child.output(Deadline::after(Duration::from_secs(10))).unwrap();
        assert_eq!((output.status.code(), output.timed_out), (Some(7), false));
        assert_eq!((&*output.stdout, &*output.stderr), (&b"stopped\n"[..], &b"ready\n"[..]));
    }

    /// A program that has ended prints no more: nobody waits for it. Of one that runs, silence proves nothing.
    #[test]
    fn silence_of_one_that_runs_proves_nothing() {
        let world = world();
        let ended = sh(&world, "echo failed; exit 3");
        let failure = check(&ended.stdout(), "ready", Duration::from_secs(600), |text| text == "ready\n").unwrap_err();
        assert!(failure.seen.ends_with("failed\n(it has ended: exit status: 3)"), "{}", failure.seen);
        let output = ended.output(Duration::from_secs(10)).unwrap();
        assert_eq!(output.status.code(), Some(3));
        let runs = sh(&world, "echo starting; sleep 1000");
        expect!(runs.stdout(), "starting\n");
        let is_fine = |text: &str| !text.contains("ERROR");
        let failure = check(&runs.stdout(), "no ERROR", Duration::from_secs(5), is_fine).unwrap_err();
        assert!(failure.kind == Kind::Error && failure.seen.contains("proves nothing"), "{failure}");
        assert_eq!(runs.kill().unwrap().stdout, b"starting\n");
    }

    /// Of a program that prints without end the last lines that were kept are shown, and that there was more.
    #[test]
    fn a_flood_is_shown_by_its_end() {
        let world = world();
        let flood = sh(&world, "seq 1000000");
        let failure = check(&flood.stdout(), "the end", Duration::from_secs(10), |text| text == "the end").unwrap_err();
        assert!(failure.seen.lines().count() < 50 && failure.seen.contains("not kept)"), "{}", failure.seen);
        let is_fine = |text: &str| !text.contains("1000000");
        assert_eq!(check(&flood.stdout(), "fine", Duration::from_secs(5), is_fine).unwrap_err().kind, Kind::Error);
    }
}
