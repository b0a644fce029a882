//! Valid cases to begin with. They are made, not kept: `seeds` writes them where the fuzzer looks.

use std::sync::LazyLock;

use mpkg_package::dsse::Envelope;
use mpkg_package::root::{Draft, RELEASE_ROLE, ROOT_ROLE, RootChain, RootFile, Trust};
use mpkg_package::signing::{Block, kind, split};
use mpkg_package::{SecretKey, container, sign, verify};
use mpkg_registry_client::delta::make;

#[path = "../../package/tests/support/mod.rs"]
mod support;

use support::archive::{archive, raw};
pub use support::{key, signed};

/// Made once: signing it anew would be most of what some targets do.
static GOLDEN: LazyLock<(Vec<u8>, Block)> = LazyLock::new(|| {
    let parts = split(signed()).expect("it is signed");
    (parts.unsigned, parts.block.expect("it is signed"))
});

/// The golden package.
pub fn package() -> Vec<u8> {
    GOLDEN.0.clone()
}

/// The golden package as it might be one release later.
pub fn next_package() -> Vec<u8> {
    let mut next = package();
    let middle = next.len() / 2;
    next.splice(middle..middle + 16, *b"something else, and a little longer");
    next
}

/// The golden package's signing block.
pub fn block() -> Block {
    GOLDEN.1.clone()
}

/// Every seed: the target it is for, a name, the bytes.
pub fn all() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut add =
        |target: &'static str, name: &str, bytes: Vec<u8>| all.push((target, name.to_owned(), bytes));

    for (name, bytes) in archives() {
        add("container", name, bytes.clone());
        add("roundtrip", name, bytes);
    }
    add("roundtrip", "files", b"\0\x05hello\x03abc\x04text\x05a/b/c\x01x".to_vec());
    add("roundtrip", "damaged", b"\x01\x20\0\x01\x05hello\x03abc\x04text".to_vec());

    let patch = make(&package(), &next_package()).expect("it is short");
    add("delta", "next", patch.clone());
    add("delta", "back", make(&next_package(), &package()).expect("it is short"));
    add("delta", "twice", patch.repeat(2));
    add("delta", "whole", package());

    let signed = signed();
    let block = block();
    let verified = verify(signed.clone(), &Trust::key(&key().public())).expect("it is signed");
    add("signing_block", "signed", signed);
    add("signing_block", "unsigned", package());
    add("signing_block", "detached", block.to_bytes());

    let mut envelope = Envelope::new(mpkg_package::statement::PAYLOAD_TYPE, verified.statement().to_bytes());
    add("statement", "payload", envelope.payload.clone());
    add("statement", "unsigned", envelope.to_bytes());
    envelope.sign(&key());
    add("statement", "one", envelope.to_bytes());
    envelope.sign(&SecretKey::from_seed(&[8; 32]));
    add("statement", "two", envelope.to_bytes());
    for (number, permissions) in
        [&["network", "storage"][..], &["cart.read", "cart.write", "host.loyalty"]].iter().enumerate()
    {
        let files = [
            ("manifest.json", support::manifest(permissions).into_bytes()),
            ("app.wasm", support::component(&[])),
        ];
        let package = container::write(&files).expect("files of a package");
        // Declaring more than is imported is for `mpkg build` to refuse.
        let signed = sign(&package, &key(), &support::root(), support::time()).expect("it can be signed");
        add("statement", &format!("permissions-{number}"), signed.statement.to_bytes());
        add("manifest", &format!("permissions-{number}"), files[0].1.clone());
    }

    let grant = block.get(kind::GRANT).expect("it has a grant").to_vec();
    add("statement", "grant", verified.grant().to_bytes());
    add("statement", "grant-envelope", grant);

    for (name, bytes) in roots() {
        add("root_chain", name, bytes);
    }
    let root = support::root();
    add("root_chain", "document", root.bytes().to_vec());
    add("root_chain", "chain", RootChain::first(root.clone()).expect("a first root").to_bytes());
    add("root_chain", "key", key().public().to_pem().into_bytes());
    add("root_chain", "id", root.publisher_id().to_string().into_bytes());

    add("manifest", "tiny", support::manifest(&[]).into_bytes());
    add("manifest", "nested", [&b"["[..]; 32].concat());
    for (name, text) in MANIFESTS {
        add("manifest", name, text.as_bytes().to_vec());
    }
    all
}

/// Chains and root files of a publisher who takes in two keys, asks for both, and throws one out.
fn roots() -> Vec<(&'static str, Vec<u8>)> {
    let [second, third] = [8, 9].map(|seed| SecretKey::from_seed(&[seed; 32]));
    let mut file = RootFile::new(RootChain::first(support::root()).expect("a first root"));
    let mut draft = Draft::after(file.chain().last());
    draft.add(RELEASE_ROLE, &second.public());
    draft.add(ROOT_ROLE, &third.public());
    let next = draft.build().expect("a root");
    let document = next.bytes().to_vec();
    file.propose(next).expect("it follows");
    file.sign(&key()).expect("a root key");
    let two = file.chain().to_bytes();

    let mut draft = Draft::after(file.chain().last());
    draft.set_threshold(ROOT_ROLE, 2);
    draft.revoke(second.public().id(), 5);
    draft.expires = Some(support::time());
    file.propose(draft.build().expect("a root")).expect("it follows");
    let proposed = file.to_bytes();
    file.sign(&key()).expect("a root key");
    let half = file.to_bytes();
    file.sign(&third).expect("a root key");
    vec![
        ("next-document", document),
        ("chain-of-two", two),
        ("proposed", proposed),
        ("half-signed", half),
        ("file", file.to_bytes()),
        ("chain-of-three", file.chain().to_bytes()),
    ]
}

const MANIFESTS: [(&str, &str); 5] = [
    ("minimal", include_str!("../../manifest-schema/tests/valid/minimal.json")),
    ("full", include_str!("../../manifest-schema/tests/valid/full.json")),
    ("edges", include_str!("../../manifest-schema/tests/valid/edges.json")),
    ("vendor-members", include_str!("../../manifest-schema/tests/valid/vendor-members.json")),
    ("warnings", include_str!("../../manifest-schema/tests/valid/warnings.json")),
];

/// Packages, and archives that are almost packages.
fn archives() -> Vec<(&'static str, Vec<u8>)> {
    let two = || vec![raw("manifest.json", "{}"), raw("a/b", "contents")];
    let with = |change: fn(&mut support::archive::Archive)| {
        let mut archive = archive(two());
        change(&mut archive);
        archive.build()
    };
    vec![
        ("package", package()),
        ("one-file", archive(vec![raw("manifest.json", "{}")]).build()),
        ("two-files", archive(two()).build()),
        ("empty-files", archive(vec![raw("manifest.json", ""), raw("a", ""), raw("b", "")]).build()),
        ("no-files", archive(vec![]).build()),
        ("comment", with(|archive| archive.comment = b"PK\x05\x06".to_vec())),
        ("extra", with(|archive| archive.entries[1].extra = vec![1, 0, 0, 0])),
        ("gap", with(|archive| archive.before_directory = vec![0; 4])),
        ("prefix", with(|archive| archive.before = b"#!".to_vec())),
        ("another-local-name", with(|archive| archive.entries[1].local_name = Some(b"a/c".to_vec()))),
        ("zip64", with(|archive| archive.count = Some(0xFFFF))),
    ]
}
