//! Every limit of the format. Each is checked before anything of that size is allocated.

/// Bytes of an unsigned package.
pub const PACKAGE: usize = 64 << 20;
/// Bytes of a signing block, its two sizes and its magic included.
pub const BLOCK: usize = 256 << 10;
/// Bytes of a signed package: the package and its block.
pub const SIGNED: usize = PACKAGE + BLOCK;
/// Entries in a package.
pub const ENTRIES: usize = 4096;
/// Bytes of one entry.
pub const ENTRY: usize = 32 << 20;
/// Bytes of `manifest.json`.
pub const MANIFEST: usize = 256 << 10;
/// Bytes of a release statement.
pub const STATEMENT: usize = 16 << 10;
/// Bytes of one publisher root document.
pub const ROOT: usize = 16 << 10;
/// Bytes of a permission grant.
pub const GRANT: usize = 16 << 10;
/// Bytes of a root file. Its roots have to fit into a signing block.
pub const ROOT_FILE: usize = BLOCK;
/// Bytes of one DSSE envelope: the largest payload in base64, 16 signatures and the frame around them.
pub const ENVELOPE: usize = 32 << 10;
/// Signatures on one document.
pub const SIGNATURES: usize = 16;
/// Links in a chain of publisher roots.
pub const ROOT_LINKS: usize = 64;
/// Bytes of a key file.
pub const KEY_FILE: usize = 16 << 10;
/// Nesting of a JSON document.
pub const JSON_DEPTH: usize = 32;
