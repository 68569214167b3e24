//! What came of a call, held to the protocol.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::protocol::{Description, VERSION};

/// The exit status that says: not supported, and nothing was changed.
pub(super) const NOT_SUPPORTED: i32 = 89;

/// How much of either output is kept as evidence from each of its ends, in bytes.
const END: usize = 4 << 10;

/// What came of a call.
#[derive(Debug)]
pub(super) struct Ended {
    pub how: How,
    pub stdout: Vec<u8>,
    /// Whether it printed more than 1 MiB, of which that much is kept.
    pub too_much: bool,
    pub stderr: Vec<u8>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// The process exited, or was killed by a signal.
    Itself(ExitStatus),
    /// It was still there after this long, and its process group was killed.
    TimedOut(Duration),
}

/// What a driver answered.
#[derive(Debug, PartialEq)]
pub(super) enum Answer<T> {
    /// Done.
    Done(T),
    /// Not supported, and nothing was changed.
    NotSupported,
}

impl Ended {
    /// Whether it was done, where what was printed is evidence only.
    pub fn plain(&self) -> Result<Answer<()>, String> {
        match self.how {
            How::TimedOut(after) => {
                let seconds = after.as_secs_f64();
                Err(format!("did not end within {seconds:.0} s, and its process group was killed"))
            }
            How::Itself(status) => match (status.code(), status.signal()) {
                (Some(0), _) => Ok(Answer::Done(())),
                (Some(NOT_SUPPORTED), _) => Ok(Answer::NotSupported),
                (Some(code), _) => Err(format!("exited with status {code}")),
                (None, signal) => Err(format!("was killed by {}", signal_name(signal.unwrap_or_default()))),
            },
        }
    }

    /// The object that it printed, or nothing where it printed nothing.
    pub fn object<T: DeserializeOwned>(&self) -> Result<Answer<Option<T>>, String> {
        match self.plain()? {
            Answer::NotSupported => Ok(Answer::NotSupported),
            Answer::Done(()) if self.too_much => Err("printed more than 1 MiB".into()),
            Answer::Done(()) => object(&self.stdout).map(Answer::Done),
        }
    }

    /// What it wrote, for a person to read: standard error, then standard output; of much, both ends.
    pub fn evidence(&self) -> String {
        let mut evidence = ends(&self.stderr);
        let printed = ends(&self.stdout);
        if !printed.trim().is_empty() {
            evidence.push_str(if evidence.is_empty() || evidence.ends_with('\n') { "" } else { "\n" });
            evidence.push_str("standard output:\n");
            evidence.push_str(&printed);
        }
        evidence
    }
}

/// The one JSON object in `printed`, or none where it is blank.
fn object<T: DeserializeOwned>(printed: &[u8]) -> Result<Option<T>, String> {
    let text = std::str::from_utf8(printed)
        .map_err(|error| format!("printed something that is not UTF-8, at byte {}", error.valid_up_to()))?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("did not print one JSON object: {error}"))?;
    let read = serde_json::from_value(Value::Object(object));
    read.map(Some).map_err(|error| format!("printed an object that is not of the protocol's form: {error}"))
}

/// Text as it is, or its two ends where there is too much of it. Control characters are shown, not acted on.
fn ends(bytes: &[u8]) -> String {
    let readable = |bytes: &[u8]| -> String {
        let text = String::from_utf8_lossy(bytes);
        text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
    };
    if bytes.len() <= 2 * END {
        return readable(bytes);
    }
    let (head, tail) = (&bytes[..END], &bytes[bytes.len() - END..]);
    format!("{}\n... {} bytes left out ...\n{}", readable(head), bytes.len() - 2 * END, readable(tail))
}

fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}

/// Holds a description to the protocol.
pub(super) fn check(description: &Description) -> Result<(), String> {
    if !(1..=VERSION).contains(&description.protocol) {
        return Err(format!("answers with protocol {}, and was asked for {VERSION}", description.protocol));
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let name = &description.name;
    if name.len() > 32 || !name.starts_with(plain) || !name.chars().all(|c| plain(c) || c == '.' || c == '-') {
        return Err(format!("is called `{name}`, which is not [a-z0-9][a-z0-9.-]{{0,31}}"));
    }
    if description.missing.is_some() {
        if let Some(claimed) = description.topologies.first() {
            return Err(format!("claims topology `{claimed}`, although something is missing"));
        }
        return Ok(());
    }
    match ["up", "down"].iter().find(|verb| !description.knows(verb)) {
        Some(verb) => Err(format!("does not name `{verb}` among its verbs")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::protocol::Reply;

    fn exited(code: i32, stdout: &[u8], stderr: &[u8]) -> Ended {
        let how = How::Itself(ExitStatus::from_raw(code << 8));
        Ended { how, stdout: stdout.into(), too_much: false, stderr: stderr.into() }
    }

    /// What is not of the protocol's form is told from what is, and why.
    #[rstest]
    #[case::garbage(b"br0 is up\n", "did not print one JSON object: expected value at line 1 column 1")]
    #[case::a_list(b"[]", "did not print one JSON object: invalid type: sequence, expected a map at line 1 column 0")]
    #[case::two(b"{}{}", "did not print one JSON object: trailing characters at line 1 column 3")]
    #[case::cut(b"{\"nodes\":", "did not print one JSON object: EOF while parsing a value at line 1 column 9")]
    #[case::no_name(b"{\"nodes\":[{}]}", "printed an object that is not of the protocol's form: missing field `name`")]
    #[case::a_wrong_address(
        b"{\"bridges\":[{\"name\":\"br0\",\"addresses\":[\"10.0.0.1/33\"]}]}",
        "printed an object that is not of the protocol's form: invalid IP address syntax"
    )]
    #[case::no_text(b"{\"a\":\"\xff\"}", "printed something that is not UTF-8, at byte 6")]
    fn a_wrong_answer_is_told(#[case] printed: &[u8], #[case] expected: &str) {
        assert_eq!(exited(0, printed, b"").object::<Reply>().unwrap_err(), expected);
    }

    /// Nothing, blanks, an empty object and unknown keys are all right.
    #[rstest]
    #[case(b"", None)]
    #[case(b" \n", None)]
    #[case(b"{}\n", Some(Reply::default()))]
    #[case(b"{\"later\":1}", Some(Reply::default()))]
    fn a_right_answer_is_taken(#[case] printed: &[u8], #[case] expected: Option<Reply>) {
        assert_eq!(exited(0, printed, b"").object::<Reply>().unwrap(), Answer::Done(expected));
    }

    /// Any status but 0 and 89 is a failure, whatever is printed; with 89, output is evidence only.
    #[test]
    fn the_status_decides() {
        assert_eq!(exited(89, b"no such thing", b"").object::<Reply>().unwrap(), Answer::NotSupported);
        assert_eq!(exited(1, b"{}", b"").object::<Reply>().unwrap_err(), "exited with status 1");
        let killed = Ended { how: How::Itself(ExitStatus::from_raw(11)), ..exited(0, b"", b"") };
        assert_eq!(killed.plain().unwrap_err(), "was killed by SIGSEGV");
        let slow = Ended { how: How::TimedOut(Duration::from_secs(32)), ..exited(0, b"", b"") };
        assert_eq!(slow.plain().unwrap_err(), "did not end within 32 s, and its process group was killed");
    }

    /// Of much evidence both ends are kept, and nothing in it moves the terminal's cursor.
    #[test]
    fn evidence_has_both_ends() {
        let long = [b"first\x1b[2J\n".to_vec(), vec![b'.'; 3 * END], b"\nlast".to_vec()].concat();
        let evidence = exited(1, b"{\"code\": 7}", &long).evidence();
        assert!(evidence.starts_with("first\u{fffd}[2J\n"), "{evidence}");
        assert!(evidence.contains(" bytes left out ...\n"), "{evidence}");
        assert!(evidence.ends_with("\nlast\nstandard output:\n{\"code\": 7}"), "{evidence}");
        assert!(evidence.len() < 3 * END);
    }

    /// A description says the protocol, a plain name, and the two verbs without which nothing can be graded.
    #[rstest]
    #[case::good("{}", None)]
    #[case::later(r#"{"protocol": 2}"#, Some("answers with protocol 2, and was asked for 1"))]
    #[case::none(r#"{"protocol": 0}"#, Some("answers with protocol 0, and was asked for 1"))]
    #[case::name(r#"{"name": "Mine"}"#, Some("is called `Mine`, which is not [a-z0-9][a-z0-9.-]{0,31}"))]
    #[case::no_name(r#"{"name": ""}"#, Some("is called ``, which is not [a-z0-9][a-z0-9.-]{0,31}"))]
    #[case::no_down(r#"{"verbs": ["up"]}"#, Some("does not name `down` among its verbs"))]
    #[case::missing(r#"{"missing": "apt-get install mine", "topologies": [], "verbs": []}"#, None)]
    #[case::missing_and_claimed(
        r#"{"missing": "apt-get install mine"}"#,
        Some("claims topology `pair`, although something is missing")
    )]
    fn a_description_is_checked(#[case] change: &str, #[case] expected: Option<&str>) {
        let mut object = serde_json::json!({
            "protocol": 1, "name": "mine-2.0", "verbs": ["up", "down"], "topologies": ["pair"], "missing": null
        });
        let change: Map<String, Value> = serde_json::from_str(change).unwrap();
        object.as_object_mut().unwrap().extend(change);
        let description: Description = serde_json::from_value(object).unwrap();
        assert_eq!(check(&description).err().as_deref(), expected);
    }
}
