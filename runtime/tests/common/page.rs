//! An app's page, by hand: what it writes to a gateway, and what it reads of it.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::time::Duration;

use miniapp_runtime::{Door, Gateway, Instance};
use serde_json::{Value, json};
use soketto::handshake::client::Header;
use soketto::handshake::{Client, ServerResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

pub const ORIGIN: &str = "app://com.example.puppet";
/// As long as something may take that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(25);

/// Waits for what has to happen within [`PATIENCE`].
pub async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, happens).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Waits until it is so.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon(what, wait).await;
}

pub fn request(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

pub fn notification(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    /// The value of a header that is there once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        value
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn read(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { status, headers: lines.filter_map(header).collect(), body: body.to_owned() }
    }
}

/// The text of a request. Its host is the gateway's own unless the headers name one; it has a content type where there
/// is a body.
pub fn text(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    let has = |wanted: &str| headers.iter().any(|(name, _)| *name == wanted);
    if !has("host") {
        text += &format!("host: {address}\r\n");
    }
    if !body.is_empty() {
        text += &format!("content-length: {}\r\n", body.len());
        if !has("content-type") {
            text += "content-type: application/json\r\n";
        }
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text + "\r\n" + body
}

/// Sends a text and reads until the gateway closes the connection, or it breaks.
pub async fn exchange(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    String::from_utf8(rest(&mut stream).await).unwrap()
}

/// What comes until the connection is closed.
pub async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // However it is closed.
    let _ = soon("the end of a connection", stream.read_to_end(&mut all)).await;
    all
}

/// Sends a request on a connection of its own, which the gateway is asked to close.
pub async fn send(
    gateway: &Gateway,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let mut headers = headers.to_vec();
    headers.push(("connection", "close"));
    let address = gateway.address();
    Reply::read(&exchange(address, &text(address, method, path, &headers, body)).await)
}

type Io = Compat<BufStream<TcpStream>>;

/// A WebSocket.
pub struct Socket {
    sender: soketto::Sender<Io>,
    receiver: soketto::Receiver<Io>,
}

impl Socket {
    /// Opens it, or gives the status with which that was refused.
    pub async fn open(gateway: &Gateway, path: &str, origin: Option<&str>) -> Result<Self, u16> {
        let stream = TcpStream::connect(gateway.address()).await.unwrap();
        let address = gateway.address().to_string();
        let mut client = Client::new(BufStream::new(stream).compat(), &address, path);
        let headers: Vec<_> =
            origin.iter().map(|origin| Header { name: "origin", value: origin.as_bytes() }).collect();
        client.set_headers(&headers);
        match client.handshake().await.unwrap() {
            ServerResponse::Accepted { .. } => {
                let (sender, receiver) = client.into_builder().finish();
                Ok(Self { sender, receiver })
            }
            ServerResponse::Rejected { status_code } => Err(status_code),
            ServerResponse::Redirect { .. } => panic!("nothing redirects here"),
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &str) {
        self.sender.send_text(message).await.unwrap();
        self.sender.flush().await.unwrap();
    }

    /// The next message, or nothing if the socket is closed.
    pub async fn receive(&mut self) -> Option<Value> {
        let mut message = Vec::new();
        soon("a message", self.receiver.receive_data(&mut message)).await.ok()?;
        Some(serde_json::from_slice(&message).unwrap())
    }

    pub async fn say(&mut self, message: &Value) -> Value {
        self.send(&message.to_string()).await;
        self.receive().await.expect("the socket is closed")
    }

    /// Takes what was sent until the socket is closed, and gives how many messages that were.
    pub async fn drain(&mut self) -> usize {
        let mut messages = 0;
        while self.receive().await.is_some() {
            messages += 1;
        }
        messages
    }
}

/// A page of one app, and its way in.
pub struct Page {
    pub gateway: Gateway,
    pub door: Door,
}

impl Page {
    pub async fn of(app: &Instance) -> Self {
        let gateway = Gateway::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let door = gateway.open(app, ORIGIN).unwrap();
        Self { gateway, door }
    }

    pub fn path(&self) -> String {
        format!("/{}", self.door.token())
    }

    pub async fn post(&self, body: &str) -> Reply {
        send(&self.gateway, "POST", &self.path(), &[("origin", ORIGIN)], body).await
    }

    /// What a request, or a batch of them, is answered over HTTP.
    pub async fn rpc(&self, request: Value) -> Value {
        let reply = self.post(&request.to_string()).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    pub async fn socket(&self) -> Socket {
        Socket::open(&self.gateway, &self.path(), Some(ORIGIN)).await.unwrap()
    }
}
