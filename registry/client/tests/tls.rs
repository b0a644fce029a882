//! Whom the client believes to be the registry: whoever has a certificate of an authority that the system trusts, for
//! the name that was asked for. Nobody else learns the token.
//!
//! On Linux `SSL_CERT_FILE` names the authorities instead of the system's, so each try is a process of its own.

#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use data_encoding::BASE64_MIME;
use mpkg_registry_client::Client;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const ADDRESS: &str = "MPKG_TEST_TLS_ADDRESS";
const TOKEN: &str = "the token of this test";
const SAID: &str = "the client says: ";

/// No test, but the client of the other one: this program runs itself with an address.
#[test]
fn as_a_process() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let said = runtime.block_on(async { Client::new(&address, Some(TOKEN))?.registry_roots().await });
    match said {
        Ok(bytes) => println!("{SAID}{}", String::from_utf8(bytes).unwrap()),
        Err(error) => {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            println!("{SAID}{cause}");
        }
    }
}

/// An authority: its certificate as a file has it, and what it signs with.
fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).unwrap();
    let pem = BASE64_MIME.encode(certificate.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{pem}-----END CERTIFICATE-----\n");
    (pem, Issuer::new(authority, key))
}

fn server(issuer: &Issuer<'static, KeyPair>, name: &str) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], secret)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Answers every request, and keeps what it was asked.
async fn serve(acceptor: TlsAcceptor) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let (mut head, mut bytes) = (Vec::new(), [0; 1_024]);
            while !head.ends_with(b"\r\n\r\n") {
                match socket.read(&mut bytes).await {
                    Ok(read @ 1..) => head.extend_from_slice(&bytes[..read]),
                    _ => break,
                }
            }
            heard.lock().unwrap().push(String::from_utf8(head).unwrap());
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nroots";
            let _ = socket.write_all(answer).await;
            let _ = socket.shutdown().await;
        }
    });
    (port, asked)
}

/// What the client says that believes these authorities; none for those of the system.
async fn ask(port: u16, authorities: Option<&Path>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "as_a_process", "--nocapture"]);
    command.env(ADDRESS, format!("https://localhost:{port}")).env_remove("SSL_CERT_DIR");
    match authorities {
        Some(file) => command.env("SSL_CERT_FILE", file),
        None => command.env_remove("SSL_CERT_FILE"),
    };
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, said) = text.split_once(SAID).unwrap_or_else(|| panic!("{text}"));
    said.lines().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_an_authority_vouches_for_is_the_registry() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let ((ours, issuer), (others, _)) = (authority(), authority());
    let (ours, others) = (file("ours.pem", &ours), file("others.pem", &others));

    let (port, asked) = serve(server(&issuer, "localhost")).await;
    for authorities in [None, Some(others.as_path())] {
        let said = ask(port, authorities).await;
        assert!(said.contains("certificate"), "{authorities:?}: {said}");
    }
    assert!(asked.lock().unwrap().is_empty(), "a stranger heard something");
    assert_eq!(ask(port, Some(&ours)).await, "roots");
    let heard = asked.lock().unwrap().join("\n");
    assert!(heard.starts_with("GET /v1/state/roots ") && heard.contains(TOKEN), "{heard}");

    // Vouched for, under another name.
    let (port, asked) = serve(server(&issuer, "registry.example")).await;
    let said = ask(port, Some(&ours)).await;
    assert!(said.contains("certificate"), "{said}");
    assert!(asked.lock().unwrap().is_empty());
}
