//! Packages by digest, as hosts fetch them: gap-free, compressed or as a patch, with ranges, the same for ever.

use std::io::SeekFrom;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use mpkg_package::Hash;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{ALL, Route, releases::may_see};
use crate::call::{Answer, Call};
use crate::encoding::accepts_zstd;
use crate::failure::{Failure, Refusal};
use crate::made::{Outcome, Ready};
use crate::range::{Wanted, wanted};
use crate::registry::Registry;
use crate::store::{Made, ReleaseRow, releases};

const PACKAGE: &str = "application/vnd.mpkg";
const DELTA: &str = "application/vnd.mpkg.delta";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/packages/{sha256}", ALL, package)
            .says("A package without its signing block, in Zstandard for who accepts it. Yanked ones are still there.")
            .media(PACKAGE),
        Route::get("/v1/packages/{sha256}/delta/{from}", ALL, delta)
            .says("The patch that makes the package from another one of its app, as of `zstd --patch-from`.")
            .media(DELTA),
        Route::get("/v1/packages/{sha256}/signature", ALL, signature)
            .says("The detached signature of a package.")
            .media("application/octet-stream"),
    ]
}

/// The package that a part of the path names.
async fn find(registry: &Registry, call: &Call, name: &str) -> Result<(Hash, ReleaseRow), Failure> {
    let text: String = call.param(name)?;
    let hash = Hash::from_hex(&text).ok_or_else(|| Refusal::Parameter {
        name: name.to_owned(),
        reason: "expected 64 lower-case hexadecimal digits".into(),
    })?;
    let mut db = registry.store.read.acquire().await?;
    let found = releases::by_digest(&mut db, hash).await?;
    let row = found.into_iter().find(|row| may_see(&call.caller, row));
    row.map(|row| (hash, row))
        .ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "MPKG-P35", "there is no such package".into()))
}

/// One form of something, in a file.
struct Form {
    file: tokio::fs::File,
    size: u64,
    /// Of this form and no other: a range of one is no use to who has a part of another.
    etag: String,
    media: &'static str,
    encoding: Option<&'static str>,
}

fn describe(headers: &mut HeaderMap, etag: &str) {
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, etag);
    }
    // Private: a token opened it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    headers.insert(header::VARY, HeaderValue::from_static("authorization, accept-encoding"));
}

fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let given = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(',').map(str::trim).any(|it| it == "*" || it.strip_prefix("W/").unwrap_or(it) == etag)
}

/// Sends a form, or the range of it that is asked for.
async fn send(call: &Call, mut form: Form) -> Answer {
    let Form { size, etag, .. } = &form;
    if is_known(&call.headers, etag) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        describe(response.headers_mut(), etag);
        return Ok(response);
    }
    let text = |name| call.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // A range of something else is no use, and only what is got has ranges.
    let ranges = call.is_get() && text(header::IF_RANGE).is_none_or(|it| it == etag);
    let (status, from, length) = match wanted(text(header::RANGE).filter(|_| ranges), *size) {
        Wanted::All => (StatusCode::OK, 0, *size),
        Wanted::Part { from, length } => (StatusCode::PARTIAL_CONTENT, from, length),
        Wanted::Outside => {
            let (name, reason) = ("Range".into(), format!("there are {size} bytes"));
            let mut failure = Failure::from(Refusal::Parameter { name, reason });
            failure.status = StatusCode::RANGE_NOT_SATISFIABLE.as_u16();
            return Ok(([(header::CONTENT_RANGE, format!("bytes */{size}"))], failure).into_response());
        }
    };
    form.file.seek(SeekFrom::Start(from)).await?;
    let body = Body::from_stream(ReaderStream::with_capacity(form.file.take(length), 64 << 10));
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    describe(headers, &form.etag);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.media));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(encoding) = form.encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::from_str(&format!("bytes {from}-{}/{}", from + length - 1, form.size))
    {
        headers.insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

async fn package(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let (hash, row) = find(&registry, &call, "sha256").await?;
    let compressed = if accepts_zstd(&call.headers) {
        // What cannot be made is sent as it is.
        let made = registry.made(Made::Compressed(hash)).await;
        made.inspect_err(|error| tracing::warn!(%error, %hash, "no compressed form")).ok()
    } else {
        None
    };
    let form = match compressed {
        Some(Outcome::Ready(Ready { file, size, mark })) => {
            Form { file, size, etag: format!("\"{hash}-{mark:x}\""), media: PACKAGE, encoding: Some("zstd") }
        }
        _ => Form {
            file: tokio::fs::File::open(registry.store.blobs.path(hash)).await?,
            size: row.release.package.size,
            etag: format!("\"{hash}\""),
            media: PACKAGE,
            encoding: None,
        },
    };
    send(&call, form).await
}

async fn delta(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let (to, row) = find(&registry, &call, "sha256").await?;
    let (from, before) = find(&registry, &call, "from").await?;
    // Patches between apps would have no end.
    if before.app != row.app {
        return Err(Refusal::NoDelta { from }.into());
    }
    let (old, new) = (before.release.release_seq, row.release.release_seq);
    match registry.delta(&row.app, (old, from), (new, to)).await? {
        Outcome::Ready(Ready { file, size, mark }) => {
            let etag = format!("\"{to}-{from}-{mark:x}\"");
            send(&call, Form { file, size, etag, media: DELTA, encoding: None }).await
        }
        Outcome::OfNoUse => Err(Refusal::NoDelta { from }.into()),
        Outcome::Later => Err(Refusal::Making.into()),
    }
}

async fn signature(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let (_, row) = find(&registry, &call, "sha256").await?;
    let content = [(header::CONTENT_TYPE, "application/octet-stream")];
    let mut response = (content, row.signature.clone()).into_response();
    describe(response.headers_mut(), &format!("\"{}\"", Hash::of(&row.signature)));
    Ok(response)
}
