//! The one module with `unsafe` code: what the compiler cannot check, and no library does for us.

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::precompiled::Vouched;

/// Bytes of a seal.
pub(crate) const SEAL: usize = blake3::OUT_LEN;

/// Seals compiled code with a key that only this host has. The engine runs a deserialized image as it is, and accepts a
/// bit-flipped one without complaint.
#[derive(Debug)]
pub(crate) struct Sealer {
    key: [u8; 32],
    /// Engine version, settings and target, as 16 hex digits: code for another engine is another file.
    engine: String,
}

/// Why sealed code was not loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("its seal is broken")]
    Broken,
    #[error("the engine did not accept it: {0:#}")]
    Refused(wasmtime::Error),
}

impl Sealer {
    /// `engine` is what an image can be loaded by.
    pub(crate) fn new(key: [u8; 32], engine: String) -> Self {
        Self { key, engine }
    }

    pub(crate) fn engine(&self) -> &str {
        &self.engine
    }

    /// An image of compiled code, and its seal, which stands before it. Nothing but this and what is vouched for is ever
    /// sealed.
    ///
    /// # Errors
    /// If the engine cannot write the code.
    pub(crate) fn seal(&self, digest: &str, code: &Component) -> wasmtime::Result<([u8; SEAL], Vec<u8>)> {
        let image = code.serialize()?;
        Ok((self.mac(digest, &image), image))
    }

    /// The seal of code that was signed by somebody whom the embedder has it from.
    pub(crate) fn adopt(&self, code: &Vouched<'_>) -> [u8; SEAL] {
        self.mac(&code.digest(), code.image())
    }

    /// Binds the image to the package and the engine, so that one app's code cannot be passed off as another's.
    fn mac(&self, digest: &str, image: &[u8]) -> [u8; SEAL] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [digest, &self.engine] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.update(image);
        *hasher.finalize().as_bytes()
    }

    /// Loads an image that stands behind its seal.
    pub(crate) fn load(&self, engine: &Engine, digest: &str, sealed: &[u8]) -> Result<Component, SealError> {
        let (seal, image) = sealed.split_first_chunk().ok_or(SealError::Broken)?;
        self.open(engine, digest, seal, image)
    }

    /// Loads an image by its seal.
    #[allow(unsafe_code, clippy::disallowed_methods)]
    pub(crate) fn open(
        &self,
        engine: &Engine,
        digest: &str,
        seal: &[u8; SEAL],
        image: &[u8],
    ) -> Result<Component, SealError> {
        // blake3's comparison takes the same time for every wrong seal.
        if blake3::Hash::from_bytes(self.mac(digest, image)) != blake3::Hash::from_bytes(*seal) {
            return Err(SealError::Broken);
        }
        // SAFETY: `image` is in our own memory, where nobody can change it after the check, and its seal proves that
        // this host wrote it as the output of `Component::serialize` for this very engine configuration, or has it from
        // whom its embedder trusts to have done just that; whether the configuration is this one, the engine compares.
        unsafe { Component::deserialize(engine, image) }.map_err(SealError::Refused)
    }
}

/// Has the calling thread compute in nobody's way: with this niceness, never interrupting who runs when it is woken, and
/// giving way at once to who is woken.
///
/// A low weight alone does neither. Linux lets a thread of any weight that has slept go before one that has run just now,
/// and lets who runs finish the shortest slice of all first: milliseconds, by its tick. Who has asked for a longer slice
/// than others gives way to them (since 6.12).
///
/// # Errors
/// What the system says; a sandbox may not let a thread do this.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn give_way(nice: i32, slice: std::time::Duration) -> std::io::Result<()> {
    /// `struct sched_attr` of sched_setattr(2), as it was first (`SCHED_ATTR_SIZE_VER0`).
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    const SIZE: u32 = 48;
    const { assert!(size_of::<Attributes>() == SIZE as usize) };
    let attributes = Attributes {
        size: SIZE,
        policy: libc::SCHED_BATCH.cast_unsigned(),
        flags: 0,
        nice,
        priority: 0,
        runtime: crate::account::nanos(slice),
        deadline: 0,
        period: 0,
    };
    let (this_thread, no_flags): (libc::c_long, libc::c_long) = (0, 0);
    // SAFETY: the call reads `size` bytes of `attributes`, which has as many and outlives it, and changes nothing but how
    // this thread is scheduled.
    let done =
        unsafe { libc::syscall(libc::SYS_sched_setattr, this_thread, &raw const attributes, no_flags) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
