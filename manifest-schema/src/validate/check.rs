//! The tools that the checks are made of.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::refusal::Refusal;
use crate::codes;
use crate::json::{Member, Node};
use crate::problem::{Problem, quote};
use crate::span::Span;
use crate::suggest::suggest;

/// Collects problems.
pub(super) struct Check {
    pub(super) problems: Vec<Problem>,
}

/// A node and the way to it.
#[derive(Clone)]
pub(super) struct At<'n> {
    pub(super) node: &'n Node,
    /// JSON pointer. Holds known member names and indices only.
    pub(super) path: String,
}

/// A member's key where keys are the author's own.
pub(super) struct Key<'n> {
    pub(super) text: &'n str,
    span: Span,
    /// The way to the object: the key itself may hold anything.
    path: String,
}

impl Key<'_> {
    pub(super) fn problem(&self, code: &'static str, message: impl Into<String>) -> Problem {
        Problem::error(code, self.path.clone(), self.span, message.into())
    }
}

/// What to do with members that nobody here knows.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Unknown {
    /// They are other vendors', unless the name looks like a typing error.
    Keep,
    /// They are an error.
    Refuse,
}

/// A member that an object can have, and whether it must.
pub(super) type Known = (&'static str, bool);

impl<'n> At<'n> {
    pub(super) fn root(node: &'n Node) -> Self {
        Self { node, path: String::new() }
    }

    /// The member with that key, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        Some(Self { node: self.node.get(key)?, path: format!("{}/{key}", self.path) })
    }

    /// The way as people write it: `icons[0].src`.
    pub(super) fn label(&self) -> String {
        let mut label = String::new();
        for token in self.path.split('/').skip(1) {
            if token.bytes().all(|byte| byte.is_ascii_digit()) {
                label.push_str(&format!("[{token}]"));
            } else {
                if !label.is_empty() {
                    label.push('.');
                }
                label.push_str(token);
            }
        }
        if label.is_empty() { "the manifest".to_owned() } else { format!("`{label}`") }
    }

    pub(super) fn problem(&self, code: &'static str, message: impl Into<String>) -> Problem {
        Problem::error(code, self.path.clone(), self.node.span, message.into())
    }
}

impl Check {
    pub(super) fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn wrong_type(&mut self, at: &At<'_>, expected: &str) {
        if !at.node.refused {
            let message = format!("{} is {}", at.label(), at.node.kind());
            self.push(at.problem(codes::TYPE, message).expected(expected));
        }
    }

    /// Complains unless this is an object, has what it must, and has nothing unknown that it must not.
    pub(super) fn object(&mut self, at: &At<'_>, known: &[Known], unknown: Unknown) -> bool {
        let Some(members) = at.node.as_object() else {
            self.wrong_type(at, "an object");
            return false;
        };
        let absent: Vec<Known> =
            known.iter().filter(|(name, _)| at.node.get(name).is_none()).copied().collect();
        let mut meant = BTreeSet::new();
        for member in members {
            if !known.iter().any(|(name, _)| *name == member.key) {
                meant.extend(self.unknown(at, member, known, &absent, unknown));
            }
        }
        for (name, required) in &absent {
            if *required && !meant.contains(name) {
                let span = Span::new(at.node.span.start, at.node.span.start + 1);
                let message = format!("{} has no member `{name}`", at.label());
                self.push(
                    Problem::error(codes::MISSING, at.path.clone(), span, message)
                        .expected(format!("`{name}`")),
                );
            }
        }
        true
    }

    /// Complains about a member that is not known, and answers which of the absent ones was probably meant.
    fn unknown(
        &mut self,
        at: &At<'_>,
        member: &Member,
        known: &[Known],
        absent: &[Known],
        unknown: Unknown,
    ) -> Option<&'static str> {
        let near = suggest(&member.key, absent.iter().map(|(name, _)| *name));
        let required = absent.iter().any(|(name, required)| *required && Some(*name) == near);
        let key = quote(&member.key);
        let path = at.path.clone();
        let problem = match (unknown, near) {
            (Unknown::Refuse, _) => {
                let message = format!("{} has no member {key}", at.label());
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                Problem::error(codes::UNKNOWN_MEMBER, path, member.key_span, message).expected(one_of(&names))
            }
            (Unknown::Keep, Some(near)) if required => {
                let message = format!("{} has no member `{near}`, but one called {key}", at.label());
                Problem::error(codes::MISSING, path, member.key_span, message).expected(format!("`{near}`"))
            }
            (Unknown::Keep, Some(_)) => {
                let message = format!("{key} is no member of {} that mpkg knows; it is ignored", at.label());
                Problem::error(codes::MISSPELT, path, member.key_span, message)
                    .help("if it is another vendor's own, give it that vendor's prefix")
                    .warning()
            }
            (Unknown::Keep, None) => return None,
        };
        self.push(problem.suggestion(near));
        near
    }

    /// The string, or a complaint.
    pub(super) fn string<'n>(&mut self, at: &At<'n>) -> Option<&'n str> {
        if at.node.as_str().is_none() {
            self.wrong_type(at, "a string");
        }
        at.node.as_str()
    }

    /// The string as a checked type, or a complaint.
    pub(super) fn parsed<T>(&mut self, at: &At<'_>) -> Option<T>
    where
        T: FromStr<Err: Refusal>,
    {
        let text = self.string(at)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.refusal(at, text, &error);
                None
            }
        }
    }

    /// Tells why a string was refused.
    pub(super) fn refusal(&mut self, at: &At<'_>, text: &str, error: &impl Refusal) {
        let mut problem = at.problem(error.code(), format!("{}: {error}", at.label()));
        problem.expected = error.expected().map(str::to_owned);
        problem.suggestion = error.suggestion(text);
        problem.help = error.help().map(str::to_owned);
        self.push(problem);
    }

    /// The checked string of a member that may be missing.
    pub(super) fn member<T>(&mut self, at: &At<'_>, key: &str) -> Option<T>
    where
        T: FromStr<Err: Refusal>,
    {
        at.get(key).and_then(|at| self.parsed(&at))
    }

    /// The number of a member that may be missing, within bounds.
    pub(super) fn int(&mut self, at: &At<'_>, key: &str, min: u64, max: u64) -> Option<u64> {
        let at = at.get(key)?;
        let expected = format!("a whole number from {min} to {max}");
        let Some(number) = at.node.as_int() else {
            // A number in quotes is the usual slip; saying so beats "a string".
            let quoted = at.node.as_str().filter(|text| text.parse::<u32>().is_ok());
            match quoted {
                Some(text) => {
                    let message = format!("{} is a string", at.label());
                    let problem = at.problem(codes::TYPE, message).expected(expected).suggestion(Some(text));
                    self.push(problem.help("write the number without quotes"));
                }
                None => self.wrong_type(&at, &expected),
            }
            return None;
        };
        match u64::try_from(number) {
            Ok(number) if (min..=max).contains(&number) => Some(number),
            _ => {
                let message = format!("{} is {number}", at.label());
                self.push(at.problem(codes::RANGE, message).expected(expected));
                None
            }
        }
    }

    /// The boolean of a member that may be missing.
    pub(super) fn boolean(&mut self, at: &At<'_>, key: &str) {
        if let Some(at) = at.get(key)
            && at.node.as_bool().is_none()
        {
            let quoted = at.node.as_str().filter(|text| matches!(*text, "true" | "false"));
            match quoted {
                Some(text) => {
                    let message = format!("{} is a string", at.label());
                    let problem = at.problem(codes::TYPE, message).expected("`true` or `false`");
                    self.push(problem.suggestion(Some(text)).help("write it without quotes"));
                }
                None => self.wrong_type(&at, "`true` or `false`"),
            }
        }
    }

    /// A member that says one of a few words, or is missing.
    pub(super) fn word(&mut self, at: &At<'_>, key: &str, words: &[&str]) {
        let Some(at) = at.get(key) else { return };
        if at.node.as_str().is_none() {
            self.wrong_type(&at, &one_of(words));
        }
        if let Some(text) = at.node.as_str().filter(|text| !words.contains(text)) {
            let message = format!("{} is {}", at.label(), quote(text));
            let suggestion = suggest(text, words.iter().copied());
            self.push(at.problem(codes::CHOICE, message).expected(one_of(words)).suggestion(suggestion));
        }
    }

    /// The elements of a member that may be missing. Of a list that is too long only the first `max` are
    /// answered, so that a hostile manifest cannot ask for a hundred thousand complaints.
    pub(super) fn list<'n>(&mut self, at: &At<'n>, key: &str, min: usize, max: usize) -> Vec<At<'n>> {
        let Some(at) = at.get(key) else { return Vec::new() };
        let Some(items) = at.node.as_array() else {
            self.wrong_type(&at, "an array");
            return Vec::new();
        };
        if !(min..=max).contains(&items.len()) {
            let message = format!("{} has {} entries", at.label(), items.len());
            self.push(at.problem(codes::COUNT, message).expected(format!("{min} to {max} entries")));
        }
        let element = |(index, node)| At { node, path: format!("{}/{index}", at.path) };
        items.iter().take(max).enumerate().map(element).collect()
    }

    /// The members of an object whose keys are the author's own; of too many only the first `max`, as for lists.
    pub(super) fn members<'n>(&mut self, at: &At<'n>, max: usize) -> Vec<(Key<'n>, At<'n>)> {
        let Some(members) = at.node.as_object() else {
            self.wrong_type(at, "an object");
            return Vec::new();
        };
        if members.len() > max {
            let message = format!("{} has {} members", at.label(), members.len());
            self.push(at.problem(codes::COUNT, message).expected(format!("at most {max}")));
        }
        let path = &at.path;
        let member = |member: &'n Member| {
            let key = Key { text: &member.key, span: member.key_span, path: path.clone() };
            (key, At { node: &member.node, path: path.clone() })
        };
        members.iter().take(max).map(member).collect()
    }

    /// Tells why a key was refused.
    pub(super) fn refused_key(&mut self, key: &Key<'_>, error: &impl Refusal) {
        let mut problem = key.problem(error.code(), error.to_string());
        problem.expected = error.expected().map(str::to_owned);
        problem.suggestion = error.suggestion(key.text);
        problem.help = error.help().map(str::to_owned);
        self.push(problem);
    }

    /// Complains about strings that stand in a list twice.
    pub(super) fn unique(&mut self, items: &[At<'_>]) {
        let mut seen = BTreeSet::new();
        for at in items {
            if let Some(text) = at.node.as_str()
                && !seen.insert(text)
            {
                self.push(
                    at.problem(codes::DUPLICATE, format!("{} is given twice", quote(text)))
                        .help("remove one"),
                );
            }
        }
    }
}

/// `` `a`, `b` or `c` ``
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}
