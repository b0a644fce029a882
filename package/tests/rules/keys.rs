//! Keys that break one rule each.

use mpkg_package::{PublicKey, SecretKey, limits};

use crate::support::key;
use crate::{Case, refused};

/// The example key of RFC 8410, section 10.3.
const RFC_SECRET: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
const RFC_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";
/// The same key, encrypted by OpenSSL 3 with the passphrase `correct`.
const SCRYPT: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGTME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAhY1F5kalGqGAICBAAC
AQgCAQEwHQYJYIZIAWUDBAEqBBA4cGAYSqVA2SJxVJ9EXhhsBEBthyBrhS7FYD6+
vcZP/wuAvQ45Js3bg/tkEEFjLZQF8SHejDO8S2olsO2DbIUugD8IyIO9z+fSzQYT
k00Q+FAO
-----END ENCRYPTED PRIVATE KEY-----
";
const PBKDF2: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjMLgKGqoj+SAICA+gw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEDjcFt33vC+1bwXoSr3f9GMEQO/i
SmoyQj/R7Z6CORmE8+LIPIhDm7KNRqbZUNF8m/MlLwY7Qca9hpHo2gPXKP3HLL8F
InFAJOkt1tYx2FOVMdY=
-----END ENCRYPTED PRIVATE KEY-----
";
const PBES1: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MFgwHAYKKoZIhvcNAQwBAzAOBAipgKdhF22K+gICCAAEOHmYRlpQTfh9qpfMnRwM
o/1Z47bSo6crz0/RT/oG9n6Dr4inevHRKq35xmu1BEhPdO8TyPvQzeAy
-----END ENCRYPTED PRIVATE KEY-----
";
/// An X25519 key: the same shape, another algorithm.
const X25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VuAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";
const X25519_SECRET: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VuBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";

/// A secret key with a public half that is another key's.
fn mismatch() -> String {
    let mut der =
        vec![0x30, 0x51, 0x02, 0x01, 0x01, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    der.extend([7; 32]);
    der.extend([0x81, 0x21, 0x00]);
    der.extend(SecretKey::from_seed(&[8; 32]).public().to_bytes());
    pem("PRIVATE KEY", &der)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A point of order 8 added to an honest key: case 3 of speccheck.
const TORSION: &str = "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43";

fn bytes(hex: &str) -> [u8; 32] {
    data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
}

/// OpenSSL's scrypt key with these bytes of its DER replaced.
fn scrypt_with(from: &[u8], to: &[u8]) -> String {
    let body: String = SCRYPT.lines().filter(|line| !line.starts_with("-----")).collect();
    let mut der = data_encoding::BASE64.decode(body.as_bytes()).unwrap();
    let at = der.windows(from.len()).position(|window| window == from).unwrap();
    der[at..at + from.len()].copy_from_slice(to);
    pem("ENCRYPTED PRIVATE KEY", &der)
}

pub(crate) fn cases() -> Vec<Case> {
    let ours = SecretKey::from_pem(RFC_SECRET).unwrap().to_encrypted_pem(b"correct").unwrap();
    for pem in [SCRYPT, PBKDF2, &ours] {
        assert_eq!(SecretKey::from_encrypted_pem(pem, b"correct").unwrap().to_pem().as_str(), RFC_SECRET);
    }
    let open = |pem: &str| refused!(SecretKey::from_encrypted_pem(pem, b"correct"));
    let rfc = SecretKey::from_pem(RFC_SECRET).unwrap();
    assert_eq!(rfc.to_pem().as_str(), RFC_SECRET);
    assert_eq!(rfc.public().to_pem(), RFC_PUBLIC);
    assert_eq!(PublicKey::from_pem(RFC_PUBLIC).unwrap(), rfc.public());
    assert!(!format!("{rfc:?}").contains("1NRy"), "Debug must not show the secret");

    let secret = |text: &str| refused!(SecretKey::from_pem(text));
    let public = |text: &str| refused!(PublicKey::from_pem(text));
    let raw = |bytes: &[u8; 32]| refused!(PublicKey::from_bytes(bytes));
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut beyond_the_field = [0xFF; 32]; // p + 3, a second encoding of y = 3 if it were reduced
    (beyond_the_field[0], beyond_the_field[31]) = (0xF0, 0x7F);
    let long = "-----BEGIN PRIVATE KEY-----\n".to_owned() + &"A".repeat(limits::KEY_FILE);

    vec![
        ("MPKG-K01", "nothing", secret("")),
        ("MPKG-K01", "a word", public("key")),
        ("MPKG-K02", "a public key to sign with", secret(RFC_PUBLIC)),
        ("MPKG-K02", "a secret key to trust", public(RFC_SECRET)),
        ("MPKG-K02", "a certificate", public(&RFC_PUBLIC.replace("PUBLIC KEY", "CERTIFICATE"))),
        ("MPKG-K03", "encrypted", secret(SCRYPT)),
        ("MPKG-K02", "not encrypted", open(RFC_SECRET)),
        ("MPKG-K04", "encrypted and cut off", open(&SCRYPT[..90])),
        (
            "MPKG-K04",
            "encrypted with another kind of bytes",
            open(&RFC_SECRET.replace("PRIVATE", "ENCRYPTED PRIVATE")),
        ),
        ("MPKG-K04", "cut off", secret(&RFC_SECRET[..60])),
        ("MPKG-K04", "another character", secret(&RFC_SECRET.replace("MC4C", "MC4*"))),
        ("MPKG-K04", "another length", public(&pem("PUBLIC KEY", &[0x30, 0x01, 0x00]))),
        ("MPKG-K05", "X25519", public(X25519)),
        ("MPKG-K05", "X25519, secret", secret(X25519_SECRET)),
        ("MPKG-K06", "another's public half", secret(&mismatch())),
        ("MPKG-K07", "no point", raw(&[0xFF; 32])),
        ("MPKG-K07", "a second encoding", raw(&beyond_the_field)),
        ("MPKG-K08", "the identity", raw(&identity)),
        ("MPKG-K08", "order 4", raw(&[0; 32])),
        ("MPKG-K09", "mixed order", raw(&bytes(TORSION))),
        ("MPKG-K10", "too long", secret(&long)),
        ("MPKG-K11", "no randomness", refused!(SecretKey::generate_with(|_| Err("none")))),
        ("MPKG-K12", "another passphrase", refused!(SecretKey::from_encrypted_pem(SCRYPT, b"Correct"))),
        ("MPKG-K12", "no passphrase", refused!(SecretKey::from_encrypted_pem(PBKDF2, b""))),
        ("MPKG-K13", "a cost that is no power of two", open(&scrypt_with(&[2, 2, 4, 0], &[2, 2, 4, 1]))),
        ("MPKG-K13", "no cost", open(&scrypt_with(&[2, 2, 4, 0, 2, 1, 8], &[2, 1, 0, 2, 2, 0, 128]))),
        ("MPKG-K13", "too much memory", {
            open(&scrypt_with(&[2, 2, 4, 0, 2, 1, 8], &[2, 2, 64, 0, 2, 1, 127]))
        }),
        ("MPKG-K13", "too much time", {
            open(&scrypt_with(&[2, 2, 4, 0, 2, 1, 8, 2, 1, 1], &[2, 2, 64, 0, 2, 1, 16, 2, 1, 127]))
        }),
        ("MPKG-K13", "PBES1", open(PBES1)),
        ("MPKG-K14", "an empty passphrase", refused!(key().to_encrypted_pem(b""))),
        (
            "MPKG-K02",
            "a secret key to trust, as a file",
            refused!(mpkg_package::Trust::parse(key().to_pem().as_bytes())),
        ),
    ]
}
