//! Who sent it: HMAC-SHA256, in the form of the Standard Webhooks specification.
//!
//! Signed is `<id>.<timestamp>.<body>`, so that neither the id that replays are told by nor the time can be changed.
//! A signature reads `v1,<base64>`; a sender that is changing its secret sends two, with a space between.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Senders show their secrets with this in front.
const SECRET_PREFIX: &str = "whsec_";
/// A guessable secret is none. The specification asks for 24 to 64 bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// More signatures than a rotation needs are an attempt to make us compute.
const MAX_SIGNATURES: usize = 4;

/// Reads a secret as its sender shows it.
pub(crate) fn read_secret(text: &str) -> Result<Vec<u8>, String> {
    let base64 = text.strip_prefix(SECRET_PREFIX).unwrap_or(text);
    let secret = BASE64.decode(base64.as_bytes()).map_err(|_| "must be base64".to_owned())?;
    if SECRET_BYTES.contains(&secret.len()) {
        Ok(secret)
    } else {
        Err(format!("must be {} to {} bytes long", SECRET_BYTES.start(), SECRET_BYTES.end()))
    }
}

/// Whether one of `signatures` was made with one of `secrets`. Compares in constant time.
pub(crate) fn is_genuine(
    secrets: &[Vec<u8>],
    signatures: &str,
    id: &str,
    timestamp: i64,
    body: &str,
) -> bool {
    let signatures = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
    signatures.take(MAX_SIGNATURES).filter_map(|signature| BASE64.decode(signature.as_bytes()).ok()).any(
        |signature| {
            secrets.iter().any(|secret| {
                let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
                mac.update(format!("{id}.{timestamp}.").as_bytes());
                mac.update(body.as_bytes());
                mac.verify_slice(&signature).is_ok()
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn agrees_with_the_published_example() {
        let secret = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, timestamp) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330);
        let body = r#"{"test": 2432232314}"#;
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let secrets = [secret];
        assert!(is_genuine(&secrets, signature, id, timestamp, body));
        assert!(is_genuine(&secrets, &format!("v1,AAAA v2,x {signature}"), id, timestamp, body));
        assert!(!is_genuine(&secrets, signature, "msg_other", timestamp, body));
        assert!(!is_genuine(&secrets, signature, id, timestamp + 1, body));
        assert!(!is_genuine(&secrets, signature, id, timestamp, &body.replace("24", "25")));
        assert!(!is_genuine(&secrets, "", id, timestamp, body));
        assert!(!is_genuine(&secrets, &signature.replace("v1", "v1a"), id, timestamp, body));
        assert!(!is_genuine(&[], signature, id, timestamp, body));
        let many = format!("{}{signature}", "v1,AAAA ".repeat(MAX_SIGNATURES));
        assert!(!is_genuine(&secrets, &many, id, timestamp, body));
    }

    #[test]
    fn weak_secrets_are_refused() {
        assert!(read_secret("whsec_c2hvcnQ=").unwrap_err().contains("24 to 64"));
        assert!(read_secret("whsec_?").unwrap_err().contains("base64"));
    }
}
