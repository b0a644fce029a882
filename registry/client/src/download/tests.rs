//! Registries that break off, go on elsewhere, and lie.

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What a registry does with one connection.
enum Does {
    /// Answers, and hangs up.
    Answers(Vec<u8>),
    /// Answers, then sends this until nobody listens.
    NeverEnds(Vec<u8>, Vec<u8>),
}

struct Request(String);

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let line = self.0.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
        line?.split_once(": ").map(|(_, value)| value)
    }

    /// The first byte that is asked for.
    fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

struct Server {
    client: Client,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// A registry that answers so. It is told how many requests came before.
    async fn start(mut answer: impl FnMut(usize, &Request) -> Does + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            for number in 0.. {
                let (mut socket, _) = listener.accept().await.unwrap();
                let request = Request(head(&mut socket).await);
                let does = answer(number, &request);
                seen.lock().unwrap().push(request);
                match does {
                    Does::Answers(bytes) => {
                        let _ = socket.write_all(&bytes).await;
                        let _ = socket.shutdown().await;
                    }
                    Does::NeverEnds(head, rest) => {
                        let _ = socket.write_all(&head).await;
                        while socket.write_all(&rest).await.is_ok() {}
                    }
                }
            }
        });
        Self { client, requests }
    }

    fn asked(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    async fn get(&self, place: &Place) -> Result<()> {
        let backoff = Backoff { first: Duration::from_millis(1), most: Duration::from_millis(2) };
        let size = place.digest().size;
        let mut progress = |bytes| assert!(bytes <= size, "{bytes}");
        let result = async {
            Download::new(&self.client, place.digest(), &place.path, backoff).await?.run(&mut progress).await
        };
        let result = tokio::time::timeout(Duration::from_secs(300), result).await.expect("it ends");
        let there = std::fs::read(&place.path).unwrap_or_default();
        assert!(there.len() as u64 <= size, "no more than there is of the package");
        if result.is_ok() {
            assert!(there == place.package, "what was downloaded is the package");
        }
        result
    }
}

async fn head(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{headers}\r\n").as_bytes(), body].concat()
}

/// All of it, as far as `cut`.
fn everything(encoding: &str, bytes: &[u8], cut: usize) -> Does {
    let headers = format!("etag: \"{}\"\r\ncontent-length: {}\r\n{encoding}", bytes.len(), bytes.len());
    Does::Answers(answer(200, &headers, &bytes[..cut.min(bytes.len())]))
}

/// The rest of it, as far as `cut` further.
fn rest(encoding: &str, bytes: &[u8], from: usize, cut: usize) -> Does {
    let (last, size, body) = (bytes.len() - 1, bytes.len(), &bytes[from..]);
    let headers = format!(
        "etag: \"{size}\"\r\ncontent-length: {}\r\ncontent-range: bytes {from}-{last}/{size}\r\n{encoding}",
        body.len()
    );
    Does::Answers(answer(206, &headers, &body[..cut.min(body.len())]))
}

const ZSTD: &str = "content-encoding: zstd\r\n";

/// A folder, and what is to come into it.
struct Place {
    _folder: TempDir,
    path: PathBuf,
    package: Vec<u8>,
    compressed: Vec<u8>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut state = 7_u32;
        let mut package = Vec::new();
        for number in 0..60_000_u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Some of it compresses, some does not.
            package.extend(if number % 3 == 0 { state } else { number / 1_000 }.to_be_bytes());
        }
        let compressed = zstd::stream::encode_all(&package[..], 9).unwrap();
        assert!(compressed.len() < package.len() / 2);
        Self { path: folder.path().join("package.part"), _folder: folder, package, compressed }
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.package)
    }

    fn has(&self, bytes: &[u8]) {
        std::fs::write(&self.path, bytes).unwrap();
    }
}

#[tokio::test]
async fn a_connection_cut_at_every_chunk_is_made_again_from_there() {
    let place = Place::new();
    for compressed in [false, true] {
        let (encoding, bytes) =
            if compressed { (ZSTD, place.compressed.clone()) } else { ("", place.package.clone()) };
        let size = bytes.len();
        let server = Server::start(move |_, request| match request.from() {
            None => everything(encoding, &bytes, 4_999),
            Some(from) => rest(encoding, &bytes, from, 4_999),
        })
        .await;
        server.get(&place).await.unwrap();
        let requests = server.requests.lock().unwrap();
        assert_eq!(requests.len(), size.div_ceil(4_999), "nothing comes twice");
        assert_eq!(requests[0].header("accept-encoding"), Some("zstd"));
        let etag = if compressed { format!("\"{size}\"") } else { format!("\"{}\"", place.digest().sha256) };
        for (number, request) in requests.iter().enumerate().skip(1) {
            assert_eq!(request.from(), Some(number * 4_999));
            assert_eq!(request.header("if-range"), Some(etag.as_str()));
        }
        std::fs::remove_file(&place.path).unwrap();
    }
}

#[tokio::test]
async fn what_is_there_is_not_asked_for_again() {
    let place = Place::new();
    let package = place.package.clone();
    let server =
        Server::start(move |_, request| rest("", &package, request.from().unwrap(), usize::MAX)).await;
    place.has(&place.package[..100_000]);
    server.get(&place).await.unwrap();
    assert_eq!(server.requests.lock().unwrap()[0].from(), Some(100_000));
    // All of it is there.
    server.get(&place).await.unwrap();
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn what_is_there_and_is_something_else_is_thrown_away() {
    let place = Place::new();
    let package = place.package.clone();
    let server = Server::start(move |_, request| match request.from() {
        None => everything("", &package, usize::MAX),
        Some(from) => rest("", &package, from, usize::MAX),
    })
    .await;
    let longer = [&place.package[..], b"x"].concat();
    for other in [&vec![0; 1_000][..], &vec![0; place.package.len()], &longer] {
        place.has(other);
        server.get(&place).await.unwrap();
    }
}

#[tokio::test]
async fn a_registry_that_knows_no_ranges_sends_it_again() {
    let place = Place::new();
    for encoding in ["", ZSTD] {
        let bytes = if encoding.is_empty() { place.package.clone() } else { place.compressed.clone() };
        let server =
            Server::start(move |number, _| everything(encoding, &bytes, 30_000 + 40_000 * number)).await;
        place.has(&place.package[..1_000]);
        server.get(&place).await.unwrap();
        std::fs::remove_file(&place.path).unwrap();
    }
    // The compressed form is gone in between, or was never one to go on with.
    let (package, compressed) = (place.package.clone(), place.compressed.clone());
    let server = Server::start(move |number, request| match number {
        0 => everything(ZSTD, &compressed, 30_000),
        1 => Does::Answers(answer(416, "content-length: 0\r\n", b"")),
        2 => Does::Answers(answer(200, ZSTD, &compressed[..30_000])),
        _ => rest("", &package, request.from().unwrap(), usize::MAX),
    })
    .await;
    server.get(&place).await.unwrap();
    assert_eq!(server.asked(), 4);
}

#[tokio::test]
async fn a_registry_that_is_away_for_a_moment_loses_nothing() {
    let place = Place::new();
    let package = place.package.clone();
    let server = Server::start(move |number, request| match number % 3 {
        0 => Does::Answers(answer(502, "content-length: 4\r\n", b"away")),
        1 => Does::Answers(Vec::new()),
        _ => rest("", &package, request.from().unwrap(), 50_000),
    })
    .await;
    place.has(&place.package[..9]);
    server.get(&place).await.unwrap();
    assert_eq!(server.asked(), 3 * (place.package.len() - 9).div_ceil(50_000));
}

#[tokio::test]
async fn tries_that_bring_nothing_come_to_an_end() {
    let place = Place::new();
    let mut most = 0;
    // Hangs up; sends the head only; begins again each time; brings a little less each time.
    for kind in 0..4_usize {
        let package = place.package.clone();
        let server = Server::start(move |number, _| match kind {
            0 => Does::Answers(Vec::new()),
            1 => everything("", &package, 0),
            2 => everything("", &package, 100_000),
            _ => everything("", &package, 100_000 - number),
        })
        .await;
        assert!(server.get(&place).await.unwrap_err().is_passing());
        most = most.max(server.asked());
        let left = std::fs::metadata(&place.path).unwrap().len();
        assert_eq!(left > 0, kind > 1, "what came is there for the next time");
        std::fs::remove_file(&place.path).unwrap();
    }
    assert_eq!(most, TRIES as usize + 1);
    // A byte for each try is too little as well.
    let package = place.package.clone();
    let server = Server::start(move |_, request| match request.from() {
        None => everything("", &package, 1),
        Some(from) => rest("", &package, from, 1),
    })
    .await;
    assert!(server.get(&place).await.unwrap_err().is_passing());
    assert_eq!(server.asked(), TRIES_IN_ALL as usize);
}

#[tokio::test]
async fn nothing_that_a_lying_registry_sends_is_taken_for_the_package() {
    let place = Place::new();
    let size = place.package.len();
    let mut other = place.package.clone();
    other[size / 2] ^= 1;
    let skippable = [&0x184D_2A50_u32.to_le_bytes()[..], &8_u32.to_le_bytes(), &[0; 8]].concat();
    let bomb = zstd::stream::encode_all(&vec![0; 64 << 20][..], 3).unwrap();
    let far = {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        std::io::Write::write_all(&mut encoder, &place.package).unwrap();
        encoder.finish().unwrap()
    };
    let short = zstd::stream::encode_all(&place.package[..1_000], 3).unwrap();
    let longer = zstd::stream::encode_all(&[&place.package[..], b"x"].concat()[..], 3).unwrap();
    let all = |encoding: &'static str, bytes: &[u8]| {
        let bytes = bytes.to_vec();
        Box::new(move || everything(encoding, &bytes, usize::MAX)) as Box<dyn Fn() -> Does + Send>
    };
    let never = |headers: &'static str, bytes: Vec<u8>| {
        Box::new(move || Does::NeverEnds(answer(200, headers, b""), bytes.clone()))
            as Box<dyn Fn() -> Does + Send>
    };
    let part = |range: String| {
        let headers = format!("etag: \"1\"\r\ncontent-length: 1\r\n{range}");
        Box::new(move || Does::Answers(answer(206, &headers, b"x"))) as Box<dyn Fn() -> Does + Send>
    };
    type Expected = fn(&ClientError) -> bool;
    let (package, large, damaged, answered): (Expected, Expected, Expected, Expected) = (
        |error| matches!(error, ClientError::Package { .. }),
        |error| matches!(error, ClientError::TooLarge { .. }),
        |error| matches!(error, ClientError::Damaged(_)),
        |error| matches!(error, ClientError::Answer(_)),
    );
    let cases = [
        ("other bytes", all("", &other), package),
        ("other bytes, compressed", all(ZSTD, &zstd::stream::encode_all(&other[..], 3).unwrap()), package),
        ("a compressed form of too little", all(ZSTD, &short), package),
        ("a compressed form of a byte more", all(ZSTD, &longer), large),
        ("a bomb", all(ZSTD, &bomb), large),
        ("a body without end", never("", vec![7; 1 << 16]), large),
        ("the package, again and again", never("", place.package.clone()), large),
        ("compressed forms without end", never(ZSTD, place.compressed.clone()), large),
        ("frames of nothing without end", never(ZSTD, skippable.repeat(1_000)), large),
        ("garbage for a compressed form", all(ZSTD, &place.package), damaged),
        ("a compressed form that takes 128 MiB", all(ZSTD, &far), damaged),
        ("a shorter package", all("", &other[1..]), answered),
        ("a longer package", all("", &[&other[..], b"x"].concat()), answered),
        ("another encoding", all("content-encoding: br\r\n", &place.package), answered),
        ("two encodings", all("content-encoding: zstd, zstd\r\n", &place.compressed), answered),
        ("a part of nothing", part(String::new()), answered),
        ("another part", part(format!("content-range: bytes 999-999/{size}\r\n")), answered),
        (
            "a part of something else",
            part(format!("content-range: bytes 1000-1000/{}\r\n", size + 1)),
            answered,
        ),
        ("a compressed part", part(format!("content-range: bytes 1000-1000/{size}\r\n{ZSTD}")), answered),
        ("a page", Box::new(|| Does::Answers(answer(404, "content-length: 2\r\n", b"no"))), answered),
    ];
    for (name, does, expected) in cases {
        let server = Server::start(move |_, _| does()).await;
        place.has(&place.package[..1_000]);
        let error = server.get(&place).await.expect_err(name);
        assert!(expected(&error), "{name}: {error:?}");
        assert!(!error.is_passing(), "{name}");
        // What came from elsewhere is kept until it is known to be wrong.
        assert_eq!(place.path.exists(), matches!(error, ClientError::Answer(_)), "{name}");
    }
    let server = Server::start(|_, _| panic!("nobody asks")).await;
    let digest = Digest { size: (64 << 20) + 1, ..place.digest() };
    let refused = server.client.download(digest, &place.path, &mut |_| {}).await;
    assert!(matches!(refused, Err(ClientError::TooLarge { .. })));
}

#[tokio::test]
async fn a_part_of_another_compressed_form_is_refused() {
    let place = Place::new();
    for change in ["etag: \"other\"\r\ncontent-encoding: zstd\r\n", "etag: \"E\"\r\n", ZSTD] {
        let compressed = place.compressed.clone();
        let server = Server::start(move |_, request| match request.from() {
            None => everything(ZSTD, &compressed, 30_000),
            Some(from) => {
                let size = compressed.len();
                let change = change.replace('E', &size.to_string());
                let headers = format!("content-range: bytes {from}-{}/{size}\r\n{change}", size - 1);
                Does::Answers(answer(206, &headers, &compressed[from..]))
            }
        })
        .await;
        let error = server.get(&place).await.unwrap_err();
        assert!(matches!(error, ClientError::Answer(_)), "{change}: {error}");
        std::fs::remove_file(&place.path).unwrap();
    }
}

#[tokio::test]
async fn a_patch_is_bounded_and_may_be_missing() {
    let place = Place::new();
    let (from, to) = (mpkg_package::Hash::of(b"from"), Digest { size: 1_000, ..place.digest() });
    let refused = |status: u16, code: &str| {
        let body = format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"m\",\"hint\":\"h\"}}}}");
        answer(status, &format!("content-length: {}\r\n", body.len()), body.as_bytes())
    };
    let get = async |does: fn(Vec<u8>) -> Does, head: Vec<u8>| {
        let server = Server::start(move |_, _| does(head.clone())).await;
        server.client.delta(from, to).await
    };
    let patch = answer(200, "content-length: 1000\r\n", &[7; 1_000]);
    assert_eq!(get(Does::Answers, patch).await.unwrap(), Some(vec![7; 1_000]));
    let endless = |head| Does::NeverEnds(head, vec![7; 64]);
    assert!(matches!(get(endless, answer(200, "", b"")).await, Err(ClientError::TooLarge { limit: 1_000 })));
    for (status, code) in [(404, "MPKG-P38"), (404, "MPKG-P35"), (404, "MPKG-P13"), (503, "MPKG-P39")] {
        assert_eq!(get(Does::Answers, refused(status, code)).await.unwrap(), None, "{code}");
    }
    let error = get(Does::Answers, refused(403, "MPKG-P03")).await.unwrap_err();
    assert_eq!(error.code(), Some("MPKG-P03"));
}

/// What a registry may do with one request.
#[derive(Clone, Debug)]
enum Move {
    Everything { compressed: bool, cut: usize },
    Rest { cut: usize },
    Nothing,
    Away,
    NoSuchRange,
    Garbage,
}

fn moves() -> impl Strategy<Value = Move> {
    let cut = || prop_oneof![0_usize..300_000, Just(usize::MAX)];
    prop_oneof![
        3 => (any::<bool>(), cut()).prop_map(|(compressed, cut)| Move::Everything { compressed, cut }),
        6 => cut().prop_map(|cut| Move::Rest { cut }),
        1 => Just(Move::Nothing),
        1 => Just(Move::Away),
        1 => Just(Move::NoSuchRange),
        1 => Just(Move::Garbage),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However it goes: the package or an error, and never more than the package.
    #[test]
    fn however_a_registry_moves_the_package_comes_out_or_nothing(
        script in proptest::collection::vec(moves(), 1..12), there in 0_usize..250_000, right in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let place = Place::new();
            let there = there.min(place.package.len());
            if right {
                place.has(&place.package[..there]);
            } else {
                place.has(&vec![1; there]);
            }
            let (package, compressed) = (place.package.clone(), place.compressed.clone());
            let server = Server::start(move |number, request| {
                let (encoding, bytes) = match request.header("accept-encoding") {
                    Some("zstd") => (ZSTD, &compressed),
                    _ => ("", &package),
                };
                match script.get(number) {
                    Some(Move::Everything { compressed: false, cut }) => everything("", &package, *cut),
                    Some(Move::Everything { compressed: true, cut }) => everything(ZSTD, &compressed, *cut),
                    Some(Move::Rest { cut }) if request.from().is_some_and(|from| from < bytes.len()) => {
                        rest(encoding, bytes, request.from().unwrap(), *cut)
                    }
                    Some(Move::Nothing) => Does::Answers(Vec::new()),
                    Some(Move::Away) => Does::Answers(answer(503, "content-length: 0\r\n", b"")),
                    Some(Move::NoSuchRange) => Does::Answers(answer(416, "content-length: 0\r\n", b"")),
                    Some(Move::Garbage) => everything("", &vec![9; package.len()], 100_000),
                    _ => everything("", &package, usize::MAX),
                }
            })
            .await;
            // Each time takes at least one of its moves, after which it is honest.
            let mut times = 0;
            while server.get(&place).await.is_err() {
                times += 1;
                assert!(times < 15, "it never comes to an end");
            }
        });
    }
}
