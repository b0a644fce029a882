//! A server on this machine that sends a byte at a time, for as long as somebody listens.

use std::net::Ipv4Addr;
use std::time::Duration;

use miniapp_runtime::{Lookup, NetworkPolicy, Resolve, ResolveFuture, Resolver};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::PATIENCE;

/// Between two bytes.
const PAUSE: Duration = Duration::from_millis(5);

pub struct Drip {
    port: u16,
    /// Requests that came, and connections that were closed by the other side.
    counts: watch::Receiver<(usize, usize)>,
    seen_closed: std::sync::Mutex<usize>,
}

impl Drip {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (count, counts) = watch::channel((0, 0));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let count = count.clone();
                tokio::spawn(async move {
                    drip(socket, &count).await;
                    count.send_modify(|(_, closed)| *closed += 1);
                });
            }
        });
        Self { port, counts, seen_closed: std::sync::Mutex::new(0) }
    }

    /// `head` drips headers, anything else a body.
    pub fn url(&self, path: &str) -> String {
        format!("http://drip.example.com:{}/{path}", self.port)
    }

    /// A policy under which every name is this server.
    pub fn policy(&self) -> NetworkPolicy {
        struct Here;
        impl Resolve for Here {
            fn resolve(&self, _: Lookup) -> ResolveFuture {
                Box::pin(async { Ok(vec![Ipv4Addr::LOCALHOST.into()]) })
            }
        }
        NetworkPolicy {
            plain_http: true,
            ports: vec![self.port],
            networks: vec!["127.0.0.1/32".parse().unwrap()],
            resolver: Resolver::new(Here),
            ..NetworkPolicy::default()
        }
    }

    /// Waits until so many requests have come in all.
    pub async fn arrived(&self, requests: usize) {
        let mut counts = self.counts.clone();
        let all = counts.wait_for(|(arrived, _)| *arrived >= requests);
        tokio::time::timeout(PATIENCE, all).await.expect("a request is missing").unwrap();
    }

    /// Waits until so many more connections were closed.
    pub async fn closed(&self, connections: usize) {
        let all = {
            let mut seen = self.seen_closed.lock().unwrap();
            *seen += connections;
            *seen
        };
        let mut counts = self.counts.clone();
        let closed = counts.wait_for(|(_, closed)| *closed >= all);
        tokio::time::timeout(PATIENCE, closed).await.expect("a connection is still open").unwrap();
    }
}

async fn drip(mut socket: TcpStream, count: &watch::Sender<(usize, usize)>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match socket.read_buf(&mut request).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    count.send_modify(|(arrived, _)| *arrived += 1);
    let head: &[u8] = match request.starts_with(b"GET /head ") {
        true => b"HTTP/1.1 200 OK\r\nX-Endless: ",
        false => b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n",
    };
    let mut next = head;
    while socket.write_all(next).await.is_ok() {
        next = b"x";
        tokio::time::sleep(PAUSE).await;
    }
}
