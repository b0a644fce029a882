//! The releases of each app that are on the disk, which of them runs, and which is to take its place.
//!
//! What runs is under `INSTALLED`. Whatever changes what runs is one transaction with the floors, the grants that are
//! asked again, the snapshot of what is stored, and the record of starts.

use std::collections::HashSet;
use std::sync::Arc;

use mpkg_fleet::ReleaseRef;
use mpkg_manifest::{AppId, Manifest};
use mpkg_package::{Digest, Floors, Hash};
use redb::{ReadTransaction, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::boots::{Boots, Verdict};
use super::grants::Records;
use super::{Data, DataError, FLOORS, GRANT_FLOORS, INSTALLED, Installed, ROOT_FLOORS, unix_ms};

/// (app id, package's SHA-256) → [`Held`] as JSON.
pub(super) const RELEASES: TableDefinition<'_, (&str, &str), &str> = TableDefinition::new("releases");
/// app id → the SHA-256 of the package that is to take the place of the one that runs.
pub(super) const NEXT: TableDefinition<'_, &str, &str> = TableDefinition::new("next");
/// app id → [`Boots`] as JSON.
pub(super) const BOOTS: TableDefinition<'_, &str, &str> = TableDefinition::new("boots");

/// A release of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppRelease {
    pub(crate) app: AppId,
    pub(crate) release: ReleaseRef,
}

/// A verified release that is on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) installed: Installed,
    /// Since when, in milliseconds since 1970.
    pub(crate) since_ms: u64,
}

/// What a launch has to know of an app.
#[derive(Debug)]
pub(crate) struct OnHand {
    pub(crate) current: Option<Current>,
    /// What is to take its place.
    pub(crate) next: Option<String>,
    pub(crate) boots: Boots,
}

/// What runs.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) installed: Arc<Installed>,
    pub(crate) release: Arc<AppRelease>,
}

impl Installed {
    /// What the fleet's state calls it.
    pub(crate) fn release(&self) -> Result<AppRelease, DataError> {
        let damaged = |what: &str| {
            use serde::de::Error;
            DataError::Record(serde_json::Error::custom(format!("{what} of `{}`", self.app_id)))
        };
        let sha256 = Hash::from_hex(&self.digest).ok_or_else(|| damaged("the digest"))?;
        Ok(AppRelease {
            app: self.app_id.parse().map_err(|_| damaged("the id"))?,
            release: ReleaseRef {
                package: Digest { sha256, size: self.size },
                release_seq: self.release_seq,
                version: self.version.parse().map_err(|_| damaged("the version"))?,
            },
        })
    }

    /// Which form its stored pairs have.
    fn storage_schema(&self) -> u32 {
        serde_json::from_str::<Manifest>(&self.manifest).map_or(1, |manifest| manifest.mpkg.storage.schema)
    }
}

fn boots(json: Option<&str>) -> Result<Boots, DataError> {
    Ok(json.map(serde_json::from_str).transpose()?.unwrap_or_default())
}

impl Records<'_> {
    pub(crate) fn held(&self, app_id: &str, digest: &str) -> Result<Option<Installed>, DataError> {
        let table = self.txn.open_table(RELEASES)?;
        let json = table.get((app_id, digest))?;
        json.map(|json| Ok(serde_json::from_str::<Held>(json.value())?.installed)).transpose()
    }

    /// Puts a release on the shelf; where it is there already it stays as old as it is.
    pub(crate) fn hold(&self, app: &Installed) -> Result<(), DataError> {
        let mut table = self.txn.open_table(RELEASES)?;
        let key = (app.app_id.as_str(), app.digest.as_str());
        if table.get(key)?.is_none() {
            let held = Held { installed: app.clone(), since_ms: unix_ms() };
            table.insert(key, serde_json::to_string(&held)?.as_str())?;
        }
        drop(table);
        if let Ok(release) = app.release() {
            self.change_boots(&app.app_id, |boots| boots.here(&release.release))?;
        }
        Ok(())
    }

    /// Takes a release from the shelf.
    pub(crate) fn drop_held(&self, app_id: &str, digest: &str) -> Result<(), DataError> {
        self.txn.open_table(RELEASES)?.remove((app_id, digest))?;
        let left = self.digests(app_id)?;
        self.change_boots(app_id, |boots| {
            boots.gone(digest);
            boots.bound(|release| left.contains(release));
        })
    }

    fn digests(&self, app_id: &str) -> Result<HashSet<String>, DataError> {
        let table = self.txn.open_table(RELEASES)?;
        let mut digests = HashSet::new();
        for row in table.range((app_id, "")..)? {
            let row = row?;
            let (of, digest) = row.0.value();
            if of != app_id {
                break;
            }
            digests.insert(digest.to_owned());
        }
        Ok(digests)
    }

    pub(crate) fn boots(&self, app_id: &str) -> Result<Boots, DataError> {
        boots(self.txn.open_table(BOOTS)?.get(app_id)?.as_ref().map(|json| json.value()))
    }

    pub(crate) fn change_boots<T>(
        &self,
        app_id: &str,
        change: impl FnOnce(&mut Boots) -> T,
    ) -> Result<T, DataError> {
        let mut boots = self.boots(app_id)?;
        let done = change(&mut boots);
        self.txn.open_table(BOOTS)?.insert(app_id, serde_json::to_string(&boots)?.as_str())?;
        Ok(done)
    }

    fn next(&self, app_id: &str) -> Result<Option<String>, DataError> {
        Ok(self.txn.open_table(NEXT)?.get(app_id)?.map(|digest| digest.value().to_owned()))
    }

    /// Whether something may want a release that is on the shelf: it runs, is next or shipped within the Super App, or is
    /// what the app would go back to.
    pub(crate) fn is_needed(&self, app_id: &str, digest: &str) -> Result<bool, DataError> {
        let current = self.installed(app_id)?.map(|app| app.digest);
        let boots = self.boots(app_id)?;
        let other = |release: &str| current.as_deref() != Some(release) && !boots.is_rejected(release);
        Ok(current.as_deref() == Some(digest)
            || self.next(app_id)?.as_deref() == Some(digest)
            || boots.is_embedded(digest)
            || boots.last_good(other).as_deref() == Some(digest))
    }

    pub(crate) fn set_next(&self, app_id: &str, digest: Option<&str>) -> Result<(), DataError> {
        let mut table = self.txn.open_table(NEXT)?;
        match digest {
            Some(digest) => table.insert(app_id, digest)?,
            None => table.remove(app_id)?,
        };
        Ok(())
    }

    /// Has launches run this release from now on. It is on the shelf.
    pub(crate) fn make_current(&self, app: &Installed) -> Result<(), DataError> {
        let owner = app.namespace("").owner;
        if let Some(before) = self.installed(&app.app_id)? {
            self.ask_again_if_grown(&before, app)?;
            self.change_schema(&owner, before.storage_schema(), app.storage_schema())?;
            if before.digest != app.digest {
                self.change_boots(&app.app_id, |boots| boots.turned(&before.digest))?;
            }
        }
        let mut floors = self.txn.open_table(FLOORS)?;
        let key = (app.publisher.as_str(), app.app_id.as_str());
        let floor = floors.get(key)?.map_or(0, |floor| floor.value());
        floors.insert(key, floor.max(app.release_seq))?;
        self.txn.open_table(INSTALLED)?.insert(app.app_id.as_str(), serde_json::to_string(app)?.as_str())?;
        self.set_next(&app.app_id, None)
    }

    /// Raises the floors of a publisher's root and of its grant for an app.
    pub(crate) fn raise_trust(&self, app: &Installed, trust: Floors) -> Result<(), DataError> {
        let key = (app.publisher.as_str(), app.app_id.as_str());
        let mut roots = self.txn.open_table(ROOT_FLOORS)?;
        let floor = roots.get(key.0)?.map_or(0, |floor| floor.value());
        roots.insert(key.0, floor.max(trust.root_version))?;
        let mut grants = self.txn.open_table(GRANT_FLOORS)?;
        let floor = grants.get(key)?.map_or(0, |floor| floor.value());
        grants.insert(key, floor.max(trust.grant_version))?;
        Ok(())
    }

    /// Decides about an app that failed to start, and sets what is to take its place. Tells what was decided about which
    /// release, and whether that was rejected just now.
    pub(crate) fn judge(
        &self,
        app_id: &str,
        attended: bool,
        allowed: impl Fn(&AppRelease) -> bool,
    ) -> Result<Option<Judged>, DataError> {
        let Some(current) = self.installed(app_id)? else { return Ok(None) };
        let mut boots = self.boots(app_id)?;
        if !boots.is_due(&current.digest) {
            return Ok(None);
        }
        let mut usable = HashSet::new();
        for digest in self.digests(app_id)? {
            if let Some(held) = self.held(app_id, &digest)?
                && held.release().is_ok_and(|release| allowed(&release))
            {
                usable.insert(digest);
            }
        }
        let newly = !boots.is_rejected(&current.digest);
        if !newly && self.next(app_id)?.is_some_and(|next| usable.contains(&next)) {
            // Decided before; its successor waits for the next launch.
            return Ok(None);
        }
        let verdict = boots.judge(&current.digest, attended, |release| usable.contains(release));
        match &verdict {
            Verdict::Stay => return Ok(None),
            Verdict::Back(to) => self.set_next(app_id, Some(to))?,
            // What is next already may be what helps.
            Verdict::Quarantine => {}
        }
        self.txn.open_table(BOOTS)?.insert(app_id, serde_json::to_string(&boots)?.as_str())?;
        Ok(Some(Judged { about: current, verdict, newly }))
    }
}

/// What was decided about a release that failed to start too often.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) about: Installed,
    pub(crate) verdict: Verdict,
    /// It was rejected just now.
    pub(crate) newly: bool,
}

impl Data {
    /// What a launch has to know of an app; `None` where there is nothing of it.
    pub(crate) fn on_hand(&self, app_id: &str) -> Result<Option<Arc<OnHand>>, DataError> {
        self.memo.on_hand(app_id, || {
            let txn = self.db.begin_read()?;
            let installed: Option<Installed> = {
                let record = txn.open_table(INSTALLED)?.get(app_id)?;
                record.map(|json| serde_json::from_str(json.value())).transpose()?
            };
            let next = txn.open_table(NEXT)?.get(app_id)?.map(|digest| digest.value().to_owned());
            if installed.is_none() && next.is_none() {
                return Ok(None);
            }
            let current = match installed {
                Some(installed) => {
                    let release = Arc::new(installed.release()?);
                    Some(Current { installed: Arc::new(installed), release })
                }
                None => None,
            };
            let boots = boots(txn.open_table(BOOTS)?.get(app_id)?.as_ref().map(|json| json.value()))?;
            Ok(Some(OnHand { current, next, boots }))
        })
    }

    /// The releases of an app that are on the disk, in ascending order of their sequence.
    pub(crate) fn releases(&self, app_id: &str) -> Result<Vec<Held>, DataError> {
        let table = self.db.begin_read()?.open_table(RELEASES)?;
        let mut held: Vec<Held> = Vec::new();
        for row in table.range((app_id, "")..)? {
            let (key, json) = row?;
            if key.value().0 != app_id {
                break;
            }
            held.push(serde_json::from_str(json.value())?);
        }
        held.sort_by_key(|held| held.installed.release_seq);
        Ok(held)
    }

    /// All releases that are on the disk.
    pub(crate) fn all_held(&self) -> Result<Vec<Held>, DataError> {
        held(&self.db.begin_read()?)
    }

    pub(crate) fn held(&self, app_id: &str, digest: &str) -> Result<Option<Installed>, DataError> {
        let table = self.db.begin_read()?.open_table(RELEASES)?;
        let json = table.get((app_id, digest))?;
        json.map(|json| Ok(serde_json::from_str::<Held>(json.value())?.installed)).transpose()
    }

    pub(crate) fn boots(&self, app_id: &str) -> Result<Boots, DataError> {
        let json = self.db.begin_read()?.open_table(BOOTS)?.get(app_id)?;
        boots(json.as_ref().map(|json| json.value()))
    }

    /// Somebody wants a release to run: it is next, or current where there is none. False if it is not here, was rejected,
    /// or has no code yet that could run; then at least nothing else is next any more.
    pub(crate) fn want(&self, app_id: &str, digest: &str, has_code: bool) -> Result<bool, DataError> {
        let wanted = self.change_if(|records| {
            let Some(app) = records.held(app_id, digest)? else { return Ok(None) };
            let current = records.installed(app_id)?;
            if !has_code && current.as_ref().is_none_or(|current| current.digest != digest) {
                // Unless that is what a release gives way to that was rejected.
                let stays = match &current {
                    Some(current) => !records.boots(app_id)?.is_rejected(&current.digest),
                    None => false,
                };
                if stays && records.next(app_id)?.is_some() {
                    records.set_next(app_id, None)?;
                    return Ok(Some(false));
                }
                return Ok(None);
            }
            if !records.change_boots(app_id, |boots| boots.wanted(digest))? {
                return Ok(None);
            }
            match current {
                None => records.make_current(&app)?,
                Some(current) if current.digest == digest => records.set_next(app_id, None)?,
                Some(_) => records.set_next(app_id, Some(digest))?,
            }
            Ok(Some(true))
        })?;
        Ok(wanted == Some(true))
    }

    /// The release that is next takes the current one's place, if it is still that one and is `allowed`. Nothing of the app
    /// runs.
    pub(crate) fn turn(
        &self,
        app_id: &str,
        digest: &str,
        allowed: impl Fn(&AppRelease) -> bool,
    ) -> Result<(), DataError> {
        let turned = self.change_if(|records| {
            if records.next(app_id)?.as_deref() != Some(digest) {
                return Ok(None);
            }
            let Some(app) = records.held(app_id, digest)? else {
                return records.set_next(app_id, None).map(Some);
            };
            if !allowed(&app.release()?) {
                return Ok(None);
            }
            records.change_boots(app_id, |boots| {
                if boots.quarantine().is_some() {
                    boots.wanted(digest);
                }
            })?;
            records.make_current(&app).map(Some)
        })?;
        if turned.is_some() {
            tracing::debug!(app = app_id, step = "turned", "updates");
        }
        Ok(())
    }

    /// Finds what the last host did not survive; called once, before anything is launched. Returns the releases.
    pub(crate) fn restarted(&self) -> Result<Vec<Installed>, DataError> {
        let apps: Vec<(String, Boots)> = {
            let table = self.db.begin_read()?.open_table(BOOTS)?;
            let rows = table.iter()?.map(|row| {
                let (app, json) = row?;
                Ok((app.value().to_owned(), boots(Some(json.value()))?))
            });
            rows.collect::<Result<_, DataError>>()?
        };
        let mut found = Vec::new();
        for (app_id, mut boots) in apps {
            let interrupted = boots.restarted();
            if interrupted.is_empty() {
                continue;
            }
            self.change(|records| records.change_boots(&app_id, |kept| *kept = boots))?;
            for digest in interrupted {
                found.extend(self.held(&app_id, &digest)?);
            }
        }
        Ok(found)
    }
}

fn held(txn: &ReadTransaction) -> Result<Vec<Held>, DataError> {
    let table = txn.open_table(RELEASES)?;
    table.iter()?.map(|row| Ok(serde_json::from_str(row?.1.value())?)).collect()
}
