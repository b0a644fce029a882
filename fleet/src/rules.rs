//! Every rule that this crate refuses by, with what it is for.

use mpkg_manifest::rules::Rule;

const fn rule(code: &'static str, title: &'static str, attack: &'static str, fix: &'static str) -> Rule {
    Rule { code, title, attack, fix }
}

/// The rules, by code.
pub const RULES: &[Rule] = &[
    rule(
        "MPKG-F01",
        "Documents are of bounded length",
        "They are read before anything vouches for them; the bounds keep that cheap: 64 KiB for the state of an app or \
         a stop notice, 2 MiB for a fleet head. A rollout's targeting has 24 KiB of the state, lest no stop fit beside it.",
        "Shorten the allow list, or drop lifts of kills that no host can know any more.",
    ),
    rule(
        "MPKG-F02",
        "Lists are of bounded length",
        "A list without end is a way to exhaust every host at once.",
        "Use ranges and segments instead of long lists.",
    ),
    rule(
        "MPKG-F03",
        "The registry's root has the role",
        "Keys of a publisher's root must not speak for the fleet.",
        "Make a registry root with the roles state and stop.",
    ),
    rule(
        "MPKG-F04",
        "Positions begin with 1 and name the document before",
        "A document that names none before it could be the beginning of a second history.",
        "Sign the state with the registry, not by hand.",
    ),
    rule(
        "MPKG-F05",
        "A document expires after it is issued",
        "A state that is expired from the start would freeze every host.",
        "Give a later time.",
    ),
    rule(
        "MPKG-F06",
        "Treatment and control are apart",
        "A host in both arms would be compared with itself, and shares of nothing hide a mistake.",
        "Let both shares together be at most 100 %, and zero without a release.",
    ),
    rule(
        "MPKG-F07",
        "No release below the floor",
        "The floor keeps releases with known holes from coming back; a document that offers one contradicts itself.",
        "Offer a release that is not below min_seq.",
    ),
    rule(
        "MPKG-F08",
        "A rollout goes to a newer release",
        "Going back in the guise of a rollout would skip what a rollback does, and reach some hosts only.",
        "Roll back instead.",
    ),
    rule(
        "MPKG-F09",
        "Kills in an app's state are that app's",
        "Who reads the state of one app must see all that it does.",
        "Put kills of other apps and of the whole fleet into the fleet head or a stop notice.",
    ),
    rule(
        "MPKG-F20",
        "Revoking names a permission, and nothing else does",
        "A kill that names a permission at another level would look narrower than it is.",
        "Use level 3 (revoke) with a permission, or leave the permission out.",
    ),
    rule(
        "MPKG-F21",
        "Ranges of a kill hold something",
        "A kill that matches nothing gives a false sense of safety.",
        "Swap the ends of the range: the first is included, the end of a version range is not.",
    ),
    rule(
        "MPKG-F22",
        "A kill is of bounded length",
        "Documents have room for so many bytes; a kill that takes it all would keep the next one from every host.",
        "Name at most 32 platforms, or give several kills.",
    ),
    rule(
        "MPKG-F30",
        "The registry's root comes first",
        "Without it nobody knows whose signatures count.",
        "Fetch the registry's roots, then the documents.",
    ),
    rule(
        "MPKG-F31",
        "The root is that of the pinned registry",
        "Anyone can make a root. Only the one whose id the host was built with may steer its apps.",
        "Check the registry's address, or the id that the host pins.",
    ),
    rule(
        "MPKG-F32",
        "A host never goes back to an older root of its registry",
        "An older root still lists keys that were thrown out since, perhaps because they were stolen.",
        "Fetch the roots from the registry itself.",
    ),
    rule(
        "MPKG-F33",
        "There is one root of each version",
        "Two roots of one version mean that root keys are in two hands, and each would lead its hosts elsewhere.",
        "Alarm. Find out who signed; both roots are kept as evidence.",
    ),
    rule(
        "MPKG-F34",
        "An expired root admits only stops",
        "Whoever keeps newer roots from a host could have it follow stolen keys for ever. Kills still count: with them a \
         thief can switch off, and not on.",
        "Make a new root version with a later date.",
    ),
    rule(
        "MPKG-F35",
        "Epochs stay within the room that the root gives",
        "With one document of the highest number a thief of the state key would lock out every later one. Each root \
         version makes room for 1 048 576 epochs, and rotating the root is what ends a theft anyway.",
        "Use the next epoch.",
    ),
    rule(
        "MPKG-F36",
        "State never goes back",
        "An old document is rightly signed for ever; showing it again would undo a rollback or a floor. Its kills count.",
        "Nothing, when it came late. If it goes on, someone replays old state to this host.",
    ),
    rule(
        "MPKG-F37",
        "There is one document for each position",
        "Two of them split the fleet: each host would follow the one that it saw first.",
        "Alarm. After restoring a registry from a backup begin a new epoch; otherwise the state key is in two hands.",
    ),
    rule(
        "MPKG-F38",
        "A document follows from the one before it",
        "A document with another past belongs to another history.",
        "Alarm. As for two documents of one position.",
    ),
    rule(
        "MPKG-F39",
        "An app stays its publisher's",
        "A registry that is taken over could give an app's id, and with it its data on every device, to somebody else.",
        "Publish under another app id.",
    ),
    rule(
        "MPKG-F40",
        "Saved state is whole",
        "A host that starts as if it knew nothing forgets its kills and floors.",
        "Restore the file, or fetch everything again before any app is launched.",
    ),
    rule(
        "MPKG-F41",
        "Sequences are without a gap",
        "Hosts check each document against the one before it, which a gap makes impossible.",
        "Sign with the next sequence, or 1 in a new epoch.",
    ),
    rule(
        "MPKG-F42",
        "A state names the one before it",
        "Every host that knows the one before would refuse it and raise an alarm.",
        "Build the state from the newest one.",
    ),
    rule(
        "MPKG-F43",
        "A state keeps app and publisher",
        "Every host would refuse an app that changes hands.",
        "Publish under another app id.",
    ),
    rule(
        "MPKG-F44",
        "Floors never fall",
        "Hosts keep the highest floor they saw, so a lower one would hold on new hosts only.",
        "Keep min_seq, or raise it.",
    ),
    rule(
        "MPKG-F45",
        "The percentage of a release only grows",
        "Whoever has the release must keep it, or going on and back would look alike in telemetry.",
        "Halt, so that nobody new gets it, or roll back.",
    ),
    rule(
        "MPKG-F46",
        "Each release has its own salt",
        "With one salt for all, the same people are the first five percent every time; with a new one within a release, \
         people drop out and in.",
        "Draw a new salt with each rollout, and keep it.",
    ),
    rule(
        "MPKG-F47",
        "A kill leaves the state only by a lift",
        "Hosts keep the kill, so the registry would show something as running that is not.",
        "Lift it.",
    ),
    rule(
        "MPKG-F50",
        "The steps of a plan ascend to 100 %",
        "A step back would take the release from people, and a plan that ends early leaves them on two versions.",
        "Give ascending percentages, the last one 100.",
    ),
    rule(
        "MPKG-F51",
        "Verbs that go fit the phase",
        "A rollout that was stopped must not go on by a command that was meant for another moment.",
        "Look at the status; what stops is never refused.",
    ),
    rule(
        "MPKG-F52",
        "A step lasts its bake time",
        "Some failures take hours to show.",
        "Wait, or advance with skip_bake.",
    ),
    rule(
        "MPKG-F53",
        "The last step is completed, the others are advanced",
        "Completing early would give the release to everybody at once.",
        "Advance until the last step, then complete.",
    ),
    rule(
        "MPKG-F54",
        "A rollback goes back",
        "A stop needs one person and no approval; with a newer release as its target it would be a way around both.",
        "Name an earlier release, or start a rollout.",
    ),
    rule(
        "MPKG-F55",
        "A newer release supersedes",
        "Two rollouts that take each other's place would leave nobody in charge.",
        "Roll back instead.",
    ),
    rule(
        "MPKG-F56",
        "Enough people agree to the very change",
        "One person, or one stolen token, must not start what policy says takes two. Approvals are bound to the hash of \
         the change, so that they cannot be used for another.",
        "Have somebody else approve the change as it is now.",
    ),
    rule(
        "MPKG-F60",
        "Evidence is replayed by the rules that it was made by",
        "Other rates or lines would make an honest decision look wrong, or a wrong one right.",
        "Use the version of mpkg that made it.",
    ),
    rule(
        "MPKG-F61",
        "Evidence gives the same decision again",
        "Evidence that was edited would justify what nobody decided.",
        "Compare with the audit log; the message's cause holds what the inputs really give.",
    ),
    rule(
        "MPKG-F70",
        "A telemetry batch has at most 256 rows and 64 KiB",
        "One host must not keep a registry busy.",
        "Send several batches.",
    ),
    rule(
        "MPKG-F71",
        "Counters of a part are not above those of the whole",
        "More failures than calls are no measurement, and would turn a vote.",
        "Count a call when it ends, and then its outcome.",
    ),
    rule(
        "MPKG-F80",
        "A state file has the format that this version reads",
        "A host must not guess what a file means that was made by another version.",
        "Export the state again, with the version of mpkg that the host was built with.",
    ),
];
