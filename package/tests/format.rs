//! The specification's own examples and lists. `MPKG_BLESS=1 cargo test -p mpkg-package --test format` rewrites them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::fmt::Write as _;
use std::path::Path;

use mpkg_package::signing::{MAGIC, split};
use mpkg_package::{RULES, identity};
use support::{key, root, signed};

/// Compares the part of docs/format.md between two markers with what it should be.
fn section(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->\n"));
    let (before, rest) = text.split_once(&begin).unwrap();
    let (found, after) = rest.split_once(&end).unwrap();
    if found == expected {
        return;
    }
    if std::env::var_os("MPKG_BLESS").is_some() {
        // Other sections may be rewritten at the same time by another test, so the file is read once more.
        std::fs::write(&path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(found, expected, "docs/format.md, {name}");
}

#[derive(Default)]
struct Dump {
    text: String,
    at: usize,
}

impl Dump {
    fn part(&mut self, title: &str, bytes: &[u8]) {
        writeln!(self.text, "         # {title}").unwrap();
        for line in bytes.chunks(16) {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let shown =
                |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '.' };
            let text: String = line.iter().map(shown).collect();
            writeln!(self.text, "{:06x}   {:<47}  {}", self.at, hex.join(" "), text).unwrap();
            self.at += line.len();
        }
    }
}

#[test]
fn the_specification_is_true() {
    let file = signed();
    let unsigned = split(file.clone()).unwrap();
    let container = mpkg_package::container::read(&unsigned.unsigned).unwrap();
    let block = unsigned.block.clone().unwrap();
    let block_bytes = block.to_bytes();
    let mut dump = Dump::default();
    let mut at = 0;
    for entry in container.entries() {
        dump.part(&format!("local header of {}", entry.name), &file[at..at + 30]);
        dump.part("name", &file[at + 30..entry.offset]);
        dump.part("contents", &file[entry.range()]);
        at = entry.range().end;
    }
    dump.part("signing block: size of what follows", &block_bytes[..8]);
    for pair in block.pairs() {
        dump.part("part: type", &pair.kind.to_le_bytes());
        dump.part("part: length", &(pair.value.len() as u32).to_le_bytes());
        dump.part("part: value", &pair.value);
    }
    dump.part("signing block: size again", &block_bytes[..8]);
    dump.part("signing block: magic", &MAGIC);
    at += block_bytes.len();
    for entry in container.entries() {
        let end = at + 46 + entry.name.len();
        dump.part(&format!("central header of {}", entry.name), &file[at..at + 46]);
        dump.part("name", &file[at + 46..end]);
        at = end;
    }
    dump.part("end record", &file[at..]);
    assert_eq!(dump.at, file.len());

    let digest = identity(&unsigned.unsigned);
    let signed = mpkg_package::sign(&unsigned.unsigned, &key(), &root(), support::time()).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let facts = format!(
        concat!(
            "secret key (seed)   {}\n",
            "public key          {}\n",
            "key id              {}\n",
            "publisher           {}\n",
            "unsigned package    {} bytes, SHA-256 {}\n",
            "signed package      {} bytes\n",
            "\nroot document:\n{}\n",
            "\nrelease statement:\n{}\n",
            "\npermission grant:\n{}\n",
        ),
        "07".repeat(32),
        key().public().to_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        key().public().id(),
        root().publisher_id(),
        digest.size,
        digest.sha256,
        file.len(),
        text(root().bytes().to_vec()),
        text(signed.statement.to_bytes()),
        text(signed.grant.to_bytes()),
    );
    section("facts", &format!("```text\n{facts}```\n"));
    section("dump", &format!("```text\n{}```\n", dump.text));

    let mut rules = String::from("| code | rule |\n|---|---|\n");
    for rule in RULES {
        writeln!(rules, "| `{}` | {} |", rule.code, rule.title).unwrap();
    }
    section("rules", &rules);

    let mut wasi = String::new();
    for interface in mpkg_package::wasm::WASI_INTERFACES {
        writeln!(wasi, "- `wasi:{interface}`").unwrap();
    }
    section("wasi", &wasi);
}
