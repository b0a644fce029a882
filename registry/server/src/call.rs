//! A request, taken apart in one place: parameters, bounded bodies, strict JSON, idempotency.

use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::RequestExt;
use axum::body::{Body, BodyDataStream};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequest, Query, RawPathParams, Request};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use mpkg_manifest::json;
use mpkg_package::Hash;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::auth::Caller;
use crate::change::{Begun, Change, Once, answer};
use crate::failure::{Failure, Refusal};
use crate::registry::Registry;
use crate::routes::Kind;

/// What a handler gives.
pub(crate) type Answer = Result<Response, Failure>;

/// Bytes of an ordinary body.
pub(crate) const BODY: usize = 64 << 10;
/// Longest idempotency key.
const KEY: usize = 128;

pub(crate) struct Call {
    pub(crate) caller: Caller,
    pub(crate) headers: HeaderMap,
    kind: Kind,
    method: Method,
    uri: Uri,
    params: Vec<(String, String)>,
    /// Bodies cannot be shared, and calls are while something is awaited.
    body: Mutex<Option<Body>>,
    registry: Arc<Registry>,
}

impl FromRequest<Arc<Registry>> for Call {
    type Rejection = Failure;

    async fn from_request(mut request: Request, registry: &Arc<Registry>) -> Result<Self, Failure> {
        let caller = request.extensions_mut().remove().unwrap_or_else(|| Caller::registry("anyone"));
        let kind = request.extensions_mut().remove().unwrap_or(Kind::Change);
        let params: RawPathParams =
            request.extract_parts().await.map_err(|error: RawPathParamsRejection| Refusal::Parameter {
                name: "the path".into(),
                reason: error.to_string(),
            })?;
        let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (parts, body) = request.into_parts();
        Ok(Self {
            caller,
            params,
            headers: parts.headers,
            kind,
            method: parts.method,
            uri: parts.uri,
            body: Mutex::new(Some(body)),
            registry: Arc::clone(registry),
        })
    }
}

/// The token, if the request has one.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// The idempotency key, if it is of the right form.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("idempotency-key").iter();
    let key = values.next()?.to_str().ok()?;
    let fits = (1..=KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    (fits && values.next().is_none()).then_some(key)
}

impl Call {
    /// A part of the path.
    pub(crate) fn param<T: FromStr>(&self, name: &str) -> Result<T, Failure>
    where
        T::Err: std::fmt::Display,
    {
        let value = self.params.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let refuse = |reason: String| Failure::from(Refusal::Parameter { name: name.to_owned(), reason });
        value.unwrap_or_default().parse().map_err(|error: T::Err| refuse(error.to_string()))
    }

    /// Whether it gets something, rather than asking what there would be.
    pub(crate) fn is_get(&self) -> bool {
        self.method == Method::GET
    }

    /// The query.
    pub(crate) fn query<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let query = Query::try_from_uri(&self.uri)
            .map_err(|error| Refusal::Parameter { name: "the query".into(), reason: error.body_text() })?;
        Ok(query.0)
    }

    /// The whole body, if it has no more than so many bytes.
    pub(crate) async fn bytes(&mut self, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut chunks = self.chunks(limit)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The body, chunk by chunk.
    pub(crate) fn chunks(&mut self, limit: usize) -> Result<Chunks, Failure> {
        // What announces too much is refused before it is sent.
        let announced =
            self.headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(Refusal::TooLarge { limit }.into());
        }
        let stream = self
            .body
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or_default()
            .into_data_stream();
        Ok(Chunks { stream, limit, left: limit, idle: self.registry.config.idle })
    }

    /// The body as JSON, and the hash of its bytes.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<(T, Hash), Failure> {
        let bytes = self.bytes(BODY).await?;
        let value = json::read(&bytes, json::Limits::bytes(BODY));
        let value = value.map_err(|error| Refusal::Body(error.to_string()))?;
        Ok((value, Hash::of(&bytes)))
    }

    /// Begins the change that the request asks for.
    pub(crate) async fn begin<'a>(&self, registry: &'a Registry, body: Hash) -> Result<Begun<'a>, Failure> {
        let key = idempotency_key(&self.headers).ok_or(Refusal::NoKey)?;
        let path = self.uri.path_and_query().map_or("", |path| path.as_str());
        let request = Hash::of(format!("{} {path}\n{body}", self.method).as_bytes());
        Change::asked(registry, self.caller.clone(), self.kind, Once { key: key.to_owned(), request }).await
    }

    /// Refuses when something is not at the version that was seen. `*` is no version.
    pub(crate) fn expect(&self, current: &str) -> Result<(), Failure> {
        let seen = self
            .headers
            .get(header::IF_MATCH)
            .and_then(|value| value.to_str().ok())
            .ok_or(Refusal::NoMatch)?;
        if seen == current { Ok(()) } else { Err(Refusal::Stale { current: current.to_owned() }.into()) }
    }
}

/// A body in parts, with a bound on length and on pauses.
pub(crate) struct Chunks {
    stream: BodyDataStream,
    limit: usize,
    left: usize,
    idle: std::time::Duration,
}

impl Chunks {
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let next = tokio::time::timeout(self.idle, self.stream.next()).await;
        let Some(chunk) = next.map_err(|_| Refusal::TooSlow { seconds: self.idle.as_secs() })? else {
            return Ok(None);
        };
        let chunk = chunk.map_err(|error| Refusal::Body(error.to_string()))?;
        self.left = self.left.checked_sub(chunk.len()).ok_or(Refusal::TooLarge { limit: self.limit })?;
        Ok(Some(chunk))
    }
}

/// JSON.
pub(crate) fn ok(body: &impl Serialize) -> Answer {
    let body = serde_json::to_string(body).map_err(|error| Failure::internal(&error))?;
    Ok(answer(StatusCode::OK, None, body))
}

/// JSON with a version.
pub(crate) fn ok_at(etag: &str, body: &impl Serialize) -> Answer {
    let body = serde_json::to_string(body).map_err(|error| Failure::internal(&error))?;
    Ok(answer(StatusCode::OK, Some(etag), body))
}
