//! Tokens and roles.
//!
//! A token is `mpkg_` and 200 random bits in base32, of which the first 40 are its id. The database has the id and the
//! SHA-256 of the whole: who reads the database can use nothing. The prefix lets scanners of source code find a token
//! that was committed by mistake.

use std::collections::BTreeSet;
use std::fmt;

use data_encoding::BASE32_NOPAD;
use mpkg_manifest::AppId;
use mpkg_package::{Hash, PublisherId};

use mpkg_registry_client::wire::{Role, Roles};

use crate::failure::Refusal;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, without a token.
    Anyone,
    /// Tokens with one of these roles.
    Roles(&'static [Role]),
}

impl Access {
    /// Whether a token with these roles may.
    pub fn admits(self, roles: &Roles) -> bool {
        match self {
            Self::Anyone => true,
            Self::Roles(needed) => needed.iter().any(|role| roles.contains(role)),
        }
    }
}

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The token's id.
    pub token: String,
    /// The person or host: approvals count people, and telemetry counts hosts, by this.
    pub owner: String,
    /// What it may do.
    pub roles: Roles,
    /// The apps it may do it to; empty for all.
    pub apps: BTreeSet<AppId>,
    /// The publishers it may do it to; empty for all.
    pub publishers: BTreeSet<PublisherId>,
    /// When the token ends.
    pub expires: Option<i64>,
}

impl Caller {
    /// The registry itself.
    pub(crate) fn registry(part: &str) -> Self {
        let empty = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self {
            token: String::new(),
            owner: part.to_owned(),
            roles: empty.0,
            apps: empty.1,
            publishers: empty.2,
            expires: None,
        }
    }

    pub(crate) fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Refuses apps outside of the scope: those that it does not list, and those of publishers that it does not list.
    pub(crate) fn app(&self, app: &AppId, publisher: PublisherId) -> Result<(), Refusal> {
        if self.apps.is_empty() || self.apps.contains(app) {
            return self.publisher(publisher);
        }
        Err(Refusal::Scope { what: app.to_string() })
    }

    /// Refuses publishers outside of the scope.
    pub(crate) fn publisher(&self, publisher: PublisherId) -> Result<(), Refusal> {
        if self.publishers.is_empty() || self.publishers.contains(&publisher) {
            return Ok(());
        }
        Err(Refusal::Scope { what: publisher.to_string() })
    }

    /// Refuses what concerns the whole fleet where the scope is narrower.
    pub(crate) fn fleet(&self) -> Result<(), Refusal> {
        if self.apps.is_empty() && self.publishers.is_empty() {
            return Ok(());
        }
        Err(Refusal::Scope { what: "the whole fleet".into() })
    }
}

const PREFIX: &str = "mpkg_";
const ID: usize = 8;
const SECRET: usize = 32;

/// A token, as its owner has it. It prints as its id.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// A new one.
    pub(crate) fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 20 + 5];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())))
    }

    /// Reads one; what cannot be a token is none, before any database is asked.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte);
        (digits.len() == ID + SECRET && digits.bytes().all(plain)).then(|| Self(text.to_owned()))
    }

    pub(crate) fn id(&self) -> &str {
        self.0.get(PREFIX.len()..PREFIX.len() + ID).unwrap_or_default()
    }

    pub(crate) fn hash(&self) -> Hash {
        Hash::of(self.0.as_bytes())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}…)", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_its_apps_and_its_publishers() {
        let publisher = |seed: u8| {
            let key = mpkg_package::SecretKey::from_seed(&[seed; 32]).public();
            mpkg_package::Root::single(&key).publisher_id()
        };
        let (ours, theirs): (AppId, AppId) =
            ("org.example.ours".parse().unwrap(), "org.example.theirs".parse().unwrap());
        for (apps, publishers, expected) in [
            (vec![], vec![], [true, true, true, true]),
            (vec![&ours], vec![], [true, true, false, false]),
            (vec![], vec![publisher(1)], [true, false, true, false]),
            (vec![&ours], vec![publisher(1)], [true, false, false, false]),
        ] {
            let (apps, publishers) = (apps.into_iter().cloned().collect(), publishers.into_iter().collect());
            let caller = Caller { apps, publishers, ..Caller::registry("test") };
            let may = |app, seed| caller.app(app, publisher(seed)).is_ok();
            assert_eq!([may(&ours, 1), may(&ours, 2), may(&theirs, 1), may(&theirs, 2)], expected);
        }
    }

    #[test]
    fn tokens_are_read_in_one_spelling_and_never_printed() {
        let secret = Secret::generate().unwrap();
        assert_eq!(Secret::parse(secret.reveal()), Some(secret.clone()));
        assert!(!format!("{secret:?}").contains(&secret.reveal()[PREFIX.len() + ID..]));
        let text = secret.reveal();
        for bad in [&text[1..], &text[..text.len() - 1], &text.to_uppercase(), &format!("{text} "), ""] {
            assert_eq!(Secret::parse(bad), None, "{bad}");
        }
    }
}
