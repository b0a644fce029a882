//! What the local bridges (`storage`, `files`, `events`, `timers`, `user.profile`) keep for a host and for an instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::HEXLOWER;
use mpkg_manifest::ScopeValue;
use serde_json::value::RawValue;

use crate::app::App;
use crate::bridge::Profiles;
use crate::broker::Permissions;
use crate::budget::Ledger;
use crate::data::{Data, DataError, Installed, Namespace};
use crate::files::{FileError, FileStores, Folder, Handle};
use crate::inbox::{Inboxes, Lane, Listener};
use crate::publish::{PublishError, Published};
use crate::supervisor::KillSwitch;

/// The permission under which apps are told events.
const EVENTS: &str = "events";

/// A host's part.
pub(crate) struct Locals {
    pub(crate) inboxes: Arc<Inboxes>,
    files: Arc<FileStores>,
    profiles: Option<Arc<Profiles>>,
    pseudonyms: [u8; 32],
}

impl Locals {
    pub(crate) fn new(data: &Data, profiles: Option<Arc<Profiles>>) -> Result<Self, DataError> {
        let inboxes = Arc::<Inboxes>::default();
        let mailboxes = inboxes.clone();
        data.on_asked_again(move |of, permission| {
            if permission == EVENTS {
                mailboxes.asked_again(of);
            }
        });
        Ok(Self {
            inboxes,
            files: Arc::new(FileStores::new(data.folder())),
            profiles,
            pseudonyms: data.secret("pseudonyms.key")?,
        })
    }

    /// What a new instance needs.
    pub(crate) fn join(
        &self,
        of: Namespace,
        app: &App,
        instance: u64,
        switch: Arc<KillSwitch>,
        ledger: Arc<Ledger>,
        permissions: Arc<Permissions>,
    ) -> Local {
        let files_quota = app.declared.iter().find_map(|declared| match declared.scope {
            ScopeValue::QuotaBytes(bytes) if declared.name.as_str() == "files" => Some(bytes),
            _ => None,
        });
        let pseudonym = pseudonym(&self.pseudonyms, &of);
        let message_bytes = app.limits.message_bytes;
        let who = Listener { of, instance, switch: switch.clone(), ledger, permissions, message_bytes };
        Local {
            pseudonym,
            profiles: self.profiles.clone(),
            lane: self.inboxes.join(who),
            inboxes: self.inboxes.clone(),
            published: AtomicU64::new(0),
            files_quota: files_quota.unwrap_or(0),
            stores: self.files.clone(),
            folder: Handle::default(),
            switch,
        }
    }

    /// An app has lost a permission of one user. To be called when that holds: who may still subscribe would do so again.
    pub(crate) fn revoked(&self, of: &Namespace, permission: &str) {
        if permission == EVENTS {
            self.inboxes.forget(of);
        }
    }

    /// Forgets one user of an app. Their instances have been stopped.
    pub(crate) fn wiped(&self, of: &Namespace) -> std::io::Result<()> {
        self.inboxes.forget(of);
        self.files.remove_user(of)
    }

    /// Forgets an app that was removed, for all users. Its instances have been stopped.
    pub(crate) fn uninstalled(&self, app: &Installed) {
        self.inboxes.forget_app(&app.namespace("").owner);
        if let Err(error) = self.files.remove_app(&app.namespace("").owner) {
            tracing::error!(%error, app = %app.app_id, "files of an app that was removed stay on disk");
        }
    }
}

/// The id under which an app knows a user. Nobody without the host's key can compute it, and two apps that compare
/// theirs learn nothing.
fn pseudonym(key: &[u8; 32], of: &Namespace) -> String {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in [&of.owner, &of.user] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    HEXLOWER.encode(hasher.finalize().as_bytes().get(..16).unwrap_or_default())
}

/// An instance's part. Nothing of it outlives the instance.
pub(crate) struct Local {
    /// Instead of the host's own id of the user.
    pub(crate) pseudonym: String,
    pub(crate) profiles: Option<Arc<Profiles>>,
    pub(crate) lane: Arc<Lane>,
    inboxes: Arc<Inboxes>,
    /// Events that the app has published.
    published: AtomicU64,
    pub(crate) files_quota: u64,
    stores: Arc<FileStores>,
    folder: Handle,
    switch: Arc<KillSwitch>,
}

impl Local {
    pub(crate) fn next_id(&self, instance: u64) -> String {
        format!("{instance}-{}", self.published.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn publish(&self, topic: &str, data: Box<RawValue>) -> Result<Published, PublishError> {
        self.inboxes.publish_to(&self.lane, topic, data)
    }

    /// Whose data this instance works on.
    pub(crate) fn namespace(&self) -> &Namespace {
        self.lane.of()
    }

    /// Tells the other instances of the same app and user which keys this one has changed.
    pub(crate) fn changed(&self, keys: &[String]) {
        self.inboxes.changed(self.lane.of(), Some(self.lane.instance()), Some(keys));
    }

    /// The same of all keys.
    pub(crate) fn cleared(&self) {
        self.inboxes.changed(self.lane.of(), Some(self.lane.instance()), None);
    }

    /// The app's private folder. Blocks for as long as it takes to look through it, whoever uses it first.
    pub(crate) fn folder(&self) -> Result<Arc<Folder>, FileError> {
        let running = || self.switch.reason().is_none();
        self.folder.get(running, || self.stores.open(self.lane.of(), running))
    }

    /// Lets go of what an instance that has ended had, while somebody may still hold a handle of it: its folder, and
    /// what waited for it, which its successor gets. A kill does this: it waits for no disk.
    pub(crate) fn release(&self) {
        self.folder.release();
        self.inboxes.leave(&self.lane);
    }
}

impl Drop for Local {
    /// A launch that failed has nobody else to do it.
    fn drop(&mut self) {
        self.inboxes.leave(&self.lane);
    }
}
