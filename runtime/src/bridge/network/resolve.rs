//! From a name to addresses, once for each connection: what is checked is what is connected to.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::address::special;
use super::egress::Refusal;
use super::policy::NetworkPolicy;

/// A request's place among those that its instance and the whole host may have under way.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) _of_instance: OwnedSemaphorePermit,
    pub(super) _of_host: OwnedSemaphorePermit,
}

/// One question to a [`Resolve`].
///
/// It holds the place of the request that asks. Keep it until the answer is there, also when nobody waits for it any
/// longer: a lookup that cannot be abandoned would otherwise let an app with slow names start any number of them.
#[derive(Debug)]
pub struct Lookup {
    host: String,
    _place: Arc<Place>,
}

impl Lookup {
    /// The name: lower case, at least two labels, no trailing dot, never an address.
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// What a [`Resolve`] answers with.
pub type ResolveFuture = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Turns names into addresses, for hosts with a resolver of their own (DNS over HTTPS) and for tests. The answer is
/// checked like anybody's: a resolver cannot open the way to addresses that are not public.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `lookup.host()`, those to be tried first in front.
    fn resolve(&self, lookup: Lookup) -> ResolveFuture;
}

/// The resolver in a [`NetworkPolicy`](crate::NetworkPolicy).
///
/// ```
/// use miniapp_runtime::{Lookup, NetworkPolicy, Resolve, ResolveFuture, Resolver};
///
/// struct Nobody;
/// impl Resolve for Nobody {
///     fn resolve(&self, lookup: Lookup) -> ResolveFuture {
///         Box::pin(async move { Err(std::io::Error::other(format!("there is no {}", lookup.host()))) })
///     }
/// }
/// let offline = NetworkPolicy { resolver: Resolver::new(Nobody), ..NetworkPolicy::default() };
/// ```
#[derive(Clone)]
pub struct Resolver(Arc<dyn Resolve>);

impl Resolver {
    /// Resolves with `resolve`.
    pub fn new(resolve: impl Resolve) -> Self {
        Self(Arc::new(resolve))
    }

    pub(super) async fn addresses(&self, host: &str, place: &Arc<Place>) -> io::Result<Vec<IpAddr>> {
        self.0.resolve(Lookup { host: host.to_owned(), _place: place.clone() }).await
    }
}

impl Default for Resolver {
    /// Asks the operating system.
    fn default() -> Self {
        Self::new(System)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

struct System;

impl Resolve for System {
    fn resolve(&self, lookup: Lookup) -> ResolveFuture {
        // What `tokio::net::lookup_host` does, but the thread keeps the lookup, and with it the request's place: the
        // operating system's resolver cannot be interrupted, and may take half a minute.
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || {
                let found = (lookup.host(), 0).to_socket_addrs();
                found.map(|addresses| addresses.map(|address| address.ip()).collect())
            });
            asked.await.map_err(io::Error::other)?
        })
    }
}

/// Refuses the whole answer if one address is not public and not named by the policy: an answer that mixes both is
/// an attack or a mistake, and picking the good ones would hide it.
pub(super) fn check(host: &str, addresses: &[IpAddr], policy: &NetworkPolicy) -> Result<(), Refusal> {
    for &address in addresses {
        if policy.networks.iter().any(|network| network.contains(&address)) {
            continue;
        }
        if let Some(special) = special(address) {
            return Err(Refusal::Address { host: host.to_owned(), special });
        }
    }
    Ok(())
}
