//! How a case ended, and what that means.

use std::{any::Any, time::Duration};

use netproof::{Error, Failure, expect::Kind};

use super::{Item, Outcome, Verdict, panics};

/// How a case ended.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// The claim held.
    Held,
    /// It did not, or could not be tried.
    Not { verdict: Verdict, reason: String, cause: Option<String>, evidence: String },
}

impl Ending {
    pub(super) fn not(verdict: Verdict, evidence: impl Into<String>) -> Self {
        let evidence = evidence.into();
        let reason = evidence.lines().next().unwrap_or_default().to_owned();
        Self::Not { verdict, reason, cause: None, evidence }
    }

    pub(super) fn of_error(error: &Error) -> Self {
        match error {
            Error::Unsupported(why) => Self::not(Verdict::Unsupported, why),
            Error::Implementation { .. } | Error::ReadBack(_) | Error::NoBroadcast { .. } => {
                Self::not(Verdict::Fail, error.to_string())
            }
            _ => Self::not(Verdict::Error, error.to_string()),
        }
    }

    /// A failed expectation says itself what it means; any other panic is a fault of the case.
    pub(super) fn of_panic(payload: &(dyn Any + Send)) -> Self {
        if let Some(failure) = payload.downcast_ref::<Failure>() {
            let verdict = match failure.kind {
                Kind::Failed => Verdict::Fail,
                Kind::Unsupported => Verdict::Unsupported,
                Kind::Error => Verdict::Error,
            };
            let (cause, evidence) = (failure.cause.clone(), failure.to_string());
            return Self::Not { verdict, reason: failure.reason(), cause, evidence };
        }
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
        let text = text.unwrap_or_else(|| "a panic without a message".into());
        let place = panics::last().map(|place| format!("\npanicked at {place}")).unwrap_or_default();
        Self::not(Verdict::Error, text + &place)
    }

    pub(super) fn outcome(self, item: &Item, took: Duration) -> Outcome {
        let (verdict, reason, cause, evidence) = match self {
            Self::Held => (Verdict::Pass, None, None, None),
            Self::Not { verdict, reason, cause, evidence } => (verdict, Some(reason), cause, Some(evidence)),
        };
        Outcome {
            id: item.case.id.to_owned(),
            topology: item.topology.name.clone(),
            level: item.case.level,
            verdict,
            ms: (took.as_secs_f64() * 1e4).round() / 10.0,
            reason,
            cause,
            evidence,
        }
    }
}
