//! What is made from packages, once each: compressed forms, and patches between releases. It is made after a release is
//! published, or when somebody asks; one thing at a time, since all of it is computation that nobody has to wait for.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mpkg_manifest::AppId;
use mpkg_package::Hash;
use mpkg_registry_client::delta;
use tokio::sync::Semaphore;

use crate::failure::{Failure, Refusal};
use crate::registry::Registry;
use crate::store::{Blobs, Made, blobs, releases};

/// Measured: a higher one takes many times as long, for a few per cent less.
const LEVEL: i32 = 9;
/// 8 MiB, which is what `Content-Encoding: zstd` may ask of whoever reads it (RFC 9659).
const WINDOW_LOG: u32 = 23;
/// Things that somebody waits for, or waited for when they were begun.
const WAITING: usize = 256;
/// How long one of them waits.
const WAIT: Duration = Duration::from_secs(20);
/// How far releases are apart, in releases, for a patch that somebody asks for: that bounds how many there can be.
const APART: i64 = 8;

/// Where it is made.
pub(crate) struct Making {
    /// One thing at a time.
    turn: Semaphore,
    waiting: Arc<Semaphore>,
}

/// A file to send.
pub(crate) struct Ready {
    pub(crate) file: tokio::fs::File,
    pub(crate) size: u64,
    /// Another one for each file that is made: another version of the compressor makes other bytes.
    pub(crate) mark: u128,
}

/// What became of it.
pub(crate) enum Outcome {
    Ready(Ready),
    /// It was looked at, and would save too little.
    OfNoUse,
    /// Others are before it.
    Later,
}

impl Default for Making {
    fn default() -> Self {
        Self { turn: Semaphore::new(1), waiting: Arc::new(Semaphore::new(WAITING)) }
    }
}

/// Opens what was made. An empty file says that it is of no use.
async fn open(blobs: &Blobs, made: Made) -> io::Result<Option<Outcome>> {
    let file = match tokio::fs::File::open(blobs.made(made)).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata().await?;
    if metadata.len() == 0 {
        return Ok(Some(Outcome::OfNoUse));
    }
    let since = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Some(Outcome::Ready(Ready { file, size: metadata.len(), mark: since.as_nanos() })))
}

/// Compresses a package, and gives the length of its compressed form; that of the package where there is none.
fn compress(blobs: &Blobs, hash: Hash) -> io::Result<u64> {
    let path = blobs.made(Made::Compressed(hash));
    let mut package = std::fs::File::open(blobs.path(hash))?;
    let size = package.metadata()?.len();
    let known = |length| if length == 0 { size } else { length };
    if let Ok(metadata) = path.metadata() {
        return Ok(known(metadata.len()));
    }
    let file = blobs.receive()?;
    let mut encoder = zstd::stream::Encoder::new(&file, LEVEL)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.set_pledged_src_size(Some(size))?;
    io::copy(&mut package, &mut encoder)?;
    encoder.finish()?;
    let length = file.as_file().metadata()?.len();
    let length = if length < size { length } else { 0 };
    file.as_file().set_len(length)?;
    blobs.keep(Made::Compressed(hash), file)?;
    Ok(known(length))
}

/// Makes a patch. One that is not half as long as the compressed package is not worth what it may go wrong.
fn diff(store: &Blobs, from: Hash, to: Hash) -> io::Result<()> {
    let whole = compress(store, to)?;
    let package = |hash| blobs::read(&mut std::fs::File::open(store.path(hash))?);
    let (old, new) = (package(from)?, package(to)?);
    let patch = delta::make(&old, &new).map_err(io::Error::other)?;
    let mut file = store.receive()?;
    if patch.len() as u64 <= whole / 2 {
        file.write_all(&patch)?;
    }
    store.keep(Made::Delta { to, from }, file)
}

impl Registry {
    /// Makes something unless it is there, when it is its turn.
    async fn make(&self, made: Made) -> Result<(), Failure> {
        let turn = self.stopping.run_until_cancelled(self.making.turn.acquire()).await;
        // Semaphores that nobody closes always give.
        let Some(Ok(_turn)) = turn else { return Err(Refusal::Stopping.into()) };
        let blobs = self.store.blobs.clone();
        let work = move || match made {
            _ if blobs.made(made).exists() => Ok(()),
            Made::Compressed(hash) => compress(&blobs, hash).map(|_| ()),
            Made::Delta { to, from } => diff(&blobs, from, to),
        };
        // In a thread of its own, which takes the place of the one before: the allocator keeps what a thread once had for
        // it, and a pool of them would come to hold a compressor's tables each.
        let (done, outcome) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name("making".into()).spawn(move || done.send(work()).is_ok())?;
        Ok(outcome.await.map_err(|error| Failure::internal(&error))??)
    }

    /// Something that is made from packages that are there; made now, if need be and in time.
    pub(crate) async fn made(self: &Arc<Self>, made: Made) -> Result<Outcome, Failure> {
        let blobs = &self.store.blobs;
        if let Some(outcome) = open(blobs, made).await? {
            return Ok(outcome);
        }
        let waiting = Arc::clone(&self.making.waiting);
        let Ok(place) = waiting.try_acquire_owned() else { return Ok(Outcome::Later) };
        // In a task of its own: whoever asked may hang up, and what is half made would be made again and again. The
        // place is the task's, or those who hang up would leave tasks without end.
        let registry = Arc::clone(self);
        let making = self.tasks.spawn(async move {
            let made = registry.make(made).await;
            drop(place);
            made
        });
        match tokio::time::timeout(WAIT, making).await {
            Ok(ended) => ended.map_err(|error| Failure::internal(&error))??,
            Err(_) => return Ok(Outcome::Later),
        }
        Ok(open(blobs, made).await?.unwrap_or(Outcome::Later))
    }

    /// A patch between two releases of an app, if they are near each other.
    pub(crate) async fn delta(
        self: &Arc<Self>,
        app: &AppId,
        from: (u64, Hash),
        to: (u64, Hash),
    ) -> Result<Outcome, Failure> {
        let mut db = self.store.read.acquire().await?;
        let apart = releases::apart(&mut db, app, from.0, to.0).await?;
        drop(db);
        if from == to || apart > APART.max(i64::from(self.config.deltas)) {
            return Ok(Outcome::OfNoUse);
        }
        self.made(Made::Delta { to: to.1, from: from.1 }).await
    }

    /// Makes what hosts will ask for once a release is rolled out.
    pub(crate) fn prepare(self: &Arc<Self>, app: AppId, release_seq: u64, to: Hash) {
        let registry = Arc::clone(self);
        self.tasks.spawn(async move {
            let prepared = async {
                registry.make(Made::Compressed(to)).await?;
                let mut db = registry.store.read.acquire().await?;
                let limit = i64::from(registry.config.deltas);
                let before = releases::releases(&mut db, &app, release_seq, limit, true).await?;
                drop(db);
                for row in before {
                    registry.make(Made::Delta { to, from: row.release.package.sha256 }).await?;
                }
                Ok::<_, Failure>(())
            };
            match prepared.await {
                Ok(()) => {}
                Err(_) if registry.stopping.is_cancelled() => {}
                Err(error) => {
                    tracing::warn!(%error, %app, release_seq, "will be made when somebody asks for it")
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Opened};

    /// Whoever comes when enough wait is told so at once, and what is there already is given all the same.
    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let Opened { registry, .. } = Registry::open(Config::new(folder.path())).await.unwrap();
        let (there, missing) = (Hash::of(b"there"), Hash::of(b"missing"));
        for hash in [there, missing] {
            let blobs = &registry.store.blobs;
            blobs.store(hash, blobs.write(&[0; 4_096]).unwrap()).unwrap();
        }
        let ready = |outcome: Result<Outcome, Failure>| matches!(outcome, Ok(Outcome::Ready(_)));
        assert!(ready(registry.made(Made::Compressed(there)).await));
        let places = registry.making.waiting.acquire_many(WAITING as u32).await.unwrap();
        let later = registry.made(Made::Compressed(missing)).await;
        assert!(matches!(later, Ok(Outcome::Later)));
        assert!(ready(registry.made(Made::Compressed(there)).await));
        drop(places);
        // Who hangs up leaves a task, which has the place until it ends.
        let turn = registry.making.turn.acquire().await.unwrap();
        let asked = Arc::clone(&registry);
        let asked = tokio::spawn(async move { asked.made(Made::Compressed(missing)).await.map(|_| ()) });
        while registry.making.waiting.available_permits() == WAITING {
            tokio::task::yield_now().await;
        }
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
        assert_eq!(registry.making.waiting.available_permits(), WAITING - 1);
        drop(turn);
        assert!(ready(registry.made(Made::Compressed(missing)).await));
        while registry.making.waiting.available_permits() < WAITING {
            tokio::task::yield_now().await;
        }
        registry.close().await;
        let stopped = registry.made(Made::Compressed(Hash::of(b"stopped"))).await;
        assert!(stopped.is_err_and(|failure| failure.code == "MPKG-P50"));
    }
}
