//! Messages on their way from a page: the app's memory from the moment that they are announced.
//!
//! Who reads a WebSocket makes room for a whole frame before its first byte has come, so that ten bytes cost the host as
//! much as the longest message, on each connection, for as long as the page likes.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, ReadBuf};

use crate::budget::Hold;

/// A message that came whole, charged until it is answered.
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    pub(super) hold: Hold,
}

/// What the frames of one connection have announced, less what has become a message.
#[derive(Clone)]
pub(super) struct Announced(Arc<Mutex<Hold>>);

impl Announced {
    pub(super) fn new(nothing: Hold) -> Self {
        Self(Arc::new(Mutex::new(nothing)))
    }

    fn more(&self, bytes: usize) -> bool {
        let mut hold = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = hold.bytes().saturating_add(bytes);
        hold.resize(all)
    }

    /// What was announced has come.
    pub(super) fn message(&self, bytes: Vec<u8>) -> Message {
        let mut hold = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hold = hold.split(bytes.len());
        Message { bytes, hold }
    }
}

/// A page's half of a WebSocket. Reading fails with [`io::ErrorKind::OutOfMemory`] where the app has no room for a frame.
pub(super) struct Frames<R> {
    io: R,
    announced: Announced,
    /// The longest that is made room for, in bytes; a longer one is refused by who reads.
    longest: usize,
    /// The beginning of a frame's header, and what is to come of the frame before it.
    header: SmallVec<[u8; 14]>,
    left: u64,
}

impl<R> Frames<R> {
    pub(super) fn new(io: R, announced: Announced, longest: usize) -> Self {
        Self { io, announced, longest, header: SmallVec::new(), left: 0 }
    }

    /// Looks through what has come. False if there is no room for what it announces.
    fn look(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left -= skipped as u64;
            let Some((&byte, rest)) = bytes.get(skipped..).and_then(<[u8]>::split_first) else { return true };
            bytes = rest;
            self.header.push(byte);
            if let Some(length) = payload(&self.header) {
                let is_data = self.header.first().is_some_and(|first| first & 0x08 == 0);
                self.header.clear();
                self.left = length;
                let kept = usize::try_from(length).ok().filter(|&length| is_data && length <= self.longest);
                if !self.announced.more(kept.unwrap_or_default()) {
                    return false;
                }
            }
        }
    }
}

/// The length of a frame's payload, once its header is whole: [RFC 6455, section
/// 5.2](https://www.rfc-editor.org/rfc/rfc6455#section-5.2).
fn payload(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let extended = header.get(2..2 + length + mask)?.get(..length)?;
    match length {
        0 => Some(u64::from(second & 0x7f)),
        _ => Some(extended.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))),
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Frames<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        let come = buffer.filled().get(before..).unwrap_or_default();
        if this.look(come) {
            Poll::Ready(Ok(()))
        } else {
            Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::budget::Ledger;

    const LONGEST: usize = 70_000;

    /// A masked frame.
    fn frame(opcode: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        match length {
            0..126 => frame.push(0x80 | length as u8),
            126..65536 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([7; 4]);
        // What looks like a header.
        frame.resize(frame.len() + length, 0xff);
        frame
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However the bytes are cut, data is charged as announced, and control frames and what is refused are not.
        #[test]
        fn what_frames_announce_is_charged(
            frames in prop::collection::vec((prop::sample::select(vec![0_u8, 1, 2, 8, 9, 10]), 0_usize..100_000), 1..6),
            cut in 1_usize..5000,
        ) {
            let mut bytes = Vec::new();
            let mut expected = 0;
            for &(opcode, length) in &frames {
                let length = if opcode < 8 { length } else { length % 126 };
                bytes.extend(frame(opcode, length));
                expected += if opcode < 8 && length <= LONGEST { length } else { 0 };
            }
            let ledger = Ledger::alone(1 << 30);
            let announced = Announced::new(ledger.hold(0).unwrap());
            let mut frames = Frames::new(&[0_u8; 0][..], announced.clone(), LONGEST);
            for part in bytes.chunks(cut) {
                prop_assert!(frames.look(part));
            }
            prop_assert_eq!(ledger.used(), expected as u64);
            prop_assert_eq!((frames.left, frames.header.len()), (0, 0));
            let message = announced.message(vec![0; expected]);
            drop((frames, announced));
            prop_assert_eq!(ledger.used(), expected as u64);
            drop(message);
            prop_assert_eq!(ledger.used(), 0);
        }
    }

    #[tokio::test]
    async fn a_frame_that_there_is_no_room_for_is_not_read() {
        let ledger = Ledger::alone(10_000);
        let mut all = frame(1, 8000);
        all.extend(frame(1, 4000));
        let mut frames = Frames::new(&all[..], Announced::new(ledger.hold(0).unwrap()), LONGEST);
        let mut first = vec![0; 8000];
        frames.read_exact(&mut first).await.unwrap();
        let error = frames.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }
}
