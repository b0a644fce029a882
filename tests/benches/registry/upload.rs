//! Publishing a package of 12 MiB beside the least that it can take: hashing its bytes and having them on the disk.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use mpkg_tests::bench::Row;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::common::{APP, Package, chain};
use crate::process::Part;
use crate::servers;

const UPLOADS: u64 = 15;
const SIZE: usize = 12 << 20;

fn send(address: &str, token: &str, method: &str, path: &str, body: &[u8]) {
    let mut socket = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nidempotency-key: {}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        mpkg_package::Hash::of(body),
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(body).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
}

fn hash_and_write(folder: &Path, name: u64, bytes: &[u8]) {
    std::hint::black_box(Sha256::digest(bytes));
    let mut file = std::fs::File::create(folder.join(name.to_string())).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
}

pub fn measure() -> Vec<Row> {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("registry");
    let mut server =
        Part::start(servers::REGISTRY, &[(servers::FOLDER, folder.to_string_lossy().into_owned())]);
    let hello = server.hear();
    let (address, token) = hello.split_once(' ').unwrap();
    let (chain, id) = (chain(1), chain(1).publisher());
    let roots = mpkg_package::RootFile::new(chain).to_bytes();
    send(address, token, "PUT", &format!("/v1/publishers/{id}/roots"), &roots);
    let claim = json!({ "app_id": APP, "publisher": id }).to_string();
    send(address, token, "POST", "/v1/apps", claim.as_bytes());

    let (mut ours, mut least, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for code in 1..=UPLOADS {
        let package = Package { filler: SIZE, ..Package::new(code) }.signed();
        let began = Instant::now();
        send(address, token, "POST", &format!("/v1/apps/{APP}/releases"), &package);
        ours.push(began.elapsed().as_secs_f64() * 1e9);
        peaks.push(server.peak());
        let began = Instant::now();
        hash_and_write(place.path(), code, &package);
        least.push(began.elapsed().as_secs_f64() * 1e9);
    }
    let middle = |samples: &mut Vec<f64>| {
        samples.sort_by(f64::total_cmp);
        samples[samples.len() / 2]
    };
    let (value, baseline) = (middle(&mut ours), middle(&mut least));
    println!("peak memory of the registry after each upload, in KiB: {peaks:?}");
    let publish = Row {
        name: "publish, 12 MiB".into(),
        unit: "ns".into(),
        value,
        baseline: Some(baseline),
        baseline_name: Some("SHA-256, write and fsync".into()),
        ratio: Some(value / baseline),
        p50: None,
        p99: Some(ours[ours.len() - 1]),
    };
    let (first, last) = (peaks[0] * 1024.0, peaks[peaks.len() - 1] * 1024.0);
    let memory = Row {
        name: "publish, peak memory".into(),
        unit: "bytes".into(),
        value: last,
        baseline: Some(first),
        baseline_name: Some("after the first of them".into()),
        ratio: Some(last / first),
        p50: None,
        p99: None,
    };
    vec![publish, memory]
}
