//! From a request that an app wants to the answer's headers: rules, addresses, connection, redirects.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::response::Parts;
use hyper::{Method, Request, StatusCode};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, Semaphore};
use tokio_rustls::TlsConnector;

use super::egress::{self, REDIRECTS, Refusal, Rules, Target};
use super::error::FetchError;
use super::exchange::{self, Exchange, Io};
use super::policy::NetworkPolicy;
use super::resolve::{self, Place};
use super::{Connections, still_allowed};
use crate::budget::Hold;
use crate::rpc::RpcError;
use crate::session::Session;

/// How long one address may take to answer before the next is tried.
const CONNECT: Duration = Duration::from_secs(5);
/// The most addresses of one host that are tried.
const ATTEMPTS: usize = 4;

/// What a host has for all its instances.
pub(super) struct Client {
    pub(super) policy: NetworkPolicy,
    places: Arc<Semaphore>,
    tls: OnceCell<TlsConnector>,
}

/// A request whose parts have been checked, but for the URL.
pub(super) struct Outgoing {
    pub(super) url: String,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// An answer whose body is to come, with all that it occupies.
pub(super) struct Opened {
    pub(super) parts: Parts,
    pub(super) url: String,
    pub(super) host: String,
    pub(super) exchange: Exchange,
    pub(super) held: Held,
}

/// What a connection occupies as long as it is open.
pub(super) struct Held {
    _place: Arc<Place>,
    _memory: Hold,
}

impl Client {
    pub(super) fn new(policy: NetworkPolicy) -> Self {
        let places = Arc::new(Semaphore::new(policy.requests));
        Self { policy, places, tls: OnceCell::new() }
    }

    /// Sends a request and follows redirects until the headers of an answer are there. `session` is whose permission,
    /// hosts and memory count.
    pub(super) async fn send(&self, session: &Session, mut request: Outgoing) -> Result<Opened, FetchError> {
        let hosts = super::declared_hosts(session);
        let rules = Rules { hosts, policy: &self.policy };
        let mut target = Target::parse(&request.url, rules)?;
        let place = Arc::new(self.enter(&session.network)?);
        let memory = session.ledger.hold(exchange::MEMORY).ok_or(FetchError::NoMemory)?;
        for _ in 0..=REDIRECTS {
            let (parts, exchange) = self.exchange(session, &target, &request, &place).await?;
            let Some(location) = redirect(&parts) else {
                let (url, host) = (target.url().to_owned(), target.host);
                let held = Held { _place: place, _memory: memory };
                return Ok(Opened { parts, url, host, exchange, held });
            };
            let next = target.redirected(location, rules)?;
            request.follow(parts.status, target.same_origin(&next));
            target = next;
        }
        Err(Refusal::TooManyRedirects.into())
    }

    fn enter(&self, connections: &Connections) -> Result<Place, FetchError> {
        let of_instance = connections.places.clone().try_acquire_owned().map_err(|_| FetchError::Busy {
            what: "This app has",
            limit: self.policy.requests_per_instance,
        })?;
        let of_host = self
            .places
            .clone()
            .try_acquire_owned()
            .map_err(|_| FetchError::Busy { what: "This host has", limit: self.policy.requests })?;
        Ok(Place { _of_instance: of_instance, _of_host: of_host })
    }

    /// One hop. The addresses that are checked here are the ones connected to: the name is looked up once. Whoever lost the
    /// permission while something was waited for neither connects nor sends.
    async fn exchange(
        &self,
        session: &Session,
        target: &Target,
        request: &Outgoing,
        place: &Arc<Place>,
    ) -> Result<(Parts, Exchange), FetchError> {
        let host = || target.host.clone();
        still_allowed(session)?;
        let found = self.policy.resolver.addresses(&target.host, place).await;
        let addresses = found.unwrap_or_else(|error| {
            tracing::debug!(host = %target.host, %error, "no address");
            Vec::new()
        });
        if addresses.is_empty() {
            return Err(FetchError::Unresolved { host: host() });
        }
        resolve::check(&target.host, &addresses, &self.policy)?;
        still_allowed(session)?;
        let mut connected = None;
        for address in addresses.into_iter().take(ATTEMPTS) {
            let attempt = TcpStream::connect(SocketAddr::new(address, target.port));
            if let Ok(Ok(socket)) = tokio::time::timeout(CONNECT, attempt).await {
                connected = Some(socket);
                break;
            }
        }
        let socket = connected.ok_or_else(|| FetchError::Unconnected { host: host() })?;
        // Small requests are the rule; waiting to fill a packet helps none of them.
        let _ = socket.set_nodelay(true);
        let io = if target.tls {
            self.encrypt(socket, &target.host).await?
        } else {
            Box::new(socket) as Box<dyn Io>
        };
        still_allowed(session)?;
        session.metrics.count_sent(request.body.len());
        let (parts, exchange) =
            Exchange::start(io, self.message(target, request)?).await.map_err(|error| {
                tracing::debug!(host = %target.host, %error, "no answer");
                FetchError::Protocol { host: host() }
            })?;
        if !exchange::is_final(parts.status) {
            return Err(FetchError::Protocol { host: host() });
        }
        Ok((parts, exchange))
    }

    fn message(&self, target: &Target, request: &Outgoing) -> Result<Request<Full<Bytes>>, FetchError> {
        let mut message = Request::new(Full::new(request.body.clone()));
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = target.path();
        let headers = message.headers_mut();
        headers.clone_from(&request.headers);
        headers.insert(header::HOST, target.authority()?);
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let Ok(agent) = HeaderValue::try_from(&self.policy.user_agent) {
            headers.insert(header::USER_AGENT, agent);
        }
        // Nothing is decompressed here, so nothing can swell. An app that can unpack may ask for more.
        headers.entry(header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        Ok(message)
    }

    async fn encrypt(&self, socket: TcpStream, host: &str) -> Result<Box<dyn Io>, FetchError> {
        let tls = || FetchError::Tls { host: host.to_owned() };
        let connector = self.tls.get_or_try_init(|| connector(self.policy.authorities.clone())).await?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| tls())?;
        let encrypted = connector.connect(name, socket).await.map_err(|error| {
            tracing::debug!(%host, %error, "no TLS");
            tls()
        })?;
        Ok(Box::new(encrypted))
    }
}

impl Outgoing {
    /// Becomes the request that a redirect with this status asks for, as in the
    /// [Fetch standard](https://fetch.spec.whatwg.org/#http-redirect-fetch).
    fn follow(&mut self, status: StatusCode, same_origin: bool) {
        let to_get = match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if to_get {
            self.method = Method::GET;
            self.body = Bytes::new();
            for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE] {
                self.headers.remove(name);
            }
        }
        if !same_origin {
            egress::strip_for_other_origin(&mut self.headers);
        }
    }
}

/// Where an answer leads on to, if it does.
fn redirect(parts: &Parts) -> Option<&HeaderValue> {
    let leads_on = matches!(
        parts.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    parts.headers.get(header::LOCATION).filter(|_| leads_on)
}

/// TLS as the platform's own browser would check it. Made at the first use: reading the platform's certificates takes
/// a while.
async fn connector(authorities: Vec<Vec<u8>>) -> Result<TlsConnector, RpcError> {
    let made = tokio::task::spawn_blocking(move || {
        let provider = Arc::new(ring::default_provider());
        let verifier = verifier(authorities, provider.clone())?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed session tells a server that two requests, of two apps or users maybe, come from one device.
        config.resumption = Resumption::disabled();
        Ok::<_, rustls::Error>(TlsConnector::from(Arc::new(config)))
    });
    match made.await {
        Ok(Ok(connector)) => Ok(connector),
        Ok(Err(error)) => {
            tracing::error!(%error, "TLS cannot be used");
            Err(RpcError::internal())
        }
        Err(_cancelled_or_panicked) => Err(RpcError::internal()),
    }
}

#[cfg(not(target_os = "android"))]
fn verifier(authorities: Vec<Vec<u8>>, provider: Arc<CryptoProvider>) -> Result<Verifier, rustls::Error> {
    Verifier::new_with_extra_roots(authorities.into_iter().map(CertificateDer::from), provider)
}

/// Android's verifier takes no more authorities than the system and the embedding app's own settings name.
#[cfg(target_os = "android")]
fn verifier(_: Vec<Vec<u8>>, provider: Arc<CryptoProvider>) -> Result<Verifier, rustls::Error> {
    Verifier::new(provider)
}
