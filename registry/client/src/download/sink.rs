//! The file that a download goes into. Whatever comes, no more is written than the package has.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use mpkg_package::{Digest, Hash};
use sha2::Digest as _;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::compress_bound;

use crate::error::ClientError;

/// 8 MiB, which is what `Content-Encoding: zstd` may ask for (RFC 9659).
const WINDOW_LOG: u32 = 23;
/// The longest block of Zstandard.
const BLOCK: usize = 128 << 10;

type Result<T> = std::result::Result<T, ClientError>;

pub(super) struct Sink {
    file: File,
    size: u64,
    written: u64,
    /// Compressed bytes, where it is compressed.
    received: u64,
    decoder: Option<Decoder<'static>>,
    buffer: Vec<u8>,
    /// There is no more to come.
    ended: bool,
    /// The compressed form is at the end of a frame.
    framed: bool,
}

impl Sink {
    /// Opens or makes the file of a package with so many bytes.
    pub(super) fn open(path: &Path, size: u64) -> std::io::Result<Self> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        let written = file.metadata()?.len();
        let mut sink = Self {
            file,
            size,
            written,
            received: 0,
            decoder: None,
            buffer: Vec::new(),
            ended: false,
            framed: false,
        };
        // Of something else, then.
        if written > size {
            sink.empty()?;
        }
        sink.file.seek(SeekFrom::Start(sink.written))?;
        Ok(sink)
    }

    fn empty(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        (self.written, self.received) = (0, 0);
        (self.ended, self.framed) = (false, false);
        Ok(())
    }

    /// From nothing, with what comes compressed or not.
    pub(super) fn restart(&mut self, compressed: bool) -> Result<()> {
        self.empty().map_err(ClientError::Disk)?;
        self.decoder = if compressed { Some(decoder().map_err(ClientError::Damaged)?) } else { None };
        self.buffer.resize(BLOCK, 0);
        Ok(())
    }

    /// From here on, with what comes uncompressed.
    pub(super) fn go_on_plain(&mut self) -> Result<()> {
        self.decoder = None;
        Ok(())
    }

    /// Bytes of the package that are there.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that came, which is what tells whether a try was of use.
    pub(super) fn taken(&self) -> u64 {
        if self.decoder.is_some() { self.received } else { self.written }
    }

    /// Whether nothing more is to come, be it the right bytes or not.
    pub(super) fn is_whole(&self) -> bool {
        self.ended || self.written == self.size
    }

    /// The answer ended where it should. A compressed form that ends with its frame is at its end, however little it
    /// made.
    pub(super) fn end(&mut self) -> Result<()> {
        self.ended = self.decoder.is_some() && self.framed;
        Ok(())
    }

    fn too_large(&self) -> ClientError {
        ClientError::TooLarge { limit: usize::try_from(self.size).unwrap_or(usize::MAX) }
    }

    /// Takes what came.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(mut decoder) = self.decoder.take() else { return self.write_plain(bytes) };
        let result = self.decode(&mut decoder, bytes);
        self.decoder = Some(decoder);
        result
    }

    fn write_plain(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 > self.size - self.written {
            return Err(self.too_large());
        }
        self.file.write_all(bytes).map_err(ClientError::Disk)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn decode(&mut self, decoder: &mut Decoder<'static>, bytes: &[u8]) -> Result<()> {
        self.received += bytes.len() as u64;
        // Frames without anything in them have no end.
        let bound = compress_bound(usize::try_from(self.size).unwrap_or(usize::MAX)) as u64;
        if self.received > bound {
            return Err(self.too_large());
        }
        let mut input = InBuffer::around(bytes);
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = loop {
            let before = input.pos();
            let mut output = OutBuffer::around(buffer.as_mut_slice());
            let hint = match decoder.run(&mut input, &mut output) {
                Ok(hint) => hint,
                Err(error) => break Err(ClientError::Damaged(error)),
            };
            let made = output.as_slice();
            if input.pos() > before || !made.is_empty() {
                self.framed = hint == 0;
            }
            if let Err(error) = self.write_plain(made) {
                break Err(error);
            }
            if input.pos() == bytes.len() && made.len() < BLOCK {
                break Ok(());
            }
        };
        self.buffer = buffer;
        result
    }

    /// What is in the file now.
    pub(super) fn digest(&mut self) -> Result<Digest> {
        self.read().map_err(ClientError::Disk)
    }

    fn read(&mut self) -> std::io::Result<Digest> {
        let (mut hasher, mut size) = (sha2::Sha256::new(), 0);
        self.buffer.resize(BLOCK, 0);
        self.file.rewind()?;
        loop {
            let length = self.file.read(&mut self.buffer)?;
            let Some(part) = self.buffer.get(..length).filter(|part| !part.is_empty()) else { break };
            hasher.update(part);
            size += length as u64;
        }
        self.file.seek(SeekFrom::Start(self.written))?;
        Ok(Digest { sha256: Hash(hasher.finalize().into()), size })
    }
}

fn decoder() -> std::io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
    Ok(decoder)
}
