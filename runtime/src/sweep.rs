//! What a host that was killed left behind: files that were written and never recorded, or that outlived their record.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use crate::data::{Data, DataError};
use crate::engine::Tiers;
use crate::files::FileStores;

/// Removes from the data folder what belongs to no release that is kept. Nothing else has the folder open by now.
///
/// What cannot be removed is reported and left: it costs room, nothing more.
pub(crate) fn sweep(data: &Data, tiers: &Tiers) -> Result<(), DataError> {
    // What is installed is among them.
    let held = data.all_held()?;
    let digests: HashSet<_> = held.iter().map(|held| held.installed.digest.as_str()).collect();
    let owners: HashSet<_> =
        held.iter().map(|held| FileStores::folder_name(&held.installed.namespace("").owner)).collect();
    let folder = data.folder();
    // Packages are `<digest>.mpkg`, compiled code is `<digest>-<engine>.bin`, and what is neither is a file that was
    // to get such a name.
    let of_installed = |name: &str| name.split(['.', '-']).next().is_some_and(|stem| digests.contains(stem));
    remove_unless(&folder.join("packages"), of_installed);
    // After an update of the engine, what the old one had made.
    remove_unless(&folder.join("native"), |name| of_installed(name) && tiers.is_ours(name));
    remove_unless(&folder.join("files"), |name| owners.contains(name));
    Ok(())
}

fn remove_unless(folder: &Path, kept: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(&kept) {
            continue;
        }
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        let name = path.file_name().unwrap_or(OsStr::new("")).to_string_lossy().into_owned();
        match removed {
            Ok(()) => tracing::info!(name, "removed what an interrupted host had left"),
            Err(error) => tracing::warn!(%error, name, "what an interrupted host had left stays on disk"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Code;

    #[test]
    fn only_what_is_installed_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let app = crate::data::Installed {
            app_id: "com.example.a".into(),
            publisher: "mp1a".into(),
            version: "1.0.0".into(),
            release_seq: 1,
            digest: "aa".into(),
            size: 1,
            manifest: "{}".into(),
        };
        data.record_install(&app, Default::default(), false).unwrap();
        let owner = FileStores::folder_name(&app.namespace("").owner);
        let tiers = Tiers::open(Default::default(), &Default::default(), &data).unwrap();
        let code =
            wasmtime::component::Component::new(tiers.engines().last().unwrap(), b"(component)").unwrap();
        tiers.keep("aa", &Code { component: code.clone(), best: true });
        tiers.keep("bb", &Code { component: code, best: true });
        let kept = ["packages/aa.mpkg", &format!("files/{owner}/user/x")];
        let swept = ["packages/bb.mpkg", "packages/.tmp123", "native/aa-0011.bin", "files/other/user/x"];
        for name in kept.iter().chain(&swept) {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x").unwrap();
        }
        sweep(&data, &tiers).unwrap();
        assert!(tiers.cached("aa").is_some() && tiers.cached("bb").is_none());
        assert!(kept.iter().all(|name| folder.path().join(name).exists()));
        assert!(!swept.iter().any(|name| folder.path().join(name).exists()));
    }
}
