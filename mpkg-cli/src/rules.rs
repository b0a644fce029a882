//! The codes of this program's own errors. The crates below bring theirs.

use mpkg_manifest::rules::Rule;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $title:literal, $attack:literal, $fix:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: Rule = Rule { code: $code, title: $title, attack: $attack, fix: $fix };)*
        /// Every rule of this program, by code.
        pub(crate) const RULES: &[Rule] = &[$($name),*];
    };
}

rules! {
    USAGE = "MPKG-C01", "The command line is wrong",
        "A verb, flag or value is missing, misspelt or in conflict with another one. Nothing was read or written.",
        "Look at the help of the verb: `mpkg VERB --help` ends with examples.";
    READ = "MPKG-C02", "A file could not be read",
        "The path does not exist, is a folder, or may not be read by this user.",
        "Check the path and its rights.";
    WRITE = "MPKG-C03", "A file could not be written",
        "The folder is missing, full or read-only. Files are written beside their final place and renamed, so a \
         failed write leaves no half file behind.",
        "Create the folder, or choose another output.";
    EXISTS = "MPKG-C04", "Something is there already",
        "Overwriting a private key loses it for good, and with it the publisher's identity. Unpacking a template into \
         a folder in use would mix two projects.",
        "Choose another name, or pass `--force` where the verb has it.";
    UNKNOWN_CODE = "MPKG-C05", "No such code",
        "The code is in no table of this version of mpkg.",
        "`mpkg explain --list` prints all of them.";
    NAME = "MPKG-C06", "A name or id does not fit",
        "Names become file names, crate names and app ids, each with rules of its own.",
        "Use lower-case letters, digits and dashes; an id is reverse DNS, such as com.example.stock-alert.";
    MANIFEST = "MPKG-C10", "The manifest has problems",
        "What the manifest says is what users are asked to allow and what every host enforces, so nothing in it is \
         guessed. All problems are listed at once, each with its own code.",
        "Go through the listed problems; `mpkg explain CODE` tells more about each.";
    AGREEMENT = "MPKG-C11", "The component and the manifest disagree",
        "An import without a declared permission would be refused by every host. A declared permission that nothing \
         imports asks users for something that the app cannot use, and that a later release could start to use \
         unnoticed.",
        "Declare the permission under `req_permissions`, or remove the call or the declaration.";
    ASSET = "MPKG-C12", "A file cannot be packed",
        "Every file of a package must have one meaning on every system: plain names, no links, bounded sizes.",
        "Rename or remove the file, or replace the link by what it points to.";
    MISSING_FILE = "MPKG-C13", "A file that the manifest names is missing",
        "An icon or component that is named but not packed would fail on the user's device instead of here.",
        "Put the file under `assets/`, or correct the name in the manifest.";
    NOT_A_PROJECT = "MPKG-C20", "Not a Mini App project",
        "A project has a manifest.json, and a Cargo.toml (Rust) or a package.json (JavaScript) beside it.",
        "Start one with `mpkg new`, or name the right folder.";
    TOOL_MISSING = "MPKG-C21", "A build tool is missing",
        "Rust guests need cargo, JavaScript guests node. mpkg does not install programs on your machine.",
        "Install the tool, or put it on PATH.";
    TOOLCHAIN_MISSING = "MPKG-C22", "The guest toolchain is incomplete",
        "Guests are built with pinned tools, so that the same source gives the same bytes everywhere. They live in one \
         folder, which `--toolchain` or MPKG_TOOLCHAIN names.",
        "Fetch the toolchain as the message says.";
    TOOL_FAILED = "MPKG-C23", "A build tool failed",
        "The compiler or bundler refused the project's source. What it said stands above the error.",
        "Fix the source; `--verbose` shows everything the tools print.";
    PROJECT = "MPKG-C24", "The project cannot be built as it is",
        "A build file (Cargo.toml, package.json) asks for something that does not give a Mini App.",
        "Change what the message names; `mpkg new` makes a project that builds, to compare with.";
    COMPONENTIZE = "MPKG-C25", "The compiled code is no component",
        "The compiler's output could not be wrapped into a WebAssembly component with the bridge's interfaces.",
        "Use the SDK of the same version as mpkg.";
    KEY_SOURCE = "MPKG-C30", "The key's source gives no key",
        "A key is read from a file, from standard input (`-`) or from an environment variable (`env:NAME`), never from \
         the command line itself, where other users could see it.",
        "Check the variable's name or the file.";
    NO_HOST = "MPKG-C40", "The host runtime does not start",
        "Running an app needs a data folder of its own and a WebAssembly engine that works on this machine.",
        "Look at the reason; `--data` names another folder, `--engine pulley` needs no native code.";
    INTERRUPTED = "MPKG-C41", "Interrupted",
        "Ctrl-C ended the run. The app was stopped with it.",
        "Run it again.";
    SETTINGS = "MPKG-C42", "The registry's settings cannot be used",
        "A setting that is misspelt and ignored is a door that somebody believes to be shut, so what is not understood \
         stops the start.",
        "Correct the file or flag that the message names; `mpkg registry serve --help` lists the settings.";
    NOT_SERVING = "MPKG-C43", "The registry does not start",
        "It needs a folder of its own, which no other registry has open, and an address to listen on.",
        "Look at the reason; `--data` names another folder, `--listen 127.0.0.1:0` takes any free port.";
    BACKUP = "MPKG-C44", "The backup was not made or restored",
        "A backup is written into an empty folder only, so that no half of another one is mixed in.",
        "Look at the reason; name an empty folder, and one with a registry to copy from.";
    NO_REGISTRY = "MPKG-C50", "No registry is named",
        "A command that guessed would publish or switch off somewhere else than its author thinks.",
        "Log in with `mpkg login URL`, pass `--registry URL`, or set MPKG_REGISTRY.";
    NOT_LOGGED_IN = "MPKG-C51", "Nobody is logged in",
        "The registry answers nobody without a token. A token is kept for the one address that it was given for, so \
         that no other one ever gets it.",
        "`mpkg login URL --token-file FILE` stores a token; an admin makes one with `mpkg token create`.";
    TOKEN_SOURCE = "MPKG-C52", "The token's source gives no token",
        "A token is read from standard input, a file or MPKG_TOKEN, never from the command line, where other users and \
         the shell's history could keep it.",
        "Pipe the token in, or pass `--token-file FILE`. One that stood on a command line should be revoked.";
    UNREACHABLE = "MPKG-C53", "The registry was not reached",
        "The machine is off, the address is wrong, or the network is down. A change whose answer got lost may have been \
         made all the same.",
        "Check the address and the network. After a change, look how things stand before you repeat it.";
    ANSWER = "MPKG-C54", "That is no registry",
        "Whatever answered does not speak as a registry does: a proxy, a login page, or another version.",
        "Check the address; open its /healthz in a browser.";
    NOT_CONFIRMED = "MPKG-C55", "What goes is confirmed",
        "Starting, widening and lifting reach people's devices. Typing the app's id shows that the right app is meant. \
         Verbs that stop never ask.",
        "Pass `--confirm` with the app's id.";
    NOT_THERE = "MPKG-C56", "What is named is not there",
        "An app, release, rollout or kill that does not exist must not look as if something had been done to it.",
        "`mpkg status` and `mpkg info APP` show what there is.";
    NOT_IN_CHARGE = "MPKG-C57", "The stop reached nothing",
        "Another rollout has taken over the app, so stopping this one stops nobody. Believing it stopped would be worse \
         than an error.",
        "Stop the rollout that is in charge: name the app instead of a number.";
    AUDIT_BROKEN = "MPKG-C58", "The audit log was tampered with",
        "Each entry holds the hash of the one before. Where that does not fit, somebody changed or removed an entry \
         outside of the registry.",
        "Treat it as an incident: keep the folder as it is, and compare with the newest backup.";
    IMPORT_ARCHIVE = "MPKG-C60", "The file is no MiniApp archive",
        "A MiniApp package is a ZIP archive, stored or deflated, not encrypted. Overlapping files are how a small \
         archive unpacks to a huge one.",
        "Make the package again with the old platform's tools.";
    IMPORT_LIMIT = "MPKG-C61", "The archive is too large to import",
        "What is imported becomes a package, so it has the package's limits. They are kept while unpacking: what an \
         archive says about its sizes may be a lie.",
        "Remove what the app does not need, and pack it again.";
    IMPORT_NAME = "MPKG-C62", "A name in the archive cannot be used",
        "A name with `..` or a link would be written outside of the project; of two files with one name each reader \
         takes another.",
        "Rename the file, and pack it again.";
    IMPORT_NO_MANIFEST = "MPKG-C63", "No manifest in the archive",
        "A W3C MiniApp package has a manifest.json in its root directory.",
        "Name a MiniApp package; its file usually ends in .ma.";
    IMPORT_MANIFEST = "MPKG-C64", "The manifest cannot be translated",
        "What is in manifest.json is JSON, but so far from a MiniApp manifest that guessing would help nobody.",
        "Correct the manifest in the package, or start with `mpkg new`.";
    REBUILD = "MPKG-C65", "The package does not come from this source",
        "Whoever reads the source wants to know that it is what runs. A build of it gave other bytes: the source is \
         another one, was changed, or was built by other tools.",
        "Compare commit and tool versions with the publisher's; the message says what differs first.";
    DEMO_BROKEN = "MPKG-C70", "The demo saw what must not be",
        "Each thing that the demo tells is checked before it is told: which host runs which release, that nothing runs \
         where a kill is in force, that evidence replays. One of these did not hold, so the rest would be a fairy tale.",
        "Report it with everything that was printed.";
    DEMO_LATE = "MPKG-C71", "Something did not happen in time in the demo",
        "The demo waits for what it tells, with a bound that grows with the number of hosts.",
        "Look at the message for who is late. On a busy or small machine take fewer hosts: `--hosts 50`.";
    DEMO_PARTS = "MPKG-C72", "The demo cannot be set up",
        "It needs room in the folder for temporary files, a port of this machine, and open files and sockets for each \
         host.",
        "Look at the reason; `--hosts` takes fewer hosts.";
    INTERNAL = "MPKG-C99", "A bug in mpkg",
        "The program ran into something that its authors thought impossible.",
        "Report it with the command you typed.";
}

/// The JSON-RPC error codes of the bridge, as docs/errors.md has them.
pub(crate) const RPC_CODES: &[(i64, &str, &str)] = &[
    (-32700, "parse_error", "The message is not JSON."),
    (-32600, "invalid_request", "The message is JSON, but no JSON-RPC 2.0 request."),
    (
        -32601,
        "method_not_found",
        "No such method. Check its name against the table of permissions and methods.",
    ),
    (-32602, "invalid_params", "The parameters are not what the method takes."),
    (-32603, "internal_error", "The host failed. The call may or may not have had an effect."),
    (
        -32001,
        "permission_denied",
        "The app lacks the permission; data.permission names it and data.reason tells why.",
    ),
    (-32002, "unavailable", "This host has no such bridge."),
    (-32003, "quota_exceeded", "The app's storage is full; data tells used_bytes and quota_bytes."),
    (-32004, "too_large", "The message, key or value is over its limit."),
    (-32005, "rate_limited", "Too many calls at once or in a short time. Wait and try again."),
    (-32006, "cancelled", "The call was cancelled, usually because the app is being stopped."),
    (-32007, "timed_out", "The call took too long."),
    (
        -32008,
        "refused",
        "A rule of the host forbids it, for example the network rules; data.reason tells which.",
    ),
    (
        -32009,
        "unreachable",
        "The other side of a network request does not answer, or not as it should; data.reason tells how far it got.",
    ),
    (
        -32010,
        "conflict",
        "Stored data is not as a transaction supposes; data.key names the key. Nothing changed.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        assert!(RULES.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(RULES.iter().all(|rule| rule.code.starts_with("MPKG-C")));
    }

    #[test]
    fn every_rule_is_used() {
        let source: String = walkdir::WalkDir::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
            .into_iter()
            .filter_map(Result::ok)
            .filter(|entry| {
                entry.file_name() != "rules.rs" && entry.path().extension().is_some_and(|e| e == "rs")
            })
            .map(|entry| std::fs::read_to_string(entry.path()).unwrap())
            .collect();
        let rules = include_str!("rules.rs");
        for rule in RULES {
            let name = rules.lines().find(|line| line.contains(&format!("= \"{}\"", rule.code))).unwrap();
            let name = name.split_whitespace().next().unwrap();
            assert!(
                source.contains(&format!("rules::{name}")) || source.contains(&format!("\"{}\"", rule.code)),
                "{name} is used nowhere"
            );
        }
    }

    #[test]
    fn every_code_has_a_rule() {
        let pattern = |text: &str| -> Vec<String> {
            text.match_indices("\"MPKG-C").map(|(at, _)| text[at + 1..at + 9].to_owned()).collect()
        };
        for source in [include_str!("ops/build/error.rs"), include_str!("ops/import/error.rs")] {
            for code in pattern(source) {
                assert!(RULES.iter().any(|rule| rule.code == code), "{code} is in no table");
            }
        }
    }
}
