//! Every rule that this crate refuses by, with what it is for.

mod component;
mod container;
mod grant;
mod keys;
mod root;
mod signature;

use mpkg_manifest::rules::Rule;

const TABLES: [&[Rule]; 6] =
    [container::RULES, signature::RULES, root::RULES, grant::RULES, keys::RULES, component::RULES];

const LENGTH: usize = count();

/// The rules, by code within each letter.
pub const RULES: &[Rule] = &all();

#[allow(clippy::indexing_slicing, reason = "runs when compiling, where an index outside is an error")]
const fn count() -> usize {
    let (mut table, mut sum) = (0, 0);
    while table < TABLES.len() {
        sum += TABLES[table].len();
        table += 1;
    }
    sum
}

#[allow(clippy::indexing_slicing, reason = "runs when compiling, where an index outside is an error")]
const fn all() -> [Rule; LENGTH] {
    let mut rules = [Rule { code: "", title: "", attack: "", fix: "" }; LENGTH];
    let (mut table, mut at) = (0, 0);
    while table < TABLES.len() {
        let mut row = 0;
        while row < TABLES[table].len() {
            rules[at] = TABLES[table][row];
            at += 1;
            row += 1;
        }
        table += 1;
    }
    rules
}

const fn rule(code: &'static str, title: &'static str, attack: &'static str, fix: &'static str) -> Rule {
    Rule { code, title, attack, fix }
}
