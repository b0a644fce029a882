//! `user`: who uses the app. Permission `user.profile`.
//!
//! An app never learns the host's own id of a user. It gets one that is made for it: the same at every launch, and of
//! no use to find the same person in another app.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;

use super::Bridge;
use super::params::Nothing;

/// What a host tells an app about a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserProfile {
    /// As the user wants to be called.
    pub display_name: Option<String>,
    /// A BCP 47 tag, such as `de-CH`.
    pub locale: Option<String>,
}

type ProfileFuture = Pin<Box<dyn Future<Output = UserProfile> + Send>>;

/// Looks up the profile of the user with that id of the host's.
pub(crate) type Profiles = dyn Fn(String) -> ProfileFuture + Send + Sync;

#[derive(Serialize)]
struct Shown {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
}

pub(super) fn bridge() -> Bridge {
    Bridge::new("user.profile").method("user.profile", |caller, _: Nothing| async move {
        let local = &caller.session.local;
        let UserProfile { display_name, locale } = match &local.profiles {
            Some(profiles) => profiles(caller.user().to_owned()).await,
            None => UserProfile::default(),
        };
        Ok(Shown { id: local.pseudonym.clone(), display_name, locale })
    })
}
