//! Packages by digest, as hosts fetch them: gap-free, with ranges, the same for ever.

use std::io::SeekFrom;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mpkg_package::Hash;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{ALL, Route, releases::may_see};
use crate::call::{Answer, Call};
use crate::failure::{Failure, Refusal};
use crate::range::{Wanted, wanted};
use crate::registry::Registry;
use crate::store::{ReleaseRow, releases};

pub(super) fn routes() -> Vec<Route> {
    let media = "application/vnd.mpkg";
    vec![
        Route::get("/v1/packages/{sha256}", ALL, package)
            .says("A package without its signing block. Yanked ones are still there.")
            .media(media),
        Route::get("/v1/packages/{sha256}/signature", ALL, signature)
            .says("The detached signature of a package.")
            .media("application/octet-stream"),
    ]
}

async fn find(registry: &Registry, call: &Call) -> Result<(Hash, ReleaseRow), Failure> {
    let text: String = call.param("sha256")?;
    let hash = Hash::from_hex(&text).ok_or_else(|| Refusal::Parameter {
        name: "sha256".into(),
        reason: "expected 64 lower-case hexadecimal digits".into(),
    })?;
    let mut db = registry.store.read.acquire().await?;
    let found = releases::by_digest(&mut db, hash).await?;
    let row = found.into_iter().find(|row| may_see(&call.caller, row));
    row.map(|row| (hash, row))
        .ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "MPKG-P35", "there is no such package".into()))
}

fn immutable(response: &mut Response, etag: &str) {
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, etag);
    }
    // Private: a token opened it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    headers.insert(header::VARY, HeaderValue::from_static("authorization"));
}

fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let given = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(',').map(str::trim).any(|it| it == "*" || it.strip_prefix("W/").unwrap_or(it) == etag)
}

async fn package(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let (hash, row) = find(&registry, &call).await?;
    let (etag, size) = (format!("\"{hash}\""), row.release.package.size);
    if is_known(&call.headers, &etag) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        immutable(&mut response, &etag);
        return Ok(response);
    }
    let text = |name| call.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // A range of something else is no use.
    let same = text(header::IF_RANGE).is_none_or(|it| it == etag);
    let (status, from, length) = match wanted(text(header::RANGE).filter(|_| same), size) {
        Wanted::All => (StatusCode::OK, 0, size),
        Wanted::Part { from, length } => (StatusCode::PARTIAL_CONTENT, from, length),
        Wanted::Outside => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range).into_response());
        }
    };
    let mut file = tokio::fs::File::open(registry.store.blobs.path(hash)).await?;
    file.seek(SeekFrom::Start(from)).await?;
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(length), 64 << 10));
    let mut response = (status, body).into_response();
    immutable(&mut response, &etag);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.mpkg"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::from_str(&format!("bytes {from}-{}/{size}", from + length - 1))
    {
        headers.insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

async fn signature(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let (_, row) = find(&registry, &call).await?;
    let content = [(header::CONTENT_TYPE, "application/octet-stream")];
    let mut response = (content, row.signature.clone()).into_response();
    immutable(&mut response, &format!("\"{}\"", Hash::of(&row.signature)));
    Ok(response)
}
