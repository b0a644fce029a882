//! Never comes back from a call.

use std::hint::black_box;

#[derive(Default)]
struct Spin {
    turns: u64,
}

#[mpkg_sdk::app]
impl Spin {
    #[method("ping")]
    fn ping(&self) -> &str {
        "pong"
    }

    /// Spins without calling anything: only an interrupt from outside ends it.
    #[method("attack")]
    fn attack(&mut self) {
        loop {
            self.turns = black_box(self.turns).wrapping_add(1);
        }
    }

    /// Spins in one instruction over much memory: nothing between two instructions is checked meanwhile.
    #[method("attack_bulk")]
    fn attack_bulk(&mut self) {
        let mut block = vec![0_u8; 8 << 20];
        loop {
            self.turns = self.turns.wrapping_add(1);
            black_box(&mut block).fill(self.turns as u8);
        }
    }
}
