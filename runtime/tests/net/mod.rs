//! Servers on this machine, with and without TLS, and a resolver that leads to them.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use miniapp_runtime::{Lookup, NetworkPolicy, Resolve, ResolveFuture, Resolver};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// Far more than anything here takes, so that only what never happens is caught.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a server does when a request is there.
#[derive(Clone)]
pub enum Reply {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Sends these bytes and then nothing, until the other side closes.
    Hang(Vec<u8>),
    /// Sends the first, then the second again and again with a pause, until the other side closes.
    Forever(Vec<u8>, Vec<u8>, Duration),
}

impl Reply {
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        Self::Bytes(bytes)
    }

    pub fn redirect(status: u16, location: &str) -> Self {
        let text =
            format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        Self::Bytes(text.into_bytes())
    }
}

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Seen {
    pub tls: bool,
    /// Request line and headers, as they are.
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    pub fn path(&self) -> &str {
        self.line().split(' ').nth(1).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

/// A server that answers each request by a function.
pub struct Server {
    pub port: u16,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    arrived: tokio::sync::Mutex<mpsc::UnboundedReceiver<()>>,
    closed: tokio::sync::Mutex<mpsc::UnboundedReceiver<()>>,
}

impl Server {
    pub async fn plain(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, handler).await
    }

    pub async fn tls(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(Some(certificates().acceptor.clone()), handler).await
    }

    async fn start(
        tls: Option<TlsAcceptor>,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (arrive, arrived) = mpsc::unbounded_channel();
        let (close, closed) = mpsc::unbounded_channel();
        let (for_task, handler) = (seen.clone(), Arc::new(handler) as Arc<Handler>);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (seen, handler, tls) = (for_task.clone(), handler.clone(), tls.clone());
                let (arrive, close) = (arrive.clone(), close.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, false, &seen, &*handler, &arrive).await,
                        Some(acceptor) => {
                            if let Ok(socket) = acceptor.accept(socket).await {
                                serve(socket, true, &seen, &*handler, &arrive).await;
                            }
                        }
                    }
                    let _ = close.send(());
                });
            }
        });
        Self { port, seen, arrived: arrived.into(), closed: closed.into() }
    }

    /// Waits until a request has come in whole.
    pub async fn arrived(&self) {
        let mut arrived = self.arrived.lock().await;
        tokio::time::timeout(PATIENCE, arrived.recv()).await.expect("no request came").unwrap();
    }

    /// Waits until a connection has been closed.
    pub async fn closed(&self) {
        let mut closed = self.closed.lock().await;
        tokio::time::timeout(PATIENCE, closed.recv()).await.expect("a connection is still open").unwrap();
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    tls: bool,
    seen: &Mutex<Vec<Seen>>,
    handler: &Handler,
    arrived: &mpsc::UnboundedSender<()>,
) {
    let mut bytes = Vec::new();
    let request = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let request = Seen { tls, head, body: bytes[end + 4..].to_vec() };
            let length = request.header("content-length").map_or(0, |l| l.parse::<usize>().unwrap());
            if request.body.len() >= length {
                break request;
            }
        }
        match socket.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    };
    let reply = handler(&request);
    seen.lock().unwrap().push(request);
    let _ = arrived.send(());
    match reply {
        Reply::Bytes(bytes) => {
            let _ = socket.write_all(&bytes).await;
            let _ = socket.shutdown().await;
        }
        Reply::Hang(bytes) => {
            let _ = socket.write_all(&bytes).await;
            let _ = socket.flush().await;
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest).await;
        }
        Reply::Forever(head, piece, pause) => {
            let mut next = head;
            while socket.write_all(&next).await.is_ok() && socket.flush().await.is_ok() {
                next = piece.clone();
                tokio::time::sleep(pause).await;
            }
        }
    }
}

struct Certificates {
    authority: Vec<u8>,
    acceptor: TlsAcceptor,
}

/// An authority of this test run's own, and a certificate for every name under `example.com`, `example.org`, and some
/// others.
fn certificates() -> &'static Certificates {
    static MADE: OnceLock<Certificates> = OnceLock::new();
    MADE.get_or_init(|| {
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&key).unwrap();
        let issuer = Issuer::new(authority, key);
        let names =
            ["example.com", "*.example.com", "*.example.org", "xn--bcher-kva.example", "shop.internal"];
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(names.map(String::from)).unwrap().signed_by(&key, &issuer).unwrap();
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], secret)
            .unwrap();
        Certificates { authority: certificate.der().to_vec(), acceptor: TlsAcceptor::from(Arc::new(config)) }
    })
}

/// Answers from a table; of several answers to one name each is given once, the last one for good.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>>);

impl Names {
    pub fn set(&self, host: &str, answers: impl IntoIterator<Item = Vec<IpAddr>>) {
        self.0.lock().unwrap().insert(host.into(), answers.into_iter().collect());
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

impl Resolve for Names {
    fn resolve(&self, lookup: Lookup) -> ResolveFuture {
        let mut table = self.0.lock().unwrap();
        let answer = table.get_mut(lookup.host()).and_then(|answers| match answers.len() {
            0 | 1 => answers.front().cloned(),
            _ => answers.pop_front(),
        });
        Box::pin(async move { answer.ok_or_else(|| std::io::Error::other("no such name")) })
    }
}

/// A policy under which names lead, by `names`, to servers on this machine at these ports, and no further.
pub fn policy(names: &Names, ports: &[u16]) -> NetworkPolicy {
    NetworkPolicy {
        plain_http: true,
        ports: ports.to_vec(),
        networks: vec!["127.0.0.1/32".parse().unwrap()],
        authorities: vec![certificates().authority.clone()],
        resolver: Resolver::new(names.clone()),
        ..NetworkPolicy::default()
    }
}
