//! What becomes of a request: an answer to a browser's question, a WebSocket, or an answer to what a page posted.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use jsonrpsee::server::{http::content_type_is_json, ws::is_upgrade_request};
use soketto::handshake::http::Server;
use tokio_util::sync::DropGuard;

use super::Inner;
use super::admit::{Reply, admit, allow, preflight, refusal};
use super::calls::{Answer, Calls};
use super::connection::Visitor;
use super::incoming::Message;

/// A body comes within this time.
const BODY: Duration = Duration::from_secs(10);

pub(super) async fn answer(gateway: &Inner, visitor: &Visitor, request: Request<Incoming>) -> Reply {
    let (behind, calls) = match admit(gateway, &request) {
        Ok(admitted) => admitted,
        Err(refused) => return refusal(refused),
    };
    // Admitted, it is the door's own.
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut reply = match visitor.enter(gateway, behind, &calls) {
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
        post(visitor, &calls, request).await
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

async fn post(visitor: &Visitor, calls: &Calls, request: Request<Incoming>) -> Reply {
    if !content_type_is_json(&request) {
        return refusal((StatusCode::UNSUPPORTED_MEDIA_TYPE, "The content type is `application/json`."));
    }
    let limit = calls.longest();
    if request.body().size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return too_long(visitor, calls);
    }
    let body = Limited::new(request.into_body(), limit);
    let message = match tokio::time::timeout(BODY, read(calls, body)).await {
        Ok(Ok(message)) => message,
        Ok(Err(Unread::TooLong)) => return too_long(visitor, calls),
        Ok(Err(Unread::NoRoom)) => return unread(visitor, StatusCode::SERVICE_UNAVAILABLE, calls.no_room()),
        Ok(Err(Unread::Broken)) => {
            return refusal((StatusCode::BAD_REQUEST, "The body did not come whole."));
        }
        Err(_late) => return refusal((StatusCode::REQUEST_TIMEOUT, "The body did not come in time.")),
    };
    match calls.answer(message).await {
        Some(answer) => json(visitor, answer),
        None => {
            let mut reply = Reply::default();
            *reply.status_mut() = StatusCode::NO_CONTENT;
            reply
        }
    }
}

/// Why a body is no message.
enum Unread {
    TooLong,
    NoRoom,
    Broken,
}

/// Reads a body, charged as it comes.
async fn read(calls: &Calls, mut body: Limited<Incoming>) -> Result<Message, Unread> {
    let mut bytes = Vec::new();
    let mut hold = calls.hold(0).ok_or(Unread::NoRoom)?;
    while let Some(frame) = body.frame().await {
        let is_long = |error: Box<dyn Error + Send + Sync>| error.is::<LengthLimitError>();
        let frame = frame.map_err(|e| if is_long(e) { Unread::TooLong } else { Unread::Broken })?;
        if let Ok(data) = frame.into_data() {
            if !hold.resize(bytes.len() + data.len()) {
                return Err(Unread::NoRoom);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(Message { bytes, hold })
}

/// An answer until the last of it is written: charged, and with a time to be taken in.
struct Sending {
    answer: Answer,
    _sent: DropGuard,
}

impl AsRef<[u8]> for Sending {
    fn as_ref(&self) -> &[u8] {
        self.answer.text().as_bytes()
    }
}

fn json(visitor: &Visitor, answer: Answer) -> Reply {
    let sending = Sending { answer, _sent: visitor.sends() };
    let mut reply = Response::new(Full::new(Bytes::from_owner(sending)));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn too_long(visitor: &Visitor, calls: &Calls) -> Reply {
    unread(visitor, StatusCode::PAYLOAD_TOO_LARGE, calls.too_long())
}

/// Answers a message whose end is not read.
fn unread(visitor: &Visitor, status: StatusCode, answer: Answer) -> Reply {
    let mut reply = json(visitor, answer);
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    reply
}
