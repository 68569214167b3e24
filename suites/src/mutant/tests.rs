use super::*;

const LEFT_DOWN: &str = r#"
fault = "br0 is left down."
on = ["pair"]
may-fail = ["*"]
fails = { "links/all-are-up-when-up-returns" = "br0" }
up.after = ["ip link set br0 down"]
"#;

fn trial(text: &str) -> Trial {
    let mut mutant = Mutant::parse("one.toml", text).unwrap();
    mutant.on.truncate(1);
    let items = mutant.items();
    assert!(!items.is_empty());
    mutant.attempt(16, Duration::from_secs(60), &Stop::default(), &|_| {})
}

/// All that come with the command make sense.
#[test]
fn the_shipped_ones_are_whole() {
    let mutants = Mutant::shipped().unwrap();
    for mutant in &mutants {
        assert!(mutant.fault.ends_with('.'), "{}: `{}` is no sentence", mutant.name, mutant.fault);
        let faults = [&mutant.up, &mutant.down, &mutant.add, &mutant.remove, &mutant.reload];
        let faults = faults.into_iter().chain([&mutant.describe, &mutant.other]);
        assert!(
            !mutant.without.is_empty() || faults.filter(|fault| fault.is_any()).count() > 0,
            "{} has no fault",
            mutant.name
        );
        assert!(!mutant.fails.is_empty(), "nobody has to notice {}", mutant.name);
    }
}

/// Every MUST case can fail.
#[test]
fn every_must_case_has_a_mutant() {
    assert_eq!(unproven(&Mutant::shipped().unwrap()), Vec::<&str>::new());
}

/// A fault is caught where the named case fails and names the cause.
#[test]
fn a_fault_is_caught() {
    let trial = trial(LEFT_DOWN);
    assert!(trial.is_caught(), "{:?}", trial.problems);
    assert!(trial.failed() > 1);
}

/// A case that passes though it has to fail, one that names another cause, and one that should not fail are told.
#[test]
fn what_is_not_as_it_says_is_told() {
    let harmless = LEFT_DOWN.replace("br0 down", "br0 up");
    assert!(trial(&harmless).problems[0].ends_with("does not fail"));
    let other_cause = LEFT_DOWN.replace("= \"br0\" }", "= \"the moon\" }");
    assert!(trial(&other_cause).problems[0].contains("does not name `the moon`"));
    let nothing_else = LEFT_DOWN.replace("\"*\"", "");
    let nothing_else = nothing_else.replace("may-fail = []", "may-fail = [\"vlan\"]");
    assert!(trial(&nothing_else).problems.iter().any(|problem| problem.contains("not among what may")));
}

/// What the file has wrong is told with its line or its word.
#[test]
fn wrong_files_are_told() {
    let wrong = |from: &str, to: &str| Mutant::parse("one.toml", &LEFT_DOWN.replace(from, to)).unwrap_err();
    assert!(wrong("fault =", "faults =").starts_with("one.toml:2: unknown field `faults`"));
    assert!(wrong("links/all", "links/nothing").contains("no case `links/nothing-are-up"));
    assert!(wrong("\"*\"", "\"lynx\"").contains("no suite or case is called `lynx`"));
    assert!(wrong("[\"pair\"]", "[\"pear\"]").contains("pear"));
}
