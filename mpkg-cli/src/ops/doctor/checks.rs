//! The table of what `mpkg doctor` looks for. Each row has a case that triggers it and one that just does not, under
//! `tests/doctor`.

use crate::ops::finding::checks;

checks! {
    TOOL = "MPKG-D01", Error, "The build tool is there",
        "Rust guests are built by cargo, JavaScript guests by node. mpkg does not install programs on your machine.",
        "Install it, or put it on PATH.";
    TARGET = "MPKG-D02", Error, "The compiler can build guests",
        "A guest is WebAssembly. A compiler for this machine alone lacks the standard library for it.",
        "rustup target add wasm32-unknown-unknown";
    OLD_TOOL = "MPKG-D03", Error, "The build tool is new enough",
        "Bundler and driver use what older versions do not have, and fail in the middle of a build.",
        "Update it.";
    JS_TOOLCHAIN = "MPKG-D04", Warning, "The JavaScript toolchain is installed",
        "The first build fetches it from npm, which takes a network and a minute. On a machine without network it \
         fails.",
        "Run `mpkg build` once with a network.";
    OPEN_KEY = "MPKG-D10", Error, "Only you can read your keys",
        "Every program of every user on this machine can read the file, and whoever has the key can publish in your \
         name.",
        "chmod 600 FILE";
    PACKED_KEY = "MPKG-D11", Error, "No key among the files that are packed",
        "Everything under `assets/` goes into the package, and with it to every user.",
        "Move the key out of the project. If a package with it was ever shared, make a new key.";
    UNIGNORED_KEY = "MPKG-D12", Warning, "Keys in the project are ignored by git",
        "The next `git add .` takes the key along, and what was pushed once is public for good.",
        "Move the key out of the project, or add it to .gitignore.";
    TRACKED_KEY = "MPKG-D13", Error, "No key in git",
        "The key is in the repository's history, in every clone and on the server, also after it is deleted.",
        "Make a new key and take this one out of use; then `git rm --cached FILE`.";
    NO_MANIFEST = "MPKG-D20", Error, "The project has a manifest",
        "Without manifest.json nothing says what the app is, what it may do and where it starts.",
        "Start a project with `mpkg new`, or name the right folder.";
    MANIFEST = "MPKG-D21", Error, "The manifest is valid",
        "`mpkg build` refuses a manifest with problems; what it only warns about is listed as well.",
        "Correct the manifest at the place shown.";
    NO_BUILD_FILE = "MPKG-D22", Error, "The project can be built",
        "A Cargo.toml (Rust) or a package.json (JavaScript) tells what the component is made of.",
        "Start a project with `mpkg new`, or name the right folder.";
    NO_CARGO_LOCK = "MPKG-D30", Warning, "Cargo.lock is there",
        "Without it each build takes the newest versions of all dependencies: the same source gives other bytes \
         tomorrow, and nobody can prove that a package came from it.",
        "cargo generate-lockfile, and commit the file";
    NO_NPM_LOCK = "MPKG-D31", Warning, "package-lock.json is there",
        "Without it each install takes the newest versions of all dependencies: the same source gives other bytes \
         tomorrow, and nobody can prove that a package came from it.",
        "npm install --package-lock-only, and commit the file";
}
