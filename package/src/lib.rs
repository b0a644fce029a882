//! The `.mpkg` package: container, digests, signatures and verification. Bytes in, verdict out; no files, no
//! network, no clock.
//!
//! Write with [`container::write`], sign with [`sign::sign`], verify with [`verify::verify`]. Every refusal has a
//! stable code that [`rules::RULES`] explains; `docs/format.md` specifies the bytes.

pub mod container;
pub mod contents;
pub mod digest;
pub mod dsse;
pub mod floors;
pub mod grant;
pub mod keys;
pub mod limits;
pub mod root;
pub mod rules;
pub mod sign;
pub mod signing;
pub mod statement;
pub mod time;
pub mod verify;
pub mod wasm;

mod bytes;
mod sums;
mod text;

pub use container::Container;
pub use contents::{ContentError, Contents, check};
pub use digest::{Digest, Hash, identity};
pub use floors::Floors;
pub use grant::{Grant, GrantError, SignedGrant};
pub use keys::{KeyError, KeyId, PublicKey, SecretKey};
pub use root::{PublisherId, Root, RootChain, RootFile, Trust, TrustError};
pub use rules::RULES;
pub use sign::{SignError, Signed, Signing, sign, sign_with};
pub use statement::ReleaseStatement;
pub use time::Time;
pub use verify::{Claims, Verified, VerifyError, claims, verify, verify_any, verify_detached};
