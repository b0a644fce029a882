//! The bridge over WebSocket and HTTP, for an app's own user interface in a web view.
//!
//! JSON-RPC in full, with jsonrpsee's types. Its server suits a public node and not this: here nobody gets in without
//! the token of one instance, pages of other origins are turned away, every member of a batch is authorized by itself,
//! and who does not read is not read from. What a page may do is what its app may do: the calls go through the same
//! gate.
//!
//! A connection is one task. What it reads, answers and has not sent yet is part of that task, so that nothing is left
//! when it is dropped: at a kill, with its door, or with the gateway.

mod accept;
mod admit;
mod calls;
mod connection;
mod envelope;
mod error;
mod incoming;
mod request;
mod socket;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use data_encoding::BASE32_NOPAD;
use hyper::header::HeaderValue;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::call::Shared;
use crate::instance::Instance;

pub use error::GatewayError;

/// Connections that have shown a token: to one gateway, and to one instance.
const CONNECTIONS: usize = 256;
pub(crate) const CONNECTIONS_EACH: usize = 8;

/// Serves the bridges of instances to their user interfaces. Dropping it closes all connections.
///
/// ```no_run
/// # async fn example(app: miniapp_runtime::Instance) -> Result<(), miniapp_runtime::GatewayError> {
/// use miniapp_runtime::Gateway;
/// let gateway = Gateway::listen("127.0.0.1:0".parse().unwrap()).await?;
/// let door = gateway.open(&app, "app://com.example.shop")?;
/// println!("the page connects to {}", door.web_socket());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Gateway {
    inner: Arc<Inner>,
    _closing: DropGuard,
}

struct Inner {
    address: SocketAddr,
    doors: Mutex<HashMap<String, Arc<Behind>>>,
    /// Places for connections that have shown a token.
    room: Arc<Semaphore>,
    /// Cancelled when the gateway is dropped.
    closing: CancellationToken,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What lies behind one token.
struct Behind {
    app: Weak<Shared>,
    origin: HeaderValue,
    /// Places for its connections, the same at each of its doors.
    room: Arc<Semaphore>,
    /// Cancelled when the door is dropped or the instance ends.
    closing: CancellationToken,
}

/// The way into one instance. Dropping it closes the way and every connection that came through it.
pub struct Door {
    gateway: Weak<Inner>,
    address: SocketAddr,
    token: String,
    closing: CancellationToken,
}

// Not derived: whoever sees the token can be the app.
impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Door {
    /// The secret that opens the instance, as `Authorization: Bearer …`. Whoever has it may do what the app may do.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where a page posts its requests, the token in the path: a web view cannot set headers everywhere.
    pub fn http(&self) -> String {
        format!("http://{}/{}", self.address, self.token)
    }

    /// Where a page opens its WebSocket.
    pub fn web_socket(&self) -> String {
        format!("ws://{}/{}", self.address, self.token)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.closing.cancel();
        if let Some(gateway) = self.gateway.upgrade() {
            gateway.lock().remove(&self.token);
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Behind>>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Listens at `address`, a loopback address: connections are not encrypted.
    ///
    /// # Errors
    /// [`GatewayError`]: the address is none of this device's own, or cannot be listened at.
    pub async fn listen(address: SocketAddr) -> Result<Self, GatewayError> {
        if !address.ip().is_loopback() {
            return Err(GatewayError::NotLoopback { address });
        }
        let failed = |source| GatewayError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let closing = CancellationToken::new();
        let inner = Arc::new(Inner {
            address: listener.local_addr().map_err(failed)?,
            doors: Mutex::default(),
            room: Arc::new(Semaphore::new(CONNECTIONS)),
            closing: closing.clone(),
        });
        tokio::spawn(accept::accept(listener, inner.clone()));
        Ok(Self { inner, _closing: closing.drop_guard() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// Connections that came through a door and are open.
    pub fn connections(&self) -> usize {
        CONNECTIONS.saturating_sub(self.inner.room.available_permits())
    }

    /// Opens the way into one instance for pages of `origin`, such as `app://com.example.shop`. It closes when the
    /// instance ends, or when the door is dropped.
    ///
    /// # Errors
    /// [`GatewayError`]: `origin` is not what a browser would say of a page, or there is no randomness for a token.
    pub fn open(&self, app: &Instance, origin: impl Into<String>) -> Result<Door, GatewayError> {
        let origin = error::check_origin(origin.into())?;
        let token = token()?;
        // A child of the switch: a kill closes the connections at once.
        let closing = app.shared.session.life.switch.gone.child_token();
        let behind = Behind {
            app: Arc::downgrade(&app.shared),
            origin,
            room: app.shared.session.connections.clone(),
            closing: closing.clone(),
        };
        self.inner.lock().insert(token.clone(), Arc::new(behind));
        Ok(Door { gateway: Arc::downgrade(&self.inner), address: self.inner.address, token, closing })
    }
}

/// 256 random bits.
fn token() -> Result<String, GatewayError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "no randomness for a token");
        GatewayError::NoRandomness
    })?;
    Ok(BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
}
