//! Compiled code: made from verified packages, kept in a private cache, loaded only when its seal is intact.
//!
//! The engine runs a deserialized image as it is; so every file is sealed with a key that only this host has, and checked
//! before it is loaded.

use std::collections::HashMap;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use tokio::sync::Notify;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::data::{Data, DataError, StagedFile};
use crate::precompiled::{CodeError, Vouched};
use crate::unchecked::{SEAL, Sealer};

/// Where compiled code comes from.
#[derive(Debug)]
pub(crate) struct NativeCache {
    folder: PathBuf,
    sealer: Sealer,
    /// Packages whose code is being made, each with how often, and whether it was forgotten meanwhile.
    making: Mutex<HashMap<String, (usize, bool)>>,
    /// Wakes who waits for code that is being made.
    made: Notify,
}

/// Code for a package is being made as long as this lives.
#[derive(Debug)]
pub(crate) struct Making<'c> {
    cache: &'c NativeCache,
    digest: String,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let mut making = self.cache.lock();
        if let Some((times, _)) = making.get_mut(&self.digest) {
            *times -= 1;
            if *times == 0 {
                making.remove(&self.digest);
                self.cache.made.notify_waiters();
            }
        }
    }
}

impl NativeCache {
    pub(crate) fn open(data: &Data, engine: &Engine) -> Result<Self, DataError> {
        let key = data.secret("native.key")?;
        let mut hasher = Fingerprint(blake3::Hasher::new());
        identify(engine, &mut hasher);
        let engine = HEXLOWER.encode(hasher.0.finalize().as_bytes().get(..8).unwrap_or_default());
        Ok(Self {
            folder: data.folder().join("native"),
            sealer: Sealer::new(key, engine),
            making: Mutex::default(),
            made: Notify::new(),
        })
    }

    /// The code of the package with this digest, if it is here and intact.
    pub(crate) fn cached(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(digest);
        let loaded = self.sealer.load(engine, digest, &fs::read(&path).ok()?);
        let refused = |error| {
            tracing::warn!(%error, path = %path.display(), "cached code is not used");
            // It never will be, and nobody is to think that there is code.
            self.remove(digest);
        };
        loaded.map_err(refused).ok()
    }

    /// Whether there is code for a package, as far as can be told without reading it.
    pub(crate) fn has(&self, digest: &str) -> bool {
        self.path(digest).exists()
    }

    pub(crate) fn making(&self, digest: &str) -> Making<'_> {
        self.lock().entry(digest.to_owned()).or_default().0 += 1;
        Making { cache: self, digest: digest.to_owned() }
    }

    /// Waits until no code of this package is being made or written.
    pub(crate) async fn settled(&self, digest: &str) {
        loop {
            let made = self.made.notified();
            if !self.lock().contains_key(digest) {
                return;
            }
            made.await;
        }
    }

    /// Keeps code, unless its package was forgotten while it was made. A cache that cannot be written costs time, not
    /// correctness. True if it is kept.
    pub(crate) fn keep(&self, digest: &str, code: &Component) -> bool {
        let (seal, image) = match self.sealer.seal(digest, code) {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::warn!(%error, "compiled code could not be serialized");
                return false;
            }
        };
        self.write(digest, &seal, &image).unwrap_or_else(|error| {
            tracing::warn!(%error, "compiled code could not be cached");
            false
        })
    }

    /// Keeps code that was made elsewhere, if this engine runs it.
    pub(crate) fn adopt(&self, engine: &Engine, code: &Vouched<'_>) -> Result<(), CodeError> {
        let (digest, seal) = (code.digest(), self.sealer.adopt(code));
        let loaded = self.sealer.open(engine, &digest, &seal, code.image());
        loaded.map_err(|error| CodeError::OtherEngine { reason: error.to_string() })?;
        match self.write(&digest, &seal, code.image())? {
            true => Ok(()),
            // It was uninstalled in the middle of a compile, and this is to be done once that has ended.
            false => Err(CodeError::Interrupted),
        }
    }

    /// False if the package was forgotten while its code was made.
    fn write(&self, digest: &str, seal: &[u8; SEAL], image: &[u8]) -> Result<bool, DataError> {
        let path = self.path(digest);
        let staged = StagedFile::write(&path, &[seal, image])?;
        // Held while it is put in its place, so that what is forgotten meanwhile is there to be removed.
        let making = self.lock();
        if making.get(digest).is_some_and(|&(_, forgotten)| forgotten) {
            return Ok(false);
        }
        let placed = staged.place()?;
        drop(making);
        placed.sync().map(|()| true)
    }

    /// Removes the code of a package that is no longer installed.
    pub(crate) fn forget(&self, digest: &str) {
        let mut making = self.lock();
        if let Some((_, forgotten)) = making.get_mut(digest) {
            *forgotten = true;
        }
        drop(making);
        self.remove(digest);
    }

    /// Removes code that nobody needs any more.
    pub(crate) fn remove(&self, digest: &str) {
        let _ = fs::remove_file(self.path(digest));
    }

    /// Whether this is the name of a file that this cache could load.
    pub(crate) fn is_ours(&self, name: &str) -> bool {
        name.strip_suffix(".bin").is_some_and(|stem| stem.ends_with(&format!("-{}", self.sealer.engine())))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (usize, bool)>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}-{}.bin", self.sealer.engine()))
    }
}

/// What tells engines apart whose code is not each other's.
#[cfg(feature = "compile")]
fn identify(engine: &Engine, hasher: &mut Fingerprint) {
    engine.precompile_compatibility_hash().hash(hasher);
}

/// What else matters, an engine that compiles nothing compares whenever it loads code.
#[cfg(not(feature = "compile"))]
fn identify(_engine: &Engine, hasher: &mut Fingerprint) {
    crate::engine::VERSION.hash(hasher);
}

/// Feeds what is hashed to BLAKE3: the standard library's hasher promises nothing from one release to the next.
struct Fingerprint(blake3::Hasher);

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        hash.as_bytes().first_chunk::<8>().map_or(0, |head| u64::from_le_bytes(*head))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::unchecked::SEAL;

    const EMPTY: &[u8] = b"(component)";

    fn cache() -> (tempfile::TempDir, Engine, NativeCache) {
        let folder = tempfile::tempdir().unwrap();
        let engine = crate::engine::engine(Default::default(), &Default::default()).unwrap();
        let data = Data::open(folder.path()).unwrap();
        let cache = NativeCache::open(&data, &engine).unwrap();
        (folder, engine, cache)
    }

    #[test]
    fn what_was_compiled_is_there_until_it_is_forgotten() {
        let (_folder, engine, cache) = cache();
        assert!(cache.cached(&engine, "aa").is_none());
        cache.keep("aa", &Component::new(&engine, EMPTY).unwrap());
        assert!(cache.cached(&engine, "aa").is_some());
        cache.forget("aa");
        assert!(cache.cached(&engine, "aa").is_none());
    }

    #[test]
    fn what_is_forgotten_while_it_is_made_is_not_kept() {
        let (_folder, engine, cache) = cache();
        let code = Component::new(&engine, EMPTY).unwrap();
        let making = cache.making("aa");
        let again = cache.making("aa");
        cache.forget("aa");
        cache.keep("aa", &code);
        drop(making);
        cache.keep("aa", &code);
        assert!(cache.cached(&engine, "aa").is_none());
        drop(again);
        cache.keep("aa", &code);
        assert!(cache.cached(&engine, "aa").is_some(), "installed again");
    }

    #[tokio::test]
    async fn who_waits_for_code_that_is_being_made_waits_until_the_last_has_ended() {
        use futures_util::FutureExt;
        let (_folder, _engine, cache) = cache();
        cache.settled("aa").await;
        let making = cache.making("aa");
        let again = cache.making("aa");
        let mut settled = std::pin::pin!(cache.settled("aa"));
        assert!(settled.as_mut().now_or_never().is_none());
        drop(making);
        assert!(settled.as_mut().now_or_never().is_none());
        drop(again);
        settled.await;
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_or_write_it() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, engine, cache) = cache();
        cache.keep("aa", &Component::new(&engine, EMPTY).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
        assert_eq!(mode(&cache.path("aa")), 0);
        assert_eq!(mode(&folder.path().join("native.key")), 0);
        assert_eq!(mode(folder.path()), 0);
    }

    #[test]
    fn a_file_with_any_byte_changed_is_not_loaded() {
        let (_folder, engine, cache) = cache();
        cache.keep("aa", &Component::new(&engine, EMPTY).unwrap());
        let path = cache.path("aa");
        let good = fs::read(&path).unwrap();
        for at in [0, SEAL - 1, SEAL, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(cache.cached(&engine, "aa").is_none(), "byte {at}");
        }
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(cache.cached(&engine, "aa").is_none(), "truncated");
    }

    /// The engine itself compares no more than its major version, unless it is told what to compare.
    #[test]
    fn code_of_another_patch_of_the_engine_is_not_loaded() {
        let (_folder, engine, cache) = cache();
        for (version, loads) in [(crate::engine::VERSION, true), ("wasmtime 48.0.7", false)] {
            let mut config = crate::engine::config(Default::default(), &Default::default()).unwrap();
            config.module_version(wasmtime::ModuleVersionStrategy::Custom(version.into())).unwrap();
            let made = Component::new(&Engine::new(&config).unwrap(), EMPTY).unwrap();
            assert!(cache.keep("aa", &made));
            assert_eq!(cache.cached(&engine, "aa").is_some(), loads, "{version}");
        }
    }

    #[test]
    fn one_apps_code_does_not_pass_for_anothers() {
        let (_folder, engine, cache) = cache();
        cache.keep("aa", &Component::new(&engine, EMPTY).unwrap());
        fs::copy(cache.path("aa"), cache.path("bb")).unwrap();
        assert!(cache.cached(&engine, "bb").is_none());
    }
}
