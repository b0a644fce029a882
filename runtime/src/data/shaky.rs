//! A disk for tests that stops working when it is told to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

/// In memory; cannot be written to while it is broken.
#[derive(Debug, Default, Clone)]
pub(crate) struct Shaky {
    inner: Arc<InMemoryBackend>,
    pub(crate) broken: Arc<AtomicBool>,
}

impl Shaky {
    fn check(&self) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) { Err(io::Error::other("broken")) } else { Ok(()) }
    }
}

impl StorageBackend for Shaky {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check().and_then(|()| self.inner.set_len(len))
    }
    fn sync_data(&self) -> io::Result<()> {
        self.check().and_then(|()| self.inner.sync_data())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check().and_then(|()| self.inner.write(offset, data))
    }
}
