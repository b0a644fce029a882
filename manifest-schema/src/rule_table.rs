//! The rules of this crate.

use crate::rules::Rule;

/// Every rule of strict JSON (`MPKG-J..`) and of manifests (`MPKG-M..`; from 50 on they warn).
pub const RULES: &[Rule] = &[
    Rule {
        code: "MPKG-J01",
        title: "Well-formed JSON",
        attack: "Readers that repair broken JSON repair it differently, so two of them see two documents.",
        fix: "Correct the syntax at the place shown. JSON has no comments, no trailing commas and no single \
              quotes.",
    },
    Rule {
        code: "MPKG-J02",
        title: "No byte order mark",
        attack: "Some readers skip a byte order mark and some do not, so the same document has two byte \
                 forms and two hashes.",
        fix: "Save the file as UTF-8 without a byte order mark.",
    },
    Rule {
        code: "MPKG-J03",
        title: "UTF-8 only",
        attack: "Bytes that are not UTF-8 are replaced, dropped or guessed at, differently in each reader: \
                 a name that was checked is not the name that is used.",
        fix: "Save the file as UTF-8.",
    },
    Rule {
        code: "MPKG-J04",
        title: "No duplicate keys",
        attack: "With a key given twice, one reader takes the first and another the last. A document then \
                 passes a check with one value and runs with the other.",
        fix: "Remove one of the two members. Keys are compared after unescaping.",
    },
    Rule {
        code: "MPKG-J05",
        title: "No floating-point numbers",
        attack: "Readers round fractions and exponents differently and write them back differently, so \
                 equal documents get different hashes and comparisons of limits go wrong at the edge.",
        fix: "Write a whole number in plain digits; for parts use a smaller unit, such as bytes or \
              milliseconds.",
    },
    Rule {
        code: "MPKG-J06",
        title: "Integers within ±(2^53 - 1)",
        attack: "JavaScript and others keep numbers as doubles: beyond 2^53 two different sequence numbers \
                 become equal, which would let an old release pass as the newest.",
        fix: "Use a number from -9007199254740991 to 9007199254740991, or a string.",
    },
    Rule {
        code: "MPKG-J07",
        title: "Bounded nesting",
        attack: "Thousands of opening brackets cost a sender nothing and overflow a recursive reader's \
                 stack.",
        fix: "Nest arrays and objects at most 32 levels deep.",
    },
    Rule {
        code: "MPKG-J08",
        title: "Bounded length",
        attack: "A document without an upper bound takes a phone's memory before anything about it has been \
                 verified.",
        fix: "Shorten the document; a manifest may have 256 KiB.",
    },
    Rule {
        code: "MPKG-J09",
        title: "Nothing behind the value",
        attack: "What follows the value is ignored by some readers and read by others, so that a signature \
                 covers content that a check never saw.",
        fix: "Remove everything after the closing bracket.",
    },
    Rule {
        code: "MPKG-J10",
        title: "No half characters",
        attack: "A lone surrogate escape has no UTF-8 form: readers replace it or keep it, and two \
                 different strings become equal, or one becomes two.",
        fix: "Write the character itself, or both halves of the escape.",
    },
    Rule {
        code: "MPKG-J11",
        title: "The expected document",
        attack: "A signed document of another type, or with members that nobody knows, could be taken for \
                 this one.",
        fix: "Give the document that the message names, made by a version of the tool that this one \
              understands.",
    },
    Rule {
        code: "MPKG-M01",
        title: "The right type",
        attack: "A value of another type is dropped or converted by lenient readers; what the author wrote \
                 would then silently not apply.",
        fix: "Write a value of the type that the message names. Numbers and booleans take no quotes.",
    },
    Rule {
        code: "MPKG-M02",
        title: "Required members are there",
        attack: "Without identity, version, entry page or component a package cannot be told from another, \
                 updated or run.",
        fix: "Add the member.",
    },
    Rule {
        code: "MPKG-M03",
        title: "Only known members inside `mpkg`",
        attack: "A misspelt limit that is silently ignored is a limit that does not hold.",
        fix: "Correct the name, or remove the member. Vendors' own members go outside `mpkg`.",
    },
    Rule {
        code: "MPKG-M04",
        title: "Lists of bounded length",
        attack: "An app without a page cannot start, and a list without end is a way to exhaust whoever \
                 shows it.",
        fix: "Keep to the number of entries that the message names.",
    },
    Rule {
        code: "MPKG-M05",
        title: "No entry twice",
        attack: "Of two entries with one name, a dialog may show the harmless one while the other applies.",
        fix: "Remove one of the two.",
    },
    Rule {
        code: "MPKG-M06",
        title: "Numbers within bounds",
        attack: "A quota or a version outside its range would wrap, be rounded or be clamped, and no longer \
                 mean what was signed.",
        fix: "Use a number within the bounds that the message names.",
    },
    Rule {
        code: "MPKG-M07",
        title: "One of the words that are allowed",
        attack: "A word that nobody knows falls back to a default, which the author does not see and did \
                 not mean.",
        fix: "Use one of the words that the message lists.",
    },
    Rule {
        code: "MPKG-M08",
        title: "Text that says what it says",
        attack: "Control characters rewrite a terminal, bidirectional overrides make a permission dialog \
                 read backwards, invisible characters make two names look the same.",
        fix: "Remove the character that the message names; keep names short and without white space at the \
              ends.",
    },
    Rule {
        code: "MPKG-M09",
        title: "App id in reverse DNS",
        attack: "Ids that differ in case or have one label only are easily taken for another app's.",
        fix: "Use a domain that you own, reversed, in lower case: `org.example.miniapp`.",
    },
    Rule {
        code: "MPKG-M10",
        title: "Semantic version",
        attack: "Version ranges select which releases to stop; a version that cannot be ordered escapes \
                 them.",
        fix: "Write MAJOR.MINOR.PATCH, such as `1.4.0`, with `-beta.1` behind it if need be.",
    },
    Rule {
        code: "MPKG-M11",
        title: "Paths that stay in the package",
        attack: "`../`, absolute paths, device names and look-alike characters reach files outside the \
                 package, or different files on different systems.",
        fix: "Use segments of A-Z a-z 0-9 . _ - joined by `/`, none beginning with `.` or `-` or ending \
              with `.`.",
    },
    Rule {
        code: "MPKG-M12",
        title: "Icon sizes",
        attack: "A size that cannot be read makes a host pick another icon than the author meant.",
        fix: "Write `any`, or sizes such as `48x48`, with spaces between.",
    },
    Rule {
        code: "MPKG-M13",
        title: "Colours in hexadecimal",
        attack: "Text that goes from a manifest into a style sheet is an injection unless it can only be a \
                 colour.",
        fix: "Write the colour as `#rrggbb`.",
    },
    Rule {
        code: "MPKG-M14",
        title: "Language tag",
        attack: "The tag goes into markup and selects fonts and direction; free text there is an injection.",
        fix: "Write a BCP 47 tag, such as `en-GB`.",
    },
    Rule {
        code: "MPKG-M15",
        title: "Known permissions only",
        attack: "A permission that nobody can describe cannot be consented to, and could gain a meaning \
                 later that the user never agreed to.",
        fix: "Use a name of the vocabulary, or `host.<service>` for one of the hosting app's own.",
    },
    Rule {
        code: "MPKG-M16",
        title: "No permission for what is free",
        attack: "Asking for what every app has trains users to say yes.",
        fix: "Remove the entry: `log`, `clock` and `random` need no permission.",
    },
    Rule {
        code: "MPKG-M17",
        title: "A host's service has its own name",
        attack: "A host permission `host.cart` would cover methods that look like those of `cart.write`, \
                 and a grant of the one could be taken for the other.",
        fix: "Ask for the built-in permission, or have the host name its service differently.",
    },
    Rule {
        code: "MPKG-M18",
        title: "Optional permissions are asked for",
        attack: "A permission in one list only is shown to the user in one place and missing in the other.",
        fix: "Add it to `req_permissions` as well, or remove it from `mpkg.optional_permissions`.",
    },
    Rule {
        code: "MPKG-M19",
        title: "`network` and its hosts go together",
        attack: "Network access without a list of hosts is access to all of them; a list without the \
                 permission is one that no user has seen.",
        fix: "Ask for `network` in `req_permissions` and list the hosts in `mpkg.network.allow`.",
    },
    Rule {
        code: "MPKG-M20",
        title: "Host names only",
        attack: "Addresses, ports, user names and URLs in a list of hosts are read differently by different \
                 URL parsers, which lets a request leave for somewhere else than the list says.",
        fix: "Write a host name in lower case, such as `api.example.com`, or `*.example.com` for all below \
              it.",
    },
    Rule {
        code: "MPKG-M21",
        title: "Known interface version",
        attack: "Running an app against an interface that it was not made for leads calls past checks that \
                 have moved.",
        fix: "Set `mpkg.abi` to 1, or update mpkg.",
    },
    Rule {
        code: "MPKG-M22",
        title: "The component is a file of its own",
        attack: "A manifest that is also the program is read by two parsers with two results.",
        fix: "Name the WebAssembly component, such as `app.wasm`.",
    },
    Rule {
        code: "MPKG-M23",
        title: "Target platform not below the minimum",
        attack: "A host would have to choose which of two contradicting numbers to believe.",
        fix: "Raise `target_code` or lower `min_code`.",
    },
    Rule {
        code: "MPKG-M24",
        title: "Scopes that fit their permission",
        attack: "A scope of the wrong kind, or one written in two ways, would make a comparison of what was \
                 granted with what is asked come out wrong.",
        fix: "Give hosts (sorted, each once) with `network`, a quota with `storage` and `files`, nothing \
              elsewhere.",
    },
    Rule {
        code: "MPKG-M25",
        title: "Reasons for what is asked for",
        attack: "A translated reason that belongs to nothing is a typing error, and users of that language are then \
                 asked in words they may not read.",
        fix: "Ask for the permission in `req_permissions`, or correct its name in `mpkg.reasons`.",
    },
    Rule {
        code: "MPKG-M50",
        title: "A reason for what users worry about",
        attack: "Warning. A question without a reason is answered by habit.",
        fix: "Add a `reason` to the entry: one sentence that says what the user gets from it.",
    },
    Rule {
        code: "MPKG-M51",
        title: "A member that looks misspelt",
        attack: "Warning. Members of other vendors are kept and ignored, and so are typing errors.",
        fix: "Correct the name; if it is a vendor's own, give it that vendor's prefix.",
    },
    Rule {
        code: "MPKG-M52",
        title: "A device type that few know",
        attack: "Warning. Hosts skip apps for devices that they do not recognise.",
        fix: "Use a common name, such as `smartphone` or `tablet`.",
    },
    Rule {
        code: "MPKG-M53",
        title: "A quota without its permission",
        attack: "Warning. The quota has no effect.",
        fix: "Add the permission to `req_permissions`, or remove the quota.",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::RULES;

    /// Every code that is written down in this crate has a row, and every row a code.
    #[test]
    fn codes_and_rows_are_the_same() {
        let sources = [include_str!("codes.rs"), include_str!("json/error.rs")];
        let written: BTreeSet<&str> = sources
            .iter()
            .flat_map(|source| source.split('"'))
            .filter(|text| text.starts_with("MPKG-"))
            .collect();
        let rows: BTreeSet<&str> = RULES.iter().map(|rule| rule.code).collect();
        assert_eq!(rows.len(), RULES.len(), "a code has two rows");
        assert_eq!(rows, written);
        assert!(
            RULES
                .iter()
                .all(|rule| !rule.title.is_empty() && !rule.attack.is_empty() && !rule.fix.is_empty())
        );
    }
}
