//! What a host remembers of a publisher and an app, so that nobody leads it back.

use crate::grant::GrantError;
use crate::root::RootError;
use crate::time::Time;
use crate::verify::{Verified, VerifyError};

/// The newest versions that a host has accepted. Keep [`Self::root_version`] for each publisher and
/// [`Self::grant_version`] for each app of it, over uninstalling too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// The newest root.
    pub root_version: u32,
    /// The newest permission grant.
    pub grant_version: u64,
}

impl Floors {
    /// Decides whether a verified package may be installed, and gives the floors to keep before its first run.
    ///
    /// Expiry is judged here and nowhere else: past its time a root admits nothing new, whenever the package was
    /// signed, since a thief can write any date into a statement. What is installed keeps running. A host without a
    /// clock that it trusts passes no time.
    pub fn admit(self, verified: &Verified, now: Option<Time>) -> Result<Self, VerifyError> {
        let (root, grant) = (verified.roots().last(), verified.grant());
        if root.version() < self.root_version {
            return Err(RootError::Older { found: root.version(), floor: self.root_version }.into());
        }
        if let (Some(now), Some(expires)) = (now, root.expires())
            && now >= expires
        {
            return Err(RootError::Expired { version: root.version(), expires }.into());
        }
        if grant.version < self.grant_version {
            let (found, floor) = (grant.version, self.grant_version);
            return Err(GrantError::Older { found, floor }.into());
        }
        Ok(Self { root_version: root.version(), grant_version: grant.version })
    }
}
