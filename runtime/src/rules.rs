//! The host's own rules and reasons, for `mpkg explain`. The formats' rules are in their crates.

use mpkg_manifest::rules::Rule;

/// Every code this crate gives.
pub const RULES: &[Rule] = &[
    Rule {
        code: "MPKG-H01",
        title: "The host's data folder works",
        attack: "A host that cannot record a sequence floor or a grant must not act as if it had.",
        fix: "Check that the folder exists, is writable, has space left, and is used by one host only.",
    },
    Rule {
        code: "MPKG-H02",
        title: "Somebody is trusted",
        attack: "Without a pinned publisher, anybody's signature would do.",
        fix: "Pin the publisher's root or key when the host is built.",
    },
    Rule {
        code: "MPKG-H03",
        title: "No rollback",
        attack: "An old release with a known hole is still validly signed. Offering it again would bring the hole back.",
        fix: "Install a release whose `version.code` is at least the highest this host has had.",
    },
    Rule {
        code: "MPKG-H04",
        title: "A release never changes",
        attack: "Two packages under one release sequence let a publisher, or who stole its key, show different code to \
                 different people.",
        fix: "Raise `version.code` for every change.",
    },
    Rule {
        code: "MPKG-H05",
        title: "An app stays with its publisher",
        attack: "Another publisher could take over an app's id, and with it the trust its users put in it.",
        fix: "Uninstall the app first, which removes its data and grants, or choose another `app_id`.",
    },
    Rule {
        code: "MPKG-H06",
        title: "At most 64 permissions",
        attack: "Nobody can judge a list that long, and a host keeps an app's grants in one word.",
        fix: "Declare fewer permissions.",
    },
    Rule {
        code: "MPKG-H07",
        title: "The package is the one that was offered",
        attack: "A registry that lies could hand a host another package than its signed state names: an older release of \
                 the same publisher, or another app of it.",
        fix: "Nothing on the host: it keeps what it has. Look at what the registry serves.",
    },
    Rule {
        code: "MPKG-H08",
        title: "Names in a host's settings mean something",
        attack: "A permission that is denied under a wrong name is not denied, and a rate for a method that is not there \
                 holds nobody up: nobody would notice.",
        fix: "Look at the spelling. Permissions are those of the vocabulary and `host.<name>`; methods are those of the \
              vocabulary and of the host's own bridges, each under its permission and once.",
    },
    Rule {
        code: "MPKG-H09",
        title: "A host finds what it runs on",
        attack: "A host without the thread that supervises its guests could stop none of them.",
        fix: "Build the host inside a Tokio runtime. Else the message tells what the system did not give.",
    },
    Rule {
        code: "MPKG-H10",
        title: "The app is installed",
        attack: "Only verified packages run.",
        fix: "Install the package first.",
    },
    Rule {
        code: "MPKG-H11",
        title: "A user's id has 1 to 128 bytes",
        attack: "An empty id would be shared by everybody who has none.",
        fix: "Give each user an id of their own.",
    },
    Rule {
        code: "MPKG-H12",
        title: "Required permissions are granted",
        attack: "An app must not run on permissions that its user refused.",
        fix: "Grant the permission, or list it under `mpkg.optional_permissions` if the app can do without.",
    },
    Rule {
        code: "MPKG-H13",
        title: "Required permissions have a bridge",
        attack: "An app that needs what a host does not have would fail later and less clearly.",
        fix: "Add a bridge for the permission to the host, or make it optional in the manifest.",
    },
    Rule {
        code: "MPKG-H14",
        title: "Within the host's policy",
        attack: "A manifest is a wish. The host decides how much memory and storage an app may have.",
        fix: "Ask for less in the manifest, or raise the ceiling in the host's policy.",
    },
    Rule {
        code: "MPKG-H15",
        title: "Not too many instances",
        attack: "Each instance costs memory; a loop of launches would use up the device.",
        fix: "End instances that are not needed, or raise `Policy::instances`.",
    },
    Rule {
        code: "MPKG-H16",
        title: "The stored package is intact",
        attack: "Somebody with access to the disk could swap a verified package for another.",
        fix: "Install the package again.",
    },
    Rule {
        code: "MPKG-H17",
        title: "The component fits the engine",
        attack: "A component that imports what the manifest does not declare is not linked at all.",
        fix: "Build the package with this version's `mpkg build`, which checks the same things.",
    },
    Rule {
        code: "MPKG-H18",
        title: "The app fits into the host's memory",
        attack: "Apps that are launched one after another would take the phone's memory, and the system would end the \
                 host with all of them.",
        fix: "End an app, hide those that are not looked at, or raise `Policy::memory_bytes`.",
    },
    Rule {
        code: "MPKG-H19",
        title: "A host that is being closed launches nothing",
        attack: "An app that starts while its host ends would be cut off in the middle of what it writes, and count as one \
                 that takes its host down.",
        fix: "Build a new host, in the next process.",
    },
    Rule {
        code: "MPKG-H20",
        title: "Killed by the host",
        attack: "A kill ends an instance whatever it does: spinning, waiting in a host call, or idle.",
        fix: "Nothing: it was asked for.",
    },
    Rule {
        code: "MPKG-H21",
        title: "Unloaded",
        attack: "An instance nobody uses holds memory that others could have.",
        fix: "Nothing: launch it again when it is needed.",
    },
    Rule {
        code: "MPKG-H22",
        title: "The host shut down",
        attack: "No instance outlives its host.",
        fix: "Nothing.",
    },
    Rule {
        code: "MPKG-H23",
        title: "Memory cap",
        attack: "One app could take the memory of all others. The cap counts all its memories, tables and messages \
                 together, so that splitting them does not help.",
        fix: "Use less memory, or ask for more with `mpkg.limits.memory_bytes` up to the host's ceiling.",
    },
    Rule {
        code: "MPKG-H24",
        title: "CPU budget",
        attack: "An endless loop would heat the phone and starve the others. Waiting is not charged.",
        fix: "Do less in one call: split the work, or store intermediate results.",
    },
    Rule {
        code: "MPKG-H25",
        title: "Time limit",
        attack: "A call that never ends holds its place, and what it waits for, forever.",
        fix: "Give up waiting earlier in the app; the limit includes time spent in host calls.",
    },
    Rule {
        code: "MPKG-H26",
        title: "Stack limit",
        attack: "Endless recursion would overwrite what lies below the stack.",
        fix: "Recurse less deeply, or use a loop with a list of its own.",
    },
    Rule {
        code: "MPKG-H27",
        title: "Message limit",
        attack: "The host copies messages into its own memory; a huge one would use it up.",
        fix: "Answer in parts.",
    },
    Rule {
        code: "MPKG-H28",
        title: "The app crashed",
        attack: "A guest that panicked or read out of bounds is in an unknown state and is never entered again.",
        fix: "Look at the app's log; the trap names what happened.",
    },
    Rule {
        code: "MPKG-H29",
        title: "The app exited",
        attack: "A guest may end itself; its state is gone then.",
        fix: "Launch it again.",
    },
    Rule {
        code: "MPKG-H30",
        title: "The call was answered with an error",
        attack: "The app, or the host in its place, refused the call. The JSON-RPC code says which and why.",
        fix: "See the list of JSON-RPC codes in docs/errors.md.",
    },
    Rule {
        code: "MPKG-H31",
        title: "Answers are JSON",
        attack: "What a guest answers is passed on to others, who will parse it.",
        fix: "Answer with JSON text of the type the caller expects.",
    },
    Rule {
        code: "MPKG-H32",
        title: "A hidden app does not run",
        attack: "An app that nobody looks at would use battery and follow its user around.",
        fix: "Show the app before calling it, or set `Policy::suspend_hidden` to false.",
    },
    Rule {
        code: "MPKG-H33",
        title: "Unloaded to make room",
        attack: "Apps that nobody looks at must not keep others from starting.",
        fix: "Launch it again when it is needed; what it left behind as its state is given back to it.",
    },
    Rule {
        code: "MPKG-H34",
        title: "The host's memory",
        attack: "Each app within its own cap, all together would still take the phone's memory.",
        fix: "End apps that are not needed, or raise `Policy::memory_bytes`.",
    },
    Rule {
        code: "MPKG-H35",
        title: "Switched off by the operator",
        attack: "A release that does harm is stopped wherever it runs. A known kill holds offline, for ever, until a signed \
                 lift ends it.",
        fix: "Nothing on the host. The operator lifts the kill, or offers a release that it does not match.",
    },
    Rule {
        code: "MPKG-H40",
        title: "The release is not switched off",
        attack: "A release that does harm must not be started again. A known kill holds offline, for ever, until a signed \
                 lift ends it.",
        fix: "Nothing on the host. The operator lifts the kill, or offers a release that it does not match.",
    },
    Rule {
        code: "MPKG-H41",
        title: "The package is not disabled",
        attack: "A package that the registry has disabled must not be started from a copy that a host still has.",
        fix: "Update to a release that is offered.",
    },
    Rule {
        code: "MPKG-H42",
        title: "The release is not below the floor",
        attack: "An old release with a known hole is still validly signed. Below the signed floor none runs, installed or not.",
        fix: "Update to a release that is offered.",
    },
    Rule {
        code: "MPKG-H43",
        title: "The app starts",
        attack: "A release that ends again and again before it is up, or takes its host down with it, would do so for ever.",
        fix: "Offer a release that was not tried here, or install one directly, which forgets what happened.",
    },
    Rule {
        code: "MPKG-H44",
        title: "A supervised host knows its orders",
        attack: "Whoever damages what the agent knew, or launches an app before it has read that, would run what is switched \
                 off.",
        fix: "Start the agent first, and look at why it does not start: its error has a code of its own.",
    },
    Rule {
        code: "MPKG-H50",
        title: "An app's inbox has room",
        attack: "An app that hangs, or answers with errors, would let the host's memory fill with what it is to be told.",
        fix: "Publish again later. If it lasts, look at the app: it is slow, or its handler of `events.message` fails, \
              or its manifest's `limits.message_bytes` are fewer than the event has.",
    },
    Rule {
        code: "MPKG-H51",
        title: "Events have a topic and a size",
        attack: "Topics are shown and logged, and an event is copied for every app that listens.",
        fix: "Name topics with A-Z, a-z, 0-9, `.`, `-`, `_` and `/`, and publish references instead of large data.",
    },
    Rule {
        code: "MPKG-H60",
        title: "A gateway is on a loopback address",
        attack: "Its connections are not encrypted. Whoever shares the network could read a token, and be the app from then \
                 on.",
        fix: "Listen at `127.0.0.1:0` or `[::1]:0`.",
    },
    Rule {
        code: "MPKG-H61",
        title: "A door is open to one origin",
        attack: "`null` is what sandboxed frames and local files of anybody say of themselves; and an origin that no \
                 browser sends, such as one with a path, lets nobody in.",
        fix: "Give the origin of the app's page as a browser writes it: `scheme://host`, with a port if it has one.",
    },
    Rule {
        code: "MPKG-H62",
        title: "A gateway works",
        attack: "Without random bytes a token could be guessed, and without its address no page finds its host.",
        fix: "Choose another port, or 0 for any that is free.",
    },
    Rule {
        code: "MPKG-H70",
        title: "Compiled code is from whom the host has it",
        attack: "Compiled code does what it likes in the host's process: no sandbox is left around it.",
        fix: "Compile it again, sign it with the key that the host is built with, and give the whole file.",
    },
    Rule {
        code: "MPKG-H71",
        title: "Compiled code is for this engine",
        attack: "Code for another version, processor or setting of the engine would read and write past its memory.",
        fix: "Compile it with the version of the runtime and the compiler that the host has, for its processor.",
    },
    Rule {
        code: "MPKG-H72",
        title: "A host without a compiler is given code",
        attack: "Nothing: a host that is built without a compiler, so that no hostile module is ever compiled on a device, \
                 runs what its own servers have compiled.",
        fix: "Compile the release with `precompile`, and give the file to `Host::add_code` before the install.",
    },
];
