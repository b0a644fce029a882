//! One request: its headers, bounds and repetition.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE32_NOPAD;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Response, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::ClientError;

/// Bytes of an ordinary answer.
pub(crate) const ANSWER: usize = 8 << 20;
/// How often a request that was not answered is made again.
const TRIES: u32 = 3;

/// A registry.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    authorization: Option<HeaderValue>,
}

/// Something with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// It.
    pub value: T,
    /// Its ETag, to change it.
    pub etag: String,
}

/// Text that no other request has. A change that is sent again under its key is made once.
fn random() -> String {
    let mut bytes = [0_u8; 20];
    // Without randomness the key is a constant, which the registry refuses from the second change on.
    let _ = getrandom::fill(&mut bytes);
    BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
}

fn bearer(token: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

pub(crate) enum Body {
    None,
    Json(Value),
    Bytes(Bytes),
}

impl Client {
    /// A registry at this address, such as `https://registry.example`. With a token, it is sent there and nowhere else:
    /// redirects are not followed.
    pub fn new(address: &str, token: Option<&str>) -> Result<Self, ClientError> {
        let bad = |reason: String| ClientError::Address { address: address.to_owned(), reason };
        let mut base = Url::parse(address).map_err(|error| bad(error.to_string()))?;
        let local = matches!(base.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        match base.scheme() {
            "https" => {}
            // A token in clear text belongs to whoever listens.
            "http" if local => {}
            "http" => return Err(bad("only https reaches another machine".into())),
            _ => return Err(bad("expected https".into())),
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let authorization = token.map(bearer).transpose()?;
        // Whoever was first wins: any provider will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_secs(60))
            .build()?;
        Ok(Self { http, base, authorization })
    }

    /// The same registry with another token. Both share their connections.
    pub fn with_token(&self, token: &str) -> Result<Self, ClientError> {
        Ok(Self { authorization: Some(bearer(token)?), ..self.clone() })
    }

    /// The address of a route. Segments are escaped, so that none of them becomes two.
    pub(crate) fn url(&self, segments: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    pub(crate) fn request(&self, method: Method, url: Url) -> reqwest::RequestBuilder {
        let request = self.http.request(method, url);
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    /// Sends, again where nothing came back. That is safe for what only reads, and for changes by their key.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: Url,
        etag: Option<&str>,
        body: Body,
    ) -> Result<Response, ClientError> {
        let key = random();
        let mut tries = 0;
        loop {
            tries += 1;
            let mut request = self.request(method.clone(), url.clone());
            if method != Method::GET {
                request = request.header("idempotency-key", &key);
            }
            if let Some(etag) = etag {
                request = request.header("if-match", etag);
            }
            request = match &body {
                Body::None => request,
                Body::Json(value) => {
                    request.header("content-type", "application/json").body(value.to_string())
                }
                Body::Bytes(bytes) => request.body(bytes.clone()),
            };
            let error = match request.send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => refusal(response).await,
                Err(error) => error.into(),
            };
            if tries >= TRIES || !error.is_passing() {
                return Err(error);
            }
            tokio::time::sleep(crate::Backoff::default().wait(tries)).await;
        }
    }

    /// Reads JSON.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ClientError> {
        json(self.send(Method::GET, self.url(segments, query), None, Body::None).await?).await
    }

    /// Reads bytes, at most so many.
    pub(crate) async fn read(&self, segments: &[&str], limit: usize) -> Result<Vec<u8>, ClientError> {
        bytes(self.send(Method::GET, self.url(segments, &[]), None, Body::None).await?, limit).await
    }

    /// Changes something.
    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        segments: &[&str],
        etag: Option<&str>,
        body: Body,
    ) -> Result<Versioned<T>, ClientError> {
        versioned(self.send(method, self.url(segments, &[]), etag, body).await?).await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// A body that may be no longer than this, whatever it announces.
pub(crate) async fn bytes(mut response: Response, limit: usize) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > limit {
            return Err(ClientError::TooLarge { limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn json<T: DeserializeOwned>(response: Response) -> Result<T, ClientError> {
    let bytes = bytes(response, ANSWER).await?;
    serde_json::from_slice(&bytes).map_err(|error| ClientError::Answer(error.to_string()))
}

pub(crate) async fn versioned<T: DeserializeOwned>(response: Response) -> Result<Versioned<T>, ClientError> {
    let etag =
        response.headers().get("etag").and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
    Ok(Versioned { value: json(response).await?, etag })
}

pub(crate) async fn refusal(response: Response) -> ClientError {
    #[derive(serde::Deserialize)]
    struct Envelope {
        error: Detail,
    }
    #[derive(serde::Deserialize)]
    struct Detail {
        code: String,
        message: String,
        hint: String,
    }
    let status = response.status().as_u16();
    match json::<Envelope>(response).await {
        Ok(Envelope { error: Detail { code, message, hint } }) => {
            ClientError::Refused { status, code, message, hint }
        }
        // A proxy whose registry is away for a moment says so in its own words.
        Err(ClientError::Answer(_)) if matches!(status, 502..=504) => ClientError::Away { status },
        Err(ClientError::Answer(_)) => ClientError::Answer(format!("status {status} without a reason")),
        Err(error) => error,
    }
}
