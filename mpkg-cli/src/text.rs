//! Text from strangers, made fit for a terminal.
//!
//! A package, its manifest, a key file and the output of build tools can all hold bytes that move the cursor, change
//! the title, write to the clipboard (OSC 52) or turn the reading direction around. None of that may reach a screen.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a terminal might obey `c` instead of showing it, or show nothing where something is.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// `text` on one line, with everything that is not plainly visible written as `\u{…}`.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escape(text, |_| false)
}

/// As [`one_line`], but line breaks and tabs stay.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c == '\n' || c == '\t')
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|c| is_unsafe(c) && !keep(c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            _ if !is_unsafe(c) || keep(c) => safe.push(c),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            _ => _ = write!(safe, "\\u{{{:x}}}", u32::from(c)),
        }
    }
    Cow::Owned(safe)
}

/// `text` with each unsafe character replaced by a visible one of the same length in UTF-8, so that byte positions
/// in it stay what they were. Line breaks and tabs stay.
pub(crate) fn same_length(text: &str) -> String {
    let replace = |c: char| match c {
        '\n' | '\t' => c,
        // The carriage return of a Windows line end.
        '\r' => ' ',
        _ if !is_unsafe(c) => c,
        _ => match c.len_utf8() {
            1 => '?',
            2 => '¿',
            3 => '\u{fffd}',
            _ => '\u{1f6d1}',
        },
    };
    text.chars().map(replace).collect()
}

/// JSON text with the same characters written as `\uXXXX`, which means the same to whoever parses it. Outside of
/// strings JSON has none of them except line breaks.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_unsafe(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// How a registry's token begins.
const TOKEN_MARK: &str = "mpkg_";
/// Its digits: the first 8 are its public id.
const TOKEN_DIGITS: usize = 40;

/// Where a token begins in `text`.
fn find_token(text: &str) -> Option<usize> {
    let digit = |byte: &u8| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(byte);
    text.match_indices(TOKEN_MARK).map(|(at, _)| at).find(|at| {
        let digits = text.as_bytes().get(at + TOKEN_MARK.len()..).unwrap_or_default();
        digits.iter().take(TOKEN_DIGITS).filter(|byte| digit(byte)).count() == TOKEN_DIGITS
    })
}

/// Whether a token stands in `text`.
pub(crate) fn has_token(text: &str) -> bool {
    find_token(text).is_some()
}

/// `text` with the secret part of every token in it taken out: what is printed may end in a log.
pub(crate) fn redact(text: String) -> String {
    let mut safe = text;
    while let Some(at) = find_token(&safe) {
        let secret = at + TOKEN_MARK.len() + 8;
        safe.replace_range(secret..at + TOKEN_MARK.len() + TOKEN_DIGITS, "…");
    }
    safe
}

/// The last `count` lines of `text`.
pub(crate) fn tail(text: &str, count: usize) -> &str {
    let text = text.trim_end();
    let cut = count.checked_sub(1).and_then(|n| text.rmatch_indices('\n').nth(n)).map(|(index, _)| index + 1);
    cut.and_then(|start| text.get(start..)).unwrap_or(text)
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// `bytes` for people: `73.2 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    for unit in ["KiB", "MiB"] {
        if value < 1024.0 {
            return format!("{value:.1} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_spelled_out() {
        assert_eq!(one_line("a\u{1b}]52;c;eA==\u{7}b"), "a\\u{1b}]52;c;eA==\\u{7}b");
        assert_eq!(one_line("csi \u{9b}2J"), "csi \\u{9b}2J");
        assert_eq!(one_line("exe\u{202e}gpj\n"), "exe\\u{202e}gpj\\n");
        assert_eq!(lines("one\ntwo\tthree\r"), "one\ntwo\tthree\\r");
        assert_eq!(one_line("Größe 日本語"), "Größe 日本語");
    }

    #[test]
    fn tokens_are_not_repeated() {
        let token = format!("mpkg_abcdefgh{}", "z2".repeat(16));
        assert!(has_token(&format!("x{token}x")));
        assert_eq!(redact(format!("a {token}, {token} b")), "a mpkg_abcdefgh…, mpkg_abcdefgh… b");
        for plain in ["", "mpkg_", "mpkg_abcdefgh", "mpkg_registry::serve", &token.to_uppercase()] {
            assert!(!has_token(plain), "{plain}");
            assert_eq!(redact(plain.to_owned()), plain);
        }
    }

    #[test]
    fn replacing_keeps_positions() {
        for text in ["a\u{1b}b", "a\u{9b}b", "a\u{202e}b", "a\u{e0041}b", "a\r\nb"] {
            let safe = same_length(text);
            assert_eq!(safe.len(), text.len());
            assert!(safe.chars().all(|c| c == '\n' || !is_unsafe(c)), "{safe:?}");
        }
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({"k\u{202e}": "\u{9b}2J \u{e0041} \u{7f}\n"});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let safe = json(&text);
        assert!(safe.chars().all(|c| c == '\n' || !is_unsafe(c)), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn tail_takes_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a\nb", 5), "a\nb");
        assert_eq!(tail("", 5), "");
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.0 KiB");
        assert_eq!(size(12 * 1024 * 1024), "12.0 MiB");
    }
}
