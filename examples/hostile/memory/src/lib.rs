//! Takes memory until it is stopped.

use serde::Serialize;

#[derive(Default)]
struct Memory {
    /// Kept, so that nothing is given back between calls.
    hoard: Vec<Vec<u8>>,
}

#[derive(Serialize)]
struct Filled {
    /// Pages of 64 KiB before, and after the host said no.
    pages_before: usize,
    pages: usize,
}

#[mpkg_sdk::app]
impl Memory {
    #[method("ping")]
    fn ping(&self) -> &str {
        "pong"
    }

    /// Takes a megabyte after the other, and writes to every byte. The allocator gives up when growth is refused,
    /// which is a trap.
    #[method("attack")]
    fn attack(&mut self) {
        loop {
            self.hoard.push(vec![0xaa; 1 << 20]);
        }
    }

    /// Grows page by page until the host says no, and tells how far it came: the cap, to the page.
    #[method("fill")]
    fn fill(&mut self) -> Filled {
        let pages_before = pages();
        while grow() {}
        Filled { pages_before, pages: pages() }
    }
}

#[cfg(target_family = "wasm")]
fn grow() -> bool {
    core::arch::wasm32::memory_grow::<0>(1) != usize::MAX
}

#[cfg(target_family = "wasm")]
fn pages() -> usize {
    core::arch::wasm32::memory_size::<0>()
}

#[cfg(not(target_family = "wasm"))]
fn grow() -> bool {
    false
}

#[cfg(not(target_family = "wasm"))]
fn pages() -> usize {
    0
}
