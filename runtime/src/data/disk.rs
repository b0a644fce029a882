//! The database, opened anew after its disk has failed.
//!
//! redb gives up for good at the first operation that fails, as when the disk is full for a moment, so that one app that
//! fills it would take everybody's storage and permissions away until the host starts again. What was acknowledged is there
//! when it is opened again; of what failed, all or nothing.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redb::{
    BackendError, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageBackend, StorageError,
    WriteTransaction,
};

use super::DataError;

/// What redb keeps of the file in memory, in bytes. Its own default is a gigabyte, which any app could have it fill.
const CACHE: usize = 8 << 20;
/// How long a transaction that was under way when the disk failed may keep the file.
const PATIENCE: Duration = Duration::from_secs(2);

/// The least time between two reopenings, and how many times longer than the last one took: that looks through the whole
/// file, and a disk that stays full would have it done for ever.
const PAUSE: Duration = Duration::from_secs(1);
const SHARE: u32 = 10;

/// Opens the file; `true` if it was open before.
pub(super) type Open = dyn Fn(bool) -> Result<Box<dyn StorageBackend>, DatabaseError> + Send + Sync;

pub(super) struct Disk {
    open: Box<Open>,
    /// Called when everything that was read has to be read again.
    reopened: Box<dyn Fn() + Send + Sync>,
    current: Mutex<Option<Arc<Opened>>>,
    /// Held while it is opened anew: until when a failure is not the first.
    pause: Mutex<Option<Instant>>,
}

struct Opened {
    database: Database,
    failed: Arc<AtomicBool>,
    /// Where it has failed again at once, nothing is written before, so that what is there can be read.
    writable: Option<Instant>,
}

impl Disk {
    pub(super) fn new(open: Box<Open>, reopened: Box<dyn Fn() + Send + Sync>) -> Result<Self, DatabaseError> {
        let first = Opened::new(open(false)?)?;
        Ok(Self { open, reopened, current: Mutex::new(Some(Arc::new(first))), pause: Mutex::default() })
    }

    pub(super) fn begin_read(&self) -> Result<ReadTransaction, DataError> {
        Ok(self.opened()?.database.begin_read()?)
    }

    pub(super) fn begin_write(&self) -> Result<WriteTransaction, DataError> {
        let opened = self.opened()?;
        if opened.writable.is_some_and(|at| Instant::now() < at) {
            return Err(StorageError::PreviousIo.into());
        }
        Ok(opened.database.begin_write()?)
    }

    /// The database as it is, or opened anew where it has failed.
    fn opened(&self) -> Result<Arc<Opened>, DataError> {
        match self.sound() {
            Some(opened) => Ok(opened),
            None => self.reopen(),
        }
    }

    fn sound(&self) -> Option<Arc<Opened>> {
        lock(&self.current).clone().filter(|opened| !opened.failed.load(Ordering::Acquire))
    }

    #[cold]
    fn reopen(&self) -> Result<Arc<Opened>, DataError> {
        let mut pause = lock(&self.pause);
        if let Some(opened) = self.sound() {
            return Ok(opened);
        }
        let began = Instant::now();
        let again = pause.is_some_and(|until| began < until);
        let failed = lock(&self.current).take();
        if again && failed.is_none_or(|opened| opened.writable.is_some()) {
            return Err(StorageError::PreviousIo.into());
        }
        let opened = loop {
            match (self.open)(true).and_then(Opened::new) {
                // Until the last transaction is gone that was under way.
                Err(DatabaseError::DatabaseAlreadyOpen) if began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                opened => break opened,
            }
        };
        let calm = Instant::now() + PAUSE.max(began.elapsed() * SHARE);
        *pause = Some(calm);
        let opened = Arc::new(Opened { writable: again.then_some(calm), ..opened? });
        tracing::warn!("the disk had failed; the host's database is open again");
        *lock(&self.current) = Some(opened.clone());
        (self.reopened)();
        Ok(opened)
    }
}

/// Has what is read of a file come from the disk. Pages that could not be written are held to be clean by some systems, and
/// what is in them would be taken for what is on the disk, until the power fails.
///
/// # Errors
/// Where the file is empty: it is another one, as of a disk that is not there any more, and not what was open before.
pub(super) fn forget_cached(file: &File) -> io::Result<()> {
    if file.metadata()?.len() == 0 {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the host's database is gone"));
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Opened {
    fn new(backend: Box<dyn StorageBackend>) -> Result<Self, DatabaseError> {
        let failed = Arc::new(AtomicBool::new(false));
        let watched = Watched { backend, failed: failed.clone() };
        let database = redb::Builder::new().set_cache_size(CACHE).create_with_backend(watched)?;
        Ok(Self { database, failed, writable: None })
    }
}

/// Remembers whether anything has failed.
#[derive(Debug)]
struct Watched {
    backend: Box<dyn StorageBackend>,
    failed: Arc<AtomicBool>,
}

impl Watched {
    fn watch<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        if outcome.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        outcome
    }
}

type Edge = Bound<u64>;

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.watch(self.backend.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.watch(self.backend.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.watch(self.backend.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.watch(self.backend.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.watch(self.backend.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        self.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        self.backend.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        self.backend.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        self.backend.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        self.backend.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use redb::TableDefinition;
    use redb::backends::FileBackend;

    use super::super::shaky::Shaky;
    use super::*;

    const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("table");

    fn disk(shaky: &Shaky) -> (Disk, Arc<AtomicUsize>) {
        let (shaky, opened) = (shaky.clone(), Arc::new(AtomicUsize::new(0)));
        let count = opened.clone();
        let open = move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(shaky.clone()) as Box<dyn StorageBackend>)
        };
        (Disk::new(Box::new(open), Box::new(|| {})).unwrap(), opened)
    }

    fn put(disk: &Disk, key: u64) -> Result<(), DataError> {
        let txn = disk.begin_write()?;
        txn.open_table(TABLE)?.insert(key, key)?;
        Ok(txn.commit()?)
    }

    fn has(disk: &Disk, key: u64) -> Result<bool, DataError> {
        Ok(disk.begin_read()?.open_table(TABLE)?.get(key)?.is_some())
    }

    #[test]
    fn a_disk_that_stays_full_is_read_and_not_looked_through_again_and_again() {
        let shaky = Shaky::default();
        let (disk, opened) = disk(&shaky);
        put(&disk, 1).unwrap();
        shaky.broken.store(true, Ordering::SeqCst);
        for key in 2..100 {
            put(&disk, key).unwrap_err();
            // Where opening has to write, too, it fails until there is room again.
            let _ = has(&disk, 1);
        }
        assert!(opened.load(Ordering::SeqCst) <= 4, "opened {opened:?} times");
        shaky.broken.store(false, Ordering::SeqCst);
        let until = Instant::now() + Duration::from_secs(60);
        while put(&disk, 100).is_err() {
            assert!(Instant::now() < until, "it stays closed");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(has(&disk, 1).unwrap() && has(&disk, 100).unwrap());
    }

    #[test]
    fn a_transaction_that_was_under_way_is_waited_for() {
        let shaky = Shaky::default();
        let (disk, opened) = disk(&shaky);
        put(&disk, 1).unwrap();
        let reading = disk.begin_read().unwrap();
        shaky.broken.store(true, Ordering::SeqCst);
        put(&disk, 2).unwrap_err();
        shaky.broken.store(false, Ordering::SeqCst);
        put(&disk, 3).unwrap();
        assert_eq!(opened.load(Ordering::SeqCst), 2);
        drop(reading);
        assert!(has(&disk, 1).unwrap() && has(&disk, 3).unwrap());
    }

    #[test]
    fn another_file_in_its_place_is_not_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.redb");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        assert!(forget_cached(&file).is_err());
        drop(redb::Builder::new().create_with_backend(FileBackend::new(file).unwrap()).unwrap());
        forget_cached(&File::open(&path).unwrap()).unwrap();
    }
}
