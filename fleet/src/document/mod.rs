//! Signed documents: what a registry says to every host.

mod app;
mod error;
mod head;
mod stop;

pub use app::{Admission, AppState};
pub use error::DocumentError;
pub use head::{AppEntry, FleetHead, FleetPolicy};
pub use stop::StopNotice;

use mpkg_manifest::json;
use mpkg_package::dsse::Envelope;
use mpkg_package::root::{STATE_ROLE, STOP_ROLE};
use mpkg_package::{Hash, KeyId, Root, SecretKey, Time};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kill::{Kill, Lift};
use crate::limits;
use crate::types::Position;

/// A kind of document.
pub trait Document: Serialize + DeserializeOwned + Clone {
    /// Its DSSE payload type.
    const TYPE: &'static str;
    /// Most bytes of its payload.
    const LIMIT: usize;
    /// The roles that may sign it, each by itself.
    const ROLES: &'static [&'static str];
    /// What it is called in messages.
    const NAME: &'static str;

    /// Refuses what makes no sense, whoever signed it.
    fn check(&self) -> Result<(), DocumentError>;
}

/// A document with a place among its predecessors.
pub trait Sequenced: Document {
    /// Its place.
    fn position(&self) -> Position;
    /// SHA-256 of the payload before it in the same epoch.
    fn prev(&self) -> Option<Hash>;
    /// When it was made.
    fn issued(&self) -> Time;
    /// From when on it is old.
    fn expires(&self) -> Time;
    /// Kills in force.
    fn kills(&self) -> &[Kill];
    /// Kills that are over.
    fn lifts(&self) -> &[Lift];
}

const STATE_ONLY: &[&str] = &[STATE_ROLE];
const STOP_OR_STATE: &[&str] = &[STOP_ROLE, STATE_ROLE];

/// A document and the bytes that were signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedDocument<D> {
    document: D,
    envelope: Envelope,
}

impl<D: Document> SignedDocument<D> {
    /// A document that nobody has signed.
    pub fn new(document: D) -> Result<Self, DocumentError> {
        // Strings, integers, lists and maps with string keys always serialize.
        let payload = serde_json::to_vec(&document).unwrap_or_default();
        read::<D>(&payload)?;
        Ok(Self { document, envelope: Envelope::new(D::TYPE, payload) })
    }

    /// Reads an envelope. What it says counts once [`Self::verify`] has checked it.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let envelope = Envelope::parse_within(bytes, D::TYPE, limits::envelope(D::LIMIT))?;
        Ok(Self { document: read(&envelope.payload)?, envelope })
    }

    /// Adds a key's signature.
    pub fn sign(&mut self, key: &SecretKey) {
        self.envelope.sign(key);
    }

    /// The envelope's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.envelope.to_bytes()
    }

    /// What it says.
    pub fn document(&self) -> &D {
        &self.document
    }

    /// SHA-256 of the payload: what the next document and the fleet head name it by. Signatures are not in it, so
    /// that signing with one more key makes no other document.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.envelope.payload)
    }

    /// The keys that signed, if they are enough of one role in this root. The signed bytes were checked to be the
    /// one envelope, and what was read is the payload as signed.
    pub fn verify(&self, root: &Root) -> Result<Vec<KeyId>, DocumentError> {
        let mut refusal = DocumentError::NoRole { name: D::NAME };
        for role in D::ROLES {
            if !root.roles().contains_key(*role) {
                continue;
            }
            let (keys, threshold) = root.role(role);
            match self.envelope.verify(&keys, threshold) {
                Ok(signers) => return Ok(signers),
                Err(error) => refusal = error.into(),
            }
        }
        Err(refusal)
    }
}

fn read<D: Document>(payload: &[u8]) -> Result<D, DocumentError> {
    if payload.len() > D::LIMIT {
        return Err(DocumentError::TooLarge { name: D::NAME, size: payload.len(), limit: D::LIMIT });
    }
    let document: D = json::read(payload, json::Limits::bytes(D::LIMIT))?;
    document.check()?;
    Ok(document)
}

/// What documents with a place have in common.
fn check_sequenced(document: &impl Sequenced) -> Result<(), DocumentError> {
    let Position { epoch, seq } = document.position();
    // A first document has none before it, and every other one has to say which: two histories would otherwise
    // both look whole.
    if epoch == 0 || seq == 0 || (seq == 1) != document.prev().is_none() {
        return Err(DocumentError::Position { position: document.position() });
    }
    if document.expires() <= document.issued() {
        return Err(DocumentError::Expiry { issued: document.issued(), expires: document.expires() });
    }
    too_many("kills", document.kills().len(), limits::KILLS)?;
    too_many("lifts", document.lifts().len(), limits::LIFTS)?;
    for kill in document.kills() {
        kill.check()?;
    }
    Ok(())
}

fn too_many(what: &'static str, found: usize, limit: usize) -> Result<(), DocumentError> {
    if found > limit { Err(DocumentError::TooMany { what, found, limit }) } else { Ok(()) }
}
