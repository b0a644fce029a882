//! Between host and registry: what it does to answers and to the stream is a test's business.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::StreamExt;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What comes of an answer.
pub enum Answer {
    /// As it is.
    Honest,
    /// Another body, as if it were what was asked for.
    Body(Vec<u8>),
    /// A body without end.
    Endless,
    /// This status.
    Status(u16),
    /// So many bytes of it, and then the connection breaks.
    Cut(usize),
}

/// What comes of an event of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Pass,
    Drop,
    Twice,
    /// After the one that follows it.
    Swap,
    Delay(Duration),
    /// The connection breaks in place of it.
    Break,
    /// Over and over from now on, as fast as it is read, and nothing else.
    Flood,
}

type Lie = Arc<dyn Fn(&str, &[u8]) -> Answer + Send + Sync>;
type Injected = Arc<Mutex<Box<dyn FnMut(&str) -> Fault + Send>>>;

#[derive(Clone)]
struct Between {
    base: String,
    http: reqwest::Client,
    lie: Lie,
    fault: Injected,
    flooded: Arc<Notify>,
}

pub struct Proxy {
    pub base: String,
    flooded: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// One that changes answers by path and body, and the order, number and time of events.
    pub async fn new(
        base: &str,
        lie: impl Fn(&str, &[u8]) -> Answer + Send + Sync + 'static,
        fault: impl FnMut(&str) -> Fault + Send + 'static,
    ) -> Self {
        let (lie, fault): (Lie, Injected) = (Arc::new(lie), Arc::new(Mutex::new(Box::new(fault))));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let flooded = Arc::new(Notify::new());
        let between = Between { base: base.to_owned(), http, lie, fault, flooded: flooded.clone() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(between);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = TowerToHyperService::new(router.clone());
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { base, flooded, task }
    }

    /// Waits until a stream is flooded.
    pub async fn flooded(&self) {
        self.flooded.notified().await;
    }
}

async fn pass(State(between): State<Between>, request: Request) -> Response {
    let path = request.uri().path_and_query().unwrap().to_string();
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let mut onward = between.http.request(parts.method, format!("{}{path}", between.base)).body(body);
    for (name, value) in &parts.headers {
        if name != "host" && name != "content-length" {
            onward = onward.header(name, value);
        }
    }
    let Ok(answer) = onward.send().await else {
        return Response::builder().status(502).body(Body::empty()).unwrap();
    };
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != "transfer-encoding" && name != "content-length" && name != "connection" {
            response = response.header(name, value);
        }
    }
    if path.starts_with("/v1/stream") {
        return response.body(Body::from_stream(events(answer, between.fault, between.flooded))).unwrap();
    }
    let Ok(bytes) = answer.bytes().await else {
        return Response::builder().status(502).body(Body::empty()).unwrap();
    };
    match (between.lie)(&path, &bytes) {
        Answer::Honest => response.body(Body::from(bytes)).unwrap(),
        Answer::Body(bytes) => Response::new(Body::from(bytes)),
        Answer::Endless => {
            let chunk = axum::body::Bytes::from(vec![0x20; 64 << 10]);
            let endless = futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
            response.body(Body::from_stream(endless)).unwrap()
        }
        Answer::Status(status) => response.status(status).body(Body::empty()).unwrap(),
        Answer::Cut(at) => {
            let first = bytes.slice(..at.min(bytes.len()));
            let broken = std::io::Error::other("cut");
            let cut = futures_util::stream::iter([Ok(first), Err(broken)]);
            response.header("content-length", bytes.len()).body(Body::from_stream(cut)).unwrap()
        }
    }
}

/// The stream, event by event.
fn events(
    answer: reqwest::Response,
    fault: Injected,
    flooded: Arc<Notify>,
) -> impl futures_util::Stream<Item = Result<axum::body::Bytes, std::io::Error>> {
    struct Open {
        answer: reqwest::Response,
        buffer: Vec<u8>,
        later: Option<Vec<u8>>,
        flood: Option<axum::body::Bytes>,
        flooded: Arc<Notify>,
    }
    let open = Open { answer, buffer: Vec::new(), later: None, flood: None, flooded };
    futures_util::stream::unfold(Some((open, fault)), async |state| {
        let (mut open, fault) = state?;
        if let Some(flood) = open.flood.clone() {
            return Some((Ok(flood), Some((open, fault))));
        }
        loop {
            if let Some(end) = open.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = open.buffer.drain(..end + 2).collect();
                let what = (fault.lock().unwrap())(&String::from_utf8_lossy(&event));
                let mut out = match what {
                    Fault::Pass => event,
                    Fault::Drop => continue,
                    Fault::Twice => [event.clone(), event].concat(),
                    Fault::Swap if open.later.is_none() => {
                        open.later = Some(event);
                        continue;
                    }
                    Fault::Swap => event,
                    Fault::Delay(time) => {
                        tokio::time::sleep(time).await;
                        event
                    }
                    Fault::Flood => {
                        open.flooded.notify_one();
                        open.flood = Some(event.repeat(256).into());
                        event
                    }
                    Fault::Break => return Some((Err(std::io::Error::other("broken")), None)),
                };
                out.extend(open.later.take().unwrap_or_default());
                return Some((Ok(out.into()), Some((open, fault))));
            }
            match open.answer.chunk().await {
                Ok(Some(chunk)) => open.buffer.extend_from_slice(&chunk),
                Ok(None) => return None,
                Err(_) => return Some((Err(std::io::Error::other("broken")), None)),
            }
        }
    })
    .boxed()
}
