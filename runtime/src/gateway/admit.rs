//! Who gets in: to this address, with the token of an instance, from the origin of its page.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};

use super::calls::Calls;
use super::{Behind, Inner};

pub(super) type Reply = Response<Full<Bytes>>;

/// The status, and why.
pub(super) type Refused = (StatusCode, &'static str);

/// How long a browser may remember what it was allowed, in seconds.
const REMEMBERED: &str = "600";
/// A browser asks before it lets a page of the internet reach this device.
const ASKS_FOR_DEVICE: &str = "access-control-request-private-network";
const ALLOWS_DEVICE: &str = "access-control-allow-private-network";

/// The instance that a request is for, if it has the right to it.
pub(super) fn admit<B>(gateway: &Inner, request: &Request<B>) -> Result<(Arc<Behind>, Calls), Refused> {
    if !is_for(gateway.address, request) {
        return Err((StatusCode::MISDIRECTED_REQUEST, "The request is not for this address."));
    }
    let unknown = (StatusCode::UNAUTHORIZED, "No instance has this token, or it has ended.");
    // Found by hash: how long that takes says nothing about how much of a guess was right.
    let behind = gateway.lock().get(token_of(request)).cloned().ok_or(unknown)?;
    // A page of another origin that got hold of an address must not use it: browsers always say where a WebSocket or
    // a posted request comes from. What is no browser has to show the token in a header.
    match request.headers().get(header::ORIGIN) {
        Some(origin) if *origin == behind.origin => {}
        None if bearer(request).is_some() => {}
        _ => return Err((StatusCode::FORBIDDEN, "The instance is not open to this origin.")),
    }
    if behind.closing.is_cancelled() {
        return Err(unknown);
    }
    let calls = Calls::new(&behind.app.upgrade().ok_or(unknown)?);
    Ok((behind, calls))
}

fn bearer<B>(request: &Request<B>) -> Option<&str> {
    request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn token_of<B>(request: &Request<B>) -> &str {
    bearer(request).unwrap_or_else(|| request.uri().path().trim_start_matches('/'))
}

/// Whether a request names this gateway as its host. One that came here by another name was sent by a page that had
/// the name lead here.
fn is_for<B>(address: SocketAddr, request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    host.to_str().is_ok_and(|host| is_ours(address, host))
        && request.uri().authority().is_none_or(|authority| is_ours(address, authority.as_str()))
}

fn is_ours(address: SocketAddr, host: &str) -> bool {
    let port = format!(":{}", address.port());
    let name = match host.strip_suffix(port.as_str()) {
        Some(name) => name,
        // The port of HTTP goes without saying.
        None if address.port() == 80 => host,
        None => return false,
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    name == ip || name.eq_ignore_ascii_case("localhost")
}

/// Has a browser hand the answer to the page: to the browser, every page is of another origin than the gateway.
pub(super) fn allow(reply: &mut Reply, origin: HeaderValue) {
    let headers = reply.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
}

/// Answers the question that a browser asks before it posts for a page. It comes without the page's headers, so the
/// token has to be in the path.
pub(super) fn preflight(asked: &HeaderMap) -> Reply {
    if asked.get(header::ACCESS_CONTROL_REQUEST_METHOD).is_none_or(|method| method != "POST") {
        return refusal((StatusCode::METHOD_NOT_ALLOWED, "Pages post their requests."));
    }
    let mut reply = Reply::default();
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let headers = reply.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    let allowed = HeaderValue::from_static("content-type, authorization");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED));
    if asked.get(ASKS_FOR_DEVICE).is_some_and(|asks| asks == "true") {
        headers.insert(ALLOWS_DEVICE, HeaderValue::from_static("true"));
    }
    reply
}

/// Says no, and closes the connection.
pub(super) fn refusal((status, why): Refused) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from_static(why.as_bytes())));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_names_are_a_gateways() {
        let four: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let six: SocketAddr = "[::1]:4000".parse().unwrap();
        for (address, host, ours) in [
            (four, "127.0.0.1:4000", true),
            (four, "localhost:4000", true),
            (four, "LocalHost:4000", true),
            (four, "127.0.0.1", false),
            (four, "127.0.0.1:40001", false),
            (four, "127.0.0.2:4000", false),
            (four, "evil.example:4000", false),
            (four, "localhost.evil.example:4000", false),
            (four, "user@127.0.0.1:4000", false),
            (four, "", false),
            (six, "[::1]:4000", true),
            (six, "::1:4000", false),
            ("127.0.0.1:80".parse().unwrap(), "127.0.0.1", true),
            ("127.0.0.1:80".parse().unwrap(), "localhost:80", true),
        ] {
            assert_eq!(is_ours(address, host), ours, "{host} for {address}");
        }
    }
}
