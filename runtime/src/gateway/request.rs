//! What becomes of a request: an answer to a browser's question, a WebSocket, or an answer to what a page posted.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use jsonrpsee::server::{http::content_type_is_json, ws::is_upgrade_request};
use soketto::handshake::http::Server;

use super::Inner;
use super::admit::{Reply, admit, allow, preflight, refusal};
use super::calls::{Answer, Calls};
use super::connection::Visitor;

/// A body comes within this time.
const BODY: Duration = Duration::from_secs(10);

pub(super) async fn answer(gateway: &Inner, visitor: &Visitor, request: Request<Incoming>) -> Reply {
    let (behind, calls) = match admit(gateway, &request) {
        Ok(admitted) => admitted,
        Err(refused) => return refusal(refused),
    };
    // Admitted, it is the door's own.
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut reply = match visitor.enter(gateway, behind) {
        Ok(()) => serve(visitor, calls, request).await,
        Err(refused) => refusal(refused),
    };
    if let Some(origin) = origin {
        allow(&mut reply, origin);
    }
    reply
}

async fn serve(visitor: &Visitor, calls: Calls, request: Request<Incoming>) -> Reply {
    let method = request.method().clone();
    if method == Method::OPTIONS {
        preflight(request.headers())
    } else if method == Method::GET && is_upgrade_request(&request) {
        upgrade(visitor, calls, request)
    } else if method == Method::POST {
        post(&calls, request).await
    } else {
        refusal((StatusCode::METHOD_NOT_ALLOWED, "Pages post their requests, or open a WebSocket."))
    }
}

fn upgrade(visitor: &Visitor, calls: Calls, mut request: Request<Incoming>) -> Reply {
    match Server::new().receive_request(&request) {
        Ok(accepted) => {
            visitor.upgrade(hyper::upgrade::on(&mut request), calls);
            accepted.map(|()| Full::default())
        }
        Err(error) => {
            tracing::debug!(%error, "no WebSocket was opened");
            refusal((StatusCode::BAD_REQUEST, "This is no handshake of a WebSocket."))
        }
    }
}

async fn post(calls: &Calls, request: Request<Incoming>) -> Reply {
    if !content_type_is_json(&request) {
        return refusal((StatusCode::UNSUPPORTED_MEDIA_TYPE, "The content type is `application/json`."));
    }
    let limit = calls.longest();
    if request.body().size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return too_long(calls);
    }
    let body = Limited::new(request.into_body(), limit).collect();
    let body = match tokio::time::timeout(BODY, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return too_long(calls),
        Ok(Err(_broken)) => return refusal((StatusCode::BAD_REQUEST, "The body did not come whole.")),
        Err(_late) => return refusal((StatusCode::REQUEST_TIMEOUT, "The body did not come in time.")),
    };
    match calls.answer(&body).await {
        Some(answer) => json(answer),
        None => {
            let mut reply = Reply::default();
            *reply.status_mut() = StatusCode::NO_CONTENT;
            reply
        }
    }
}

/// The answer is charged until the last of it is written: these bytes are its own, and go with it.
fn json(answer: Answer) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from_owner(answer)));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn too_long(calls: &Calls) -> Reply {
    let mut reply = json(calls.too_long());
    *reply.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    // What is left of the body is not read.
    reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    reply
}
