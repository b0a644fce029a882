//! Many listeners in one process, and the kills that they wait for.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::process::tell;

pub const PART: &str = "listeners";
pub const ADDRESS: &str = "MPKG_BENCH_ADDRESS";
/// Whose kills they wait for.
pub const TOKEN: &str = "MPKG_BENCH_TOKEN";
/// A file with the listeners' tokens, one in a line; all have that of the kills without it.
pub const TOKENS: &str = "MPKG_BENCH_TOKENS";
pub const COUNT: &str = "MPKG_BENCH_COUNT";

/// How long nothing has to come before a round is over.
const QUIET: Duration = Duration::from_millis(250);

struct Heard {
    bytes: Vec<usize>,
    last: Vec<Instant>,
    newest: Instant,
}

/// Connects, then does as it is told: each line is the body of a kill. For each it tells how many bytes every listener
/// got and after how many microseconds each had the last of them, counted from when the kill was accepted: when the
/// answer came or the first listener heard of it, whichever was first.
#[tokio::main(flavor = "current_thread")]
pub async fn listen() {
    LocalSet::new().run_until(run()).await;
}

async fn run() {
    let (address, token) = (std::env::var(ADDRESS).unwrap(), std::env::var(TOKEN).unwrap());
    let count = crate::number(COUNT, 0);
    let now = Instant::now();
    let heard = Heard { bytes: vec![0; count], last: vec![now; count], newest: now };
    let heard = Rc::new(RefCell::new(heard));
    let file = std::env::var(TOKENS).map(|path| std::fs::read_to_string(path).unwrap());
    let tokens: Vec<&str> =
        file.as_deref().map_or_else(|_| vec![token.as_str(); count], |text| text.lines().collect());
    for (index, token) in tokens[..count].iter().enumerate() {
        let request = format!("GET /v1/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        tokio::task::spawn_local(hear(socket, index, Rc::clone(&heard)));
        // Everybody has the beginning before the next hundred come: this is about those who are there.
        if index % 100 == 99 {
            while heard.borrow().bytes[..=index].contains(&0) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
    quiet(&heard).await;
    tell("ready");

    loop {
        let mut line = String::new();
        let read = tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line).map(|_| line));
        let body = read.await.unwrap().unwrap();
        if body.is_empty() {
            return;
        }
        let before = heard.borrow().bytes.clone();
        let (address, token) = (address.clone(), token.clone());
        let began = Instant::now();
        let kill = tokio::task::spawn_blocking(move || kill(&address, &token, body.trim()));
        let answered = kill.await.unwrap();
        while heard.borrow().bytes.iter().zip(&before).any(|(now, before)| now == before) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        quiet(&heard).await;
        let heard = heard.borrow();
        let bytes = heard.bytes[0] - before[0];
        assert!(
            heard.bytes.iter().zip(&before).all(|(now, before)| now - before == bytes),
            "all hear the same"
        );
        let accepted = heard.last.iter().min().map_or(answered, |first| answered.min(*first));
        let mut text = format!("{bytes} {}", (accepted - began).as_micros());
        for last in &heard.last {
            text += &format!(" {}", (*last - accepted).as_micros());
        }
        tell(&text);
    }
}

async fn hear(socket: TcpStream, index: usize, heard: Rc<RefCell<Heard>>) {
    let mut space = [0; 16 << 10];
    loop {
        socket.readable().await.unwrap();
        match socket.try_read(&mut space) {
            Ok(0) => panic!("listener {index} was cut off"),
            Ok(read) => {
                let mut heard = heard.borrow_mut();
                heard.bytes[index] += read;
                heard.newest = Instant::now();
                heard.last[index] = heard.newest;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("listener {index}: {error}"),
        }
    }
}

/// Until nothing has come for a while.
async fn quiet(heard: &RefCell<Heard>) {
    loop {
        let silent = heard.borrow().newest.elapsed();
        if silent >= QUIET {
            return;
        }
        tokio::time::sleep(QUIET - silent).await;
    }
}

/// Sends a kill, and gives when it was answered.
fn kill(address: &str, token: &str, body: &str) -> Instant {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    let key = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let request = format!(
        "POST /v1/kills HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nidempotency-key: {key}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).unwrap();
    let answered = Instant::now();
    assert!(answer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&answer));
    answered
}
