//! Every rule that the registry refuses by, with what it is for.

use mpkg_manifest::rules::Rule;

const fn rule(code: &'static str, title: &'static str, attack: &'static str, fix: &'static str) -> Rule {
    Rule { code, title, attack, fix }
}

/// The rules, by code.
pub const RULES: &[Rule] = &[
    rule(
        "MPKG-P01",
        "A request names who makes it",
        "Without a token nobody could be held to what was changed.",
        "Send `Authorization: Bearer` with a token.",
    ),
    rule(
        "MPKG-P02",
        "A token is known, in date and not revoked",
        "Unknown, expired and revoked are one answer, so that nobody learns which guess was close.",
        "Ask an admin for a token.",
    ),
    rule(
        "MPKG-P03",
        "A token has the role that a route asks for",
        "Who publishes must not switch off, and who reports must not publish.",
        "Use a token with one of the roles that the message names.",
    ),
    rule(
        "MPKG-P04",
        "A token stays within its apps and publishers",
        "A token that leaks from one publisher's build must not touch another's apps.",
        "Use a token whose scope has the app or publisher.",
    ),
    rule(
        "MPKG-P05",
        "A token makes a bounded number of requests",
        "One client in a loop would take the registry from all others. Stops are not counted.",
        "Wait as long as `Retry-After` says.",
    ),
    rule(
        "MPKG-P06",
        "Streams leave connections for other requests",
        "With every connection taken by a stream, nobody would get through to stop anything. A token has four streams: its \
         oldest ends when it asks for a fifth.",
        "Try again in a moment; if it stays so, raise `connections`, and give each host a token of its own.",
    ),
    rule(
        "MPKG-P10",
        "Bodies are of bounded length",
        "A body without end fills the disk or the memory.",
        "Send less; packages have at most 64 MiB.",
    ),
    rule(
        "MPKG-P11",
        "Bodies are strict JSON of the right shape",
        "Duplicate keys and unknown members are read differently by different programs.",
        "Compare with /v1/openapi.json.",
    ),
    rule(
        "MPKG-P12",
        "Parameters are of the right form",
        "What is in a path or query ends in queries and file names; only the one spelling gets there.",
        "Compare with /v1/openapi.json.",
    ),
    rule(
        "MPKG-P13",
        "There is such a route",
        "A guess that is answered politely is worth another guess.",
        "See /v1/openapi.json for what there is.",
    ),
    rule(
        "MPKG-P14",
        "Bodies do not pause",
        "A sender that trickles holds a connection and a place in the queue.",
        "Send again over a better connection.",
    ),
    rule(
        "MPKG-P20",
        "A change has an idempotency key",
        "A client that heard no answer has to ask again, and must not do it twice.",
        "Send `Idempotency-Key` with 1 to 128 visible ASCII characters, a new one for each change.",
    ),
    rule(
        "MPKG-P21",
        "A key stands for one request",
        "The answer to another request would be taken for the answer to this one.",
        "Use a new key.",
    ),
    rule(
        "MPKG-P22",
        "Verbs that go say what they go from",
        "Two people who both saw step 1 must not advance twice. Stops need no such thing.",
        "Send `If-Match` with the ETag of what you saw.",
    ),
    rule(
        "MPKG-P23",
        "What is changed is what was seen",
        "Somebody else changed it in between.",
        "Look at it again, then decide again.",
    ),
    rule(
        "MPKG-P30",
        "The publisher is registered",
        "Releases are judged by a root that was there before.",
        "Register the publisher's root.",
    ),
    rule(
        "MPKG-P31",
        "A root chain continues the known one",
        "An older root still lists keys that were thrown out, and another one of the same version would be a second \
         history.",
        "Send the whole, newest root file.",
    ),
    rule(
        "MPKG-P32",
        "An app belongs to the publisher that claimed it first",
        "Data on devices belongs to the app of one publisher.",
        "Choose another app id.",
    ),
    rule(
        "MPKG-P33",
        "The app is claimed",
        "Without an owner nobody could say whose releases count.",
        "Claim the app id for its publisher.",
    ),
    rule(
        "MPKG-P34",
        "The release sequence grows",
        "An older release may have known holes; and a release that is there never changes.",
        "Raise `version.code` in the manifest.",
    ),
    rule(
        "MPKG-P35",
        "There is such a release",
        "What is not reviewed looks the same as what is not there.",
        "List the app's releases.",
    ),
    rule(
        "MPKG-P36",
        "Only approved releases that may run are rolled out",
        "A rollout reaches everybody, so nothing goes out that is yanked, disabled or below its app's floor.",
        "Have it approved or enabled, or publish another one.",
    ),
    rule(
        "MPKG-P37",
        "A review is decided once",
        "A release that was approved must not become rejected behind the back of a rollout; kill it instead.",
        "Publish another release.",
    ),
    rule(
        "MPKG-P38",
        "Patches are worth it",
        "A patch that is hardly shorter than the package costs time here and there; between releases that are far apart, \
         somebody could have them made without end.",
        "Download the whole package.",
    ),
    rule(
        "MPKG-P39",
        "The patch is made",
        "Patches are made one after the other, so that whoever asks for many holds up nothing else.",
        "Try again in a moment, or download the whole package.",
    ),
    rule(
        "MPKG-P40",
        "There is such a rollout",
        "A command to nothing must not look as if it had worked.",
        "List the app's rollouts.",
    ),
    rule(
        "MPKG-P41",
        "There is such a kill",
        "A lift of nothing must not look as if it had worked.",
        "List the kills.",
    ),
    rule(
        "MPKG-P42",
        "Documents hold so many kills",
        "Hosts take bounded documents only, so a kill that does not fit would reach nobody.",
        "Lift kills that are over, or kill at a wider scope.",
    ),
    rule(
        "MPKG-P43",
        "There is such a token",
        "A revocation of nothing must not look as if it had worked.",
        "List the tokens.",
    ),
    rule(
        "MPKG-P44",
        "There is such evidence",
        "A decision without evidence could not be questioned.",
        "List the rollout's evidence.",
    ),
    rule(
        "MPKG-P45",
        "The package is disabled",
        "Letting go on what was never stopped must not look as if it had worked.",
        "Look at the app's limits.",
    ),
    rule(
        "MPKG-P46",
        "A rollback leads to what was everybody's",
        "A stop takes one person: with a target that nobody ever ran or approved, it would be a start without the others.",
        "Name a release that the message lists, or none for what everybody ran before; to go elsewhere, start a rollout.",
    ),
    rule("MPKG-P50", "The registry is ready", "It is starting or stopping.", "Try again in a moment."),
    rule(
        "MPKG-P51",
        "The registry can store",
        "Nothing was changed.",
        "Look at the registry's disk and log.",
    ),
    rule(
        "MPKG-P52",
        "The registry makes no mistake",
        "What it does not understand it does not do; nothing was changed.",
        "Report it with the registry's log.",
    ),
];

/// The rule with this code, from any crate.
pub(crate) fn hint(code: &str) -> &'static str {
    let tables = [RULES, mpkg_fleet::RULES, mpkg_package::RULES, mpkg_manifest::rules::RULES];
    tables.iter().flat_map(|table| table.iter()).find(|rule| rule.code == code).map_or("", |rule| rule.fix)
}
