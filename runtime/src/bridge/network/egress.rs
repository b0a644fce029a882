//! What may be asked for: the rules over URLs, methods and headers. Pure; `docs/network.md` has them in a table.
//!
//! A URL is parsed once, with the parser of the [WHATWG standard](https://url.spec.whatwg.org), and everything that
//! follows (the check, the lookup, TLS, the `Host` header, the path) is taken from that one result: two parsers that
//! disagree about where the host ends are how allow lists are walked around.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Uri};
use mpkg_manifest::HostPattern;
use url::{Host, Position, Url};

use super::address::Special;
use super::policy::NetworkPolicy;

/// The longest URL, in bytes.
pub(super) const URL: usize = 8192;
/// The most headers of a request.
const HEADERS: usize = 64;
/// The longest headers of a request, names and values together, in bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// The most redirects one request follows.
pub(super) const REDIRECTS: usize = 5;

const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// Names under these are somebody's local network, or nobody's.
/// Sources: RFC 6761, RFC 6762, RFC 8375, RFC 7686, RFC 9476, ICANN's resolution on `.internal`.
const LOCAL: [&str; 14] = [
    "alt",
    "corp",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "onion",
    "private",
    "test",
];
/// Names of the metadata services of clouds, which hand out keys to whoever asks from inside.
const METADATA: [&str; 4] =
    ["metadata.google.internal", "metadata.goog", "instance-data.ec2.internal", "metadata.tencentyun.com"];

/// Request headers that are the host's, as in the [Fetch
/// standard](https://fetch.spec.whatwg.org/#forbidden-request-header): they frame the message, or say who asks.
const FORBIDDEN: [&str; 23] = [
    "accept-charset",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "date",
    "dnt",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
];

/// What a redirect to another origin still carries. All else may be a key, whatever its name.
const KEPT_ACROSS_ORIGINS: [HeaderName; 5] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
];

/// Why a request is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("The URL has {length} bytes; the most is {URL}.")]
    UrlTooLong { length: usize },
    #[error("The URL holds {character:?}; spaces, backslashes and control characters have no place there.")]
    UrlCharacter { character: char },
    #[error("This is no absolute URL: {why}.")]
    UrlInvalid { why: String },
    #[error("The scheme is `{scheme}`; only `https` and, where the host allows it, `http` are possible.")]
    Scheme { scheme: String },
    #[error("Plain `http` is not allowed here; use `https`.")]
    PlainHttp,
    #[error("The URL holds a user name or password; put credentials in a header.")]
    UserInfo,
    #[error("The URL's host is an internet address; only host names are possible.")]
    AddressLiteral,
    #[error("`{host}` is no host name.")]
    HostName { host: String },
    #[error("The host name `{host}` ends with a dot; leave it away.")]
    TrailingDot { host: String },
    #[error("`{host}` is the metadata service of a cloud.")]
    MetadataName { host: String },
    #[error("`{host}` is a name of a local network.")]
    LocalName { host: String },
    #[error("`{host}` is not among the hosts that the app's manifest lists.")]
    NotListed { host: String },
    #[error("Port {port} is not allowed here.")]
    Port { port: u16 },
    #[error("`{host}` has an address that is not public ({}).", special.reason())]
    Address { host: String, special: Special },
    #[error("The server redirected more than {REDIRECTS} times.")]
    TooManyRedirects,
    #[error("The server redirected from `https` to `http`.")]
    Downgrade,
    #[error("The server redirected to what is no URL.")]
    RedirectInvalid,
    #[error("The method {method:?} is not possible.")]
    Method { method: String },
    #[error("A {method} request has no body.")]
    BodyNotPossible { method: Method },
    #[error("The header {name:?} is malformed.")]
    HeaderInvalid { name: String },
    #[error("The header `{name}` is the host's to set.")]
    HeaderForbidden { name: HeaderName },
    #[error("The headers are more than {HEADERS}, or longer than {HEADER_BYTES} bytes.")]
    TooManyHeaders,
}

impl Refusal {
    /// The reason as apps see it, in `data.reason`.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::UrlTooLong { .. } => "url_too_long",
            Self::UrlCharacter { .. } => "url_character",
            Self::UrlInvalid { .. } => "url_invalid",
            Self::Scheme { .. } => "scheme",
            Self::PlainHttp => "plain_http",
            Self::UserInfo => "user_info",
            Self::AddressLiteral => "address_literal",
            Self::HostName { .. } => "host_name",
            Self::TrailingDot { .. } => "trailing_dot",
            Self::MetadataName { .. } => "metadata_name",
            Self::LocalName { .. } => "local_name",
            Self::NotListed { .. } => "not_listed",
            Self::Port { .. } => "port",
            Self::Address { special, .. } => special.reason(),
            Self::TooManyRedirects => "too_many_redirects",
            Self::Downgrade => "downgrade",
            Self::RedirectInvalid => "redirect_invalid",
            Self::Method { .. } => "method",
            Self::BodyNotPossible { .. } => "body_not_possible",
            Self::HeaderInvalid { .. } => "header_invalid",
            Self::HeaderForbidden { .. } => "header_forbidden",
            Self::TooManyHeaders => "too_many_headers",
        }
    }
}

/// What URLs are held against: the manifest's hosts and the host's policy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) hosts: &'a [HostPattern],
    pub(crate) policy: &'a NetworkPolicy,
}

/// A URL that may be asked for, as far as its text goes. Its addresses are still to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    url: Url,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    path: PathAndQuery,
}

impl Target {
    /// Reads and checks the URL of a request.
    pub(crate) fn parse(text: &str, rules: Rules<'_>) -> Result<Self, Refusal> {
        check_text(text)?;
        check_authority(text)?;
        let url = Url::parse(text).map_err(|error| Refusal::UrlInvalid { why: error.to_string() })?;
        Self::check(url, rules)
    }

    /// Where `location` leads from here, checked as from the start.
    pub(crate) fn redirected(&self, location: &HeaderValue, rules: Rules<'_>) -> Result<Self, Refusal> {
        let location = location.to_str().map_err(|_| Refusal::RedirectInvalid)?;
        check_text(location)?;
        check_authority(location)?;
        let url = self.url.join(location).map_err(|_| Refusal::RedirectInvalid)?;
        if self.tls && url.scheme() == "http" {
            return Err(Refusal::Downgrade);
        }
        Self::check(url, rules)
    }

    fn check(mut url: Url, rules: Rules<'_>) -> Result<Self, Refusal> {
        let policy = rules.policy;
        let tls = match url.scheme() {
            "https" => true,
            "http" if policy.plain_http => false,
            "http" => return Err(Refusal::PlainHttp),
            other => return Err(Refusal::Scheme { scheme: other.to_owned() }),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        // 127.1, 0x7f000001, 017700000001 and 2130706433 have all become addresses here.
        let host = match url.host() {
            Some(Host::Domain(host)) => host.to_owned(),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => return Err(Refusal::AddressLiteral),
            None => return Err(Refusal::UrlInvalid { why: "it has no host".into() }),
        };
        if host.ends_with('.') {
            return Err(Refusal::TrailingDot { host });
        }
        if !is_host_name(&host) {
            return Err(Refusal::HostName { host });
        }
        if !policy.names.iter().any(|name| name.matches(&host)) {
            if METADATA.contains(&host.as_str()) {
                return Err(Refusal::MetadataName { host });
            }
            if LOCAL.iter().any(|local| is_under(&host, local)) {
                return Err(Refusal::LocalName { host });
            }
        }
        if !rules.hosts.iter().any(|pattern| pattern.matches(&host)) {
            return Err(Refusal::NotListed { host });
        }
        let usual = if tls { 443 } else { 80 };
        let port = url.port().unwrap_or(usual);
        if port != usual && !policy.ports.contains(&port) {
            return Err(Refusal::Port { port });
        }
        url.set_fragment(None);
        let path = PathAndQuery::try_from(&url[Position::BeforePath..])
            .map_err(|error| Refusal::UrlInvalid { why: error.to_string() })?;
        Ok(Self { url, host, port, tls, path })
    }

    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        (self.tls, &self.host, self.port) == (other.tls, &other.host, other.port)
    }

    /// The URL as the app gets to see it: without fragment.
    pub(crate) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// What stands in the request line: path and query, never a host.
    pub(crate) fn path(&self) -> Uri {
        Uri::from(self.path.clone())
    }

    /// The value of the `Host` header.
    pub(crate) fn authority(&self) -> Result<HeaderValue, Refusal> {
        let authority = match self.url.port() {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        };
        HeaderValue::try_from(authority).map_err(|_| Refusal::HostName { host: self.host.clone() })
    }
}

fn check_text(text: &str) -> Result<(), Refusal> {
    if text.len() > URL {
        return Err(Refusal::UrlTooLong { length: text.len() });
    }
    // Parsers drop tabs and line ends, and read `\` as `/`: what a person sees is not what is asked for.
    match text.chars().find(|c| c.is_control() || c.is_whitespace() || *c == '\\') {
        Some(character) => Err(Refusal::UrlCharacter { character }),
        None => Ok(()),
    }
}

/// Checks what the parsed URL shows no more: how many slashes are in front of the host, and an empty user name.
fn check_authority(text: &str) -> Result<(), Refusal> {
    let is_http = |scheme: &str| ["https", "http"].iter().any(|http| scheme.eq_ignore_ascii_case(http));
    let rest = match text.split_once(':') {
        Some((scheme, rest)) if is_http(scheme) => rest,
        _ if text.starts_with("//") => text,
        // A relative redirect names no host. Other schemes are refused as such once they are parsed.
        _ => return Ok(()),
    };
    // The standard also accepts `https:host`, `https:/host` and `https:////host`; nobody means that.
    let Some(rest) = rest.strip_prefix("//").filter(|rest| !rest.starts_with('/')) else {
        return Err(Refusal::UrlInvalid { why: "it does not begin like https://host".into() });
    };
    if rest.split(['/', '?', '#', '\\']).next().is_some_and(|authority| authority.contains('@')) {
        return Err(Refusal::UserInfo);
    }
    Ok(())
}

/// Two labels or more of the letters that DNS and certificates know; `_` is in use in host names all the same.
fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    host.len() <= 253 && host.contains('.') && host.split('.').all(label)
}

fn is_under(host: &str, parent: &str) -> bool {
    host.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The method by its name, in any case.
pub(crate) fn method(name: &str) -> Result<Method, Refusal> {
    let found = METHODS.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(name));
    found.ok_or_else(|| Refusal::Method { method: name.chars().take(32).collect() })
}

/// A body goes with the methods for which every server expects one; with others, servers disagree about whether it is
/// the next request.
pub(crate) fn check_body(method: &Method, body: bool) -> Result<(), Refusal> {
    let not_possible = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    if body && not_possible {
        return Err(Refusal::BodyNotPossible { method: method.clone() });
    }
    Ok(())
}

/// The app's headers, each checked.
pub(crate) fn headers<'a>(
    given: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::new();
    let mut bytes = 0;
    for (name, value) in given {
        bytes += name.len() + value.len();
        if headers.len() >= HEADERS || bytes > HEADER_BYTES {
            return Err(Refusal::TooManyHeaders);
        }
        let invalid = || Refusal::HeaderInvalid { name: name.chars().take(64).collect() };
        // Line ends in a value would begin another header, or another request. Of other letters than ASCII each server
        // has an idea of its own.
        let (name, value) = match (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) if value.to_str().is_ok() => (name, value),
            _ => return Err(invalid()),
        };
        let text = name.as_str();
        if FORBIDDEN.contains(&text) || text.starts_with("proxy-") || text.starts_with("sec-") {
            return Err(Refusal::HeaderForbidden { name });
        }
        // Twice in another case: which one counts is the server's guess.
        if headers.insert(name, value).is_some() {
            return Err(invalid());
        }
    }
    Ok(headers)
}

/// Removes what another origin must not get.
pub(crate) fn strip_for_other_origin(headers: &mut HeaderMap) {
    let names: Vec<_> = headers.keys().filter(|name| !KEPT_ACROSS_ORIGINS.contains(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::super::address;
    use super::*;
    use proptest::prelude::*;

    fn hosts(names: &[&str]) -> Vec<HostPattern> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn what_is_checked_is_what_is_asked_for() {
        let (hosts, policy) =
            (hosts(&["*.example.com"]), NetworkPolicy { ports: vec![8443], ..Default::default() });
        let rules = Rules { hosts: &hosts, policy: &policy };
        let target = Target::parse("HTTPS://API.Example.COM:8443/a/../b?c=%41#secret", rules).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.tls), ("api.example.com", 8443, true));
        assert_eq!(target.url(), "https://api.example.com:8443/b?c=%41");
        assert_eq!(target.path().to_string(), "/b?c=%41");
        assert_eq!(target.authority().unwrap(), "api.example.com:8443");
        let target = Target::parse("https://api.example.com:443", rules).unwrap();
        assert_eq!(
            (target.authority().unwrap().to_str().unwrap(), target.url()),
            ("api.example.com", "https://api.example.com/")
        );
        // A path that looks like an authority stays a path.
        let target = Target::parse("https://a.example.com//evil.example/x", rules).unwrap();
        assert_eq!((target.path().to_string().as_str(), target.path().host()), ("//evil.example/x", None));
    }

    #[test]
    fn keys_do_not_follow_a_redirect_to_another_origin() {
        let given = [("Authorization", "k"), ("X-Api-Key", "k"), ("Accept", "a"), ("If-Match", "e")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut headers = headers(given.iter().map(|(n, v)| (n, v))).unwrap();
        strip_for_other_origin(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), [header::ACCEPT]);
    }

    fn url_like() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "https",
            "http",
            ":",
            "//",
            "/",
            "@",
            "a.example.com",
            "b.example.com",
            "evil.example",
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "[::1]",
            "[::ffff:7f00:1]",
            "..",
            ".",
            "#",
            "?",
            "%2e",
            "%00",
            "\\",
            "\t",
            ":443",
            ":8080",
            "user",
            "\u{ff0e}",
            "\u{3002}",
            "\u{2488}",
            "xn--",
            "ß",
            "\u{202e}",
            "localhost",
            "metadata.google.internal",
            "",
        ]);
        prop::collection::vec(part, 0..10).prop_map(|parts| parts.concat())
    }

    proptest! {
        /// Whatever is accepted is on the list, is a name, and reads the same when parsed again.
        #[test]
        fn no_text_gets_around_the_list(text in prop_oneof![any::<String>(), url_like()], http: bool) {
            let hosts = hosts(&["*.example.com"]);
            let policy = NetworkPolicy { plain_http: http, ..Default::default() };
            let rules = Rules { hosts: &hosts, policy: &policy };
            if let Ok(target) = Target::parse(&text, rules) {
                prop_assert!(target.host.ends_with(".example.com"));
                prop_assert!(target.host.parse::<std::net::IpAddr>().is_err());
                prop_assert_eq!(target.port, if target.tls { 443 } else { 80 });
                prop_assert!(target.tls || http);
                let rest = text.split_once(':').and_then(|(_, rest)| rest.strip_prefix("//")).unwrap();
                prop_assert!(!rest.starts_with('/'));
                prop_assert!(!rest.split(['/', '?', '#']).next().unwrap().contains('@'));
                let again = Url::parse(target.url()).unwrap();
                prop_assert_eq!(again.host_str(), Some(target.host.as_str()));
                let uri: Uri = target.url().parse().unwrap();
                prop_assert_eq!(uri.host(), Some(target.host.as_str()), "another parser agrees");
                prop_assert_eq!(&Target::parse(target.url(), rules).unwrap(), &target);
            }
        }

        #[test]
        fn no_redirect_gets_around_the_list(location in prop_oneof![any::<Vec<u8>>(), url_like().prop_map(Vec::from)]) {
            let hosts = hosts(&["*.example.com"]);
            let policy = NetworkPolicy { plain_http: true, ..Default::default() };
            let rules = Rules { hosts: &hosts, policy: &policy };
            let from = Target::parse("https://a.example.com/x/y", rules).unwrap();
            if let Ok(location) = HeaderValue::from_bytes(&location)
                && let Ok(target) = from.redirected(&location, rules)
            {
                prop_assert!(target.host.ends_with(".example.com") && target.tls);
            }
        }

        #[test]
        fn no_header_smuggles_a_line(name: String, value: String) {
            let given = [(name, value)];
            if let Ok(headers) = headers(given.iter().map(|(n, v)| (n, v))) {
                let clean = |bytes: &[u8]| !bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
                prop_assert!(headers.iter().all(|(n, v)| clean(n.as_ref()) && clean(v.as_bytes())));
            }
        }

        #[test]
        fn an_address_that_is_let_through_is_public_or_named(bits: u128, v4: bool) {
            let address = if v4 {
                std::net::IpAddr::V4((bits as u32).into())
            } else {
                std::net::IpAddr::V6(bits.into())
            };
            let checked = super::super::resolve::check("a.example.com", &[address], &NetworkPolicy::default());
            prop_assert_eq!(checked.is_ok(), address::special(address).is_none());
        }
    }
}
