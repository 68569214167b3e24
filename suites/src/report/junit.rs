//! JUnit's XML, as continuous integration reads it.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as JUnit, TestCase, TestCaseStatus, TestSuite};

use super::Report;
use crate::run::{Outcome, Verdict};

/// The report as JUnit's XML: a test suite for each implementation, a test case for each case and topology.
pub fn junit(report: &Report) -> Result<String, quick_junit::SerializeError> {
    let mut whole = JUnit::new("netproof");
    for graded in &report.implementations {
        let mut suite = TestSuite::new(graded.name.clone());
        suite.add_property(("suite-version", report.suite.version.as_str()));
        suite.add_property(("kernel", report.kernel.as_str()));
        suite.add_property(("implementation-version", graded.version.as_str()));
        for outcome in &graded.cases {
            suite.add_test_case(case(outcome));
        }
        whole.add_test_suite(suite);
    }
    whole.to_string()
}

fn case(outcome: &Outcome) -> TestCase {
    let mut case = TestCase::new(format!("{} on {}", outcome.id, outcome.topology), status(outcome));
    case.set_classname(outcome.id.split('/').next().unwrap_or_default().to_owned());
    case.set_time(Duration::from_secs_f64(outcome.ms / 1e3));
    case
}

fn status(outcome: &Outcome) -> TestCaseStatus {
    let mut status = match outcome.verdict {
        Verdict::Pass => return TestCaseStatus::success(),
        Verdict::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
        Verdict::Known | Verdict::Unsupported => TestCaseStatus::skipped(),
    };
    if let Some(reason) = &outcome.reason {
        status.set_message(reason.clone());
    }
    if let Some(evidence) = &outcome.evidence {
        status.set_description(evidence.clone());
    }
    status
}
