//! Takes connections in, and turns away those that do not say soon what they want.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Inner, connection};

/// Connections that have not shown a token.
const STRANGERS: usize = 32;

/// Connections that have not shown a token yet. There are few places for them, and the oldest gives way to the newest:
/// who has a token shows it at once, and is not kept out by others that show nothing.
#[derive(Default)]
struct Strangers(Mutex<BTreeMap<u64, CancellationToken>>);

/// A place among them.
pub(super) struct Stranger {
    number: u64,
    /// Cancelled when it has to give way.
    pub(super) leave: CancellationToken,
    among: Arc<Strangers>,
}

impl Strangers {
    /// `number` grows from one to the next.
    fn enter(self: &Arc<Self>, number: u64) -> Stranger {
        let leave = CancellationToken::new();
        let mut strangers = self.lock();
        if strangers.len() >= STRANGERS
            && let Some((_, oldest)) = strangers.pop_first()
        {
            oldest.cancel();
        }
        strangers.insert(number, leave.clone());
        Stranger { number, leave, among: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.among.lock().remove(&self.number);
    }
}

/// Runs until the gateway is dropped.
pub(super) async fn accept(listener: TcpListener, gateway: Arc<Inner>) {
    let strangers = Arc::new(Strangers::default());
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = gateway.closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                number += 1;
                tokio::spawn(connection::serve(stream, gateway.clone(), strangers.enter(number)));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                // Out of files, most likely: let others finish before trying again.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
