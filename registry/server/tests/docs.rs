//! The operator's page lists the rules that there are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use mpkg_registry::RULES;

#[test]
fn the_page_lists_every_rule() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/registry.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (begin, end) = ("<!-- begin rules -->\n", "<!-- end rules -->");
    let (head, rest) = text.split_once(begin).unwrap();
    let (table, tail) = rest.split_once(end).unwrap();
    let rows: String = RULES.iter().map(|rule| format!("| `{}` | {} |\n", rule.code, rule.title)).collect();
    let real = format!("| code | rule |\n|---|---|\n{rows}");
    if std::env::var_os("INSTA_UPDATE").is_some_and(|it| it == "always") {
        std::fs::write(file, format!("{head}{begin}{real}{end}{tail}")).unwrap();
    } else {
        assert_eq!(table, real, "run this test with INSTA_UPDATE=always");
    }
}
