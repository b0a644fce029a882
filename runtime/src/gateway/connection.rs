//! One connection, from its first byte to its last: HTTP, and what it becomes.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::accept::Stranger;
use super::admit::Refused;
use super::calls::Calls;
use super::{Behind, Inner, request, socket};
use crate::page_time::metered;
use crate::session::Session;

/// A connection shows a token within this time.
const STRANGE: Duration = Duration::from_secs(5);
/// The next request comes within this time, head and all.
const IDLE: Duration = Duration::from_secs(10);
/// An answer is taken within this time.
const UNREAD: Duration = Duration::from_secs(10);
/// The longest head of a request, and what is read ahead of a body, in bytes.
const BUFFER: usize = 64 * 1024;

/// Who is at the other end of a connection.
pub(super) struct Visitor {
    /// Whose it is. It belongs to the instance that its first request names.
    known: OnceLock<Known>,
    entered: Notify,
    stranger: Mutex<Option<Stranger>>,
    upgrade: Mutex<Option<(OnUpgrade, Calls)>>,
    answers: Notify,
    /// Cancelled when the last answer is sent.
    sent: Mutex<CancellationToken>,
}

struct Known {
    behind: Arc<Behind>,
    session: Arc<Session>,
    _places: [OwnedSemaphorePermit; 2],
}

impl Visitor {
    fn new(stranger: Stranger) -> Self {
        Self {
            known: OnceLock::new(),
            entered: Notify::new(),
            stranger: Mutex::new(Some(stranger)),
            upgrade: Mutex::default(),
            answers: Notify::new(),
            sent: Mutex::default(),
        }
    }

    /// Makes this a connection of `behind`, unless it is another's.
    pub(super) fn enter(&self, gateway: &Inner, behind: Arc<Behind>, calls: &Calls) -> Result<(), Refused> {
        if let Some(known) = self.known.get() {
            let same = Arc::ptr_eq(&known.behind, &behind);
            return same
                .then_some(())
                .ok_or((StatusCode::FORBIDDEN, "This connection is another instance's."));
        }
        let place = |room: &Arc<Semaphore>, refused: Refused| {
            room.clone().try_acquire_owned().map_err(|_full| refused)
        };
        let each = (StatusCode::TOO_MANY_REQUESTS, "The instance has too many connections.");
        let all = (StatusCode::SERVICE_UNAVAILABLE, "The gateway has too many connections.");
        let places = [place(&behind.room, each)?, place(&gateway.room, all)?];
        // Requests of one connection come one after the other.
        let _ = self.known.set(Known { behind, session: calls.session().clone(), _places: places });
        drop(lock(&self.stranger).take());
        self.entered.notify_one();
        Ok(())
    }

    fn session(&self) -> Option<&Session> {
        self.known.get().map(|known| &*known.session)
    }

    /// Makes the connection a WebSocket, once the answer to its request is sent.
    pub(super) fn upgrade(&self, to: OnUpgrade, calls: Calls) {
        *lock(&self.upgrade) = Some((to, calls));
    }

    /// An answer begins to be sent, and is when this is dropped.
    pub(super) fn sends(&self) -> DropGuard {
        let sent = CancellationToken::new();
        *lock(&self.sent) = sent.clone();
        self.answers.notify_one();
        sent.drop_guard()
    }

    /// Waits until an answer is not taken in time. Answers are sent one after the other.
    async fn unread(&self) {
        loop {
            self.answers.notified().await;
            let sent = lock(&self.sent).clone();
            if tokio::time::timeout(UNREAD, sent.cancelled()).await.is_err() {
                return;
            }
        }
    }

    /// Waits until the connection has to close, whatever it is doing.
    async fn over(&self) {
        let leave = lock(&self.stranger).as_ref().map(|stranger| stranger.leave.clone()).unwrap_or_default();
        // Who enters in the last moment stays.
        tokio::select! {
            () = self.entered.notified() => {}
            () = leave.cancelled() => {}
            () = tokio::time::sleep(STRANGE) => {}
        }
        if let Some(known) = self.known.get() {
            known.behind.closing.cancelled().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves a connection until it ends or has to close. Dropped, it closes at once, whatever is unsent: who does not read
/// holds nothing up.
pub(super) async fn serve(stream: TcpStream, gateway: Arc<Inner>, stranger: Stranger) {
    let visitor = Arc::new(Visitor::new(stranger));
    tokio::select! {
        biased;
        () = gateway.closing.cancelled() => {}
        () = visitor.over() => {}
        () = visitor.unread() => {}
        () = metered(|| visitor.session(), talk(stream, &gateway, &visitor)) => {}
    }
}

async fn talk(stream: TcpStream, gateway: &Arc<Inner>, visitor: &Arc<Visitor>) {
    let (within, by) = (gateway.clone(), visitor.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (gateway, visitor) = (within.clone(), by.clone());
        async move { Ok::<_, Infallible>(request::answer(&gateway, &visitor, request).await) }
    });
    // HTTP/1 only: one request at a time, and the next one when this one's answer is sent.
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = http.await {
        tracing::debug!(%error, "a page's connection ended");
        return;
    }
    let upgrade = lock(&visitor.upgrade).take();
    if let Some((upgrade, calls)) = upgrade {
        match upgrade.await {
            Ok(io) => socket::serve(io, calls).await,
            Err(error) => tracing::debug!(%error, "a connection did not become a WebSocket"),
        }
    }
}
