//! Every rule has an input that breaks it and nothing else, and there is no rule without one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod component;
mod container;
mod grant;
mod keys;
mod root;
mod signature;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use mpkg_package::RULES;

/// What a rule refuses: the rule's code, a name for the input, and the code and message it was refused with.
pub(crate) type Case = (&'static str, &'static str, String);

/// Code and message of a refusal, or a word for there being none.
#[macro_export]
macro_rules! refused {
    ($result:expr) => {
        match $result {
            Ok(_) => "accepted".to_owned(),
            Err(error) => format!("{} {error}", error.code()),
        }
    };
}

#[test]
fn each_rule_refuses_what_it_is_for() {
    let cases: Vec<Case> = [
        container::cases(),
        signature::cases(),
        root::cases(),
        grant::cases(),
        keys::cases(),
        component::cases(),
    ]
    .concat();
    let wrong: Vec<&Case> =
        cases.iter().filter(|(code, _, got)| got.split(' ').next() != Some(code)).collect();
    assert!(wrong.is_empty(), "(rule, input, refused by): {wrong:#?}");

    let lines: Vec<String> = cases.iter().map(|(_, input, got)| format!("{input}: {got}")).collect();
    insta::assert_snapshot!("refusals", lines.join("\n"));

    // Refusals by the manifest's rules pass through this crate, but are tested in their own.
    let (foreign, triggered): (BTreeSet<&str>, BTreeSet<&str>) =
        cases.iter().map(|(code, _, _)| *code).partition(|code| mpkg_manifest::rules::find(code).is_some());
    assert!(!foreign.is_empty());
    let table: BTreeSet<&str> = RULES.iter().map(|rule| rule.code).collect();
    assert_eq!(triggered, table, "rules and cases are not the same set");
    assert_eq!(table.len(), RULES.len(), "a code stands twice in the table");
}

#[test]
fn the_table_is_fit_to_print() {
    assert!(RULES.is_sorted_by_key(|rule| {
        let order = "ZBSRGKW".find(&rule.code[5..6]).unwrap();
        (order, rule.code)
    }));
    for rule in RULES {
        assert!(rule.attack.ends_with('.') && rule.fix.ends_with('.'), "{} has half a sentence", rule.code);
        assert!(!rule.title.ends_with('.'), "the title of {} is a sentence", rule.code);
    }
}
