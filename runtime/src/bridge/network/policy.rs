//! What a host allows on the network.

use std::time::Duration;

use ipnet::IpNet;
use mpkg_manifest::HostPattern;

use super::resolve::Resolver;

/// Which requests leave this host, and how much of it they may take. The default suits a phone: public addresses,
/// `https` on port 443.
///
/// The signed manifest says which hosts an app may talk to; this widens nothing of that. `docs/network.md` lists every
/// rule.
///
/// ```
/// use miniapp_runtime::{NetworkPolicy, Policy};
/// // A shop's own server in the office network, for its staff's build of the app.
/// let network = NetworkPolicy {
///     networks: vec!["10.20.0.0/16".parse().unwrap()],
///     ports: vec![8443],
///     ..NetworkPolicy::default()
/// };
/// let policy = Policy { network, ..Policy::default() };
/// assert!(!policy.network.plain_http);
/// ```
#[derive(Debug, Clone)]
pub struct NetworkPolicy {
    /// Whether `http:` is allowed beside `https:`. Default no.
    pub plain_http: bool,
    /// Ports beside the scheme's own (443, and 80 for `http:`). Default none.
    pub ports: Vec<u16>,
    /// Addresses that apps may reach although they are not public, such as those of an office network. Default none.
    pub networks: Vec<IpNet>,
    /// Names that apps may reach although they are names of the local network or of a cloud's metadata service, such
    /// as `*.shop.internal`. Default none.
    pub names: Vec<HostPattern>,
    /// Certificate authorities to trust beside the platform's, each an X.509 certificate in DER; not on
    /// Android, where the embedding app's network security settings name them. Default none.
    pub authorities: Vec<Vec<u8>>,
    /// The `User-Agent` of every request; apps cannot choose their own. Default `miniapp-runtime`.
    pub user_agent: String,
    /// The longest request body, in bytes. Default 1 MiB.
    pub request_bytes: usize,
    /// The longest response body, in bytes. What `network.fetch` answers must fit into a message as well
    /// ([`Limits::message_bytes`](crate::Limits::message_bytes)). Default 64 MiB.
    pub response_bytes: u64,
    /// From the call to the end of the answer of `network.fetch`, or to the headers of `network.open`. An app may ask
    /// for less. Keep it below [`Limits::wall_per_call`](crate::Limits::wall_per_call), which ends the app. Default
    /// 20 s.
    pub timeout: Duration,
    /// How long a server may send nothing while an app waits for its body. Default 15 s.
    pub idle_timeout: Duration,
    /// How long a stream may stay open in all. Default 10 minutes.
    pub stream_time: Duration,
    /// Requests under way and streams open, for one instance. Default 8.
    pub requests_per_instance: usize,
    /// The same for the whole host. Default 64.
    pub requests: usize,
    /// Who turns names into addresses. Default the operating system.
    pub resolver: Resolver,
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self {
            plain_http: false,
            ports: Vec::new(),
            networks: Vec::new(),
            names: Vec::new(),
            authorities: Vec::new(),
            user_agent: "miniapp-runtime".into(),
            request_bytes: 1 << 20,
            response_bytes: 64 << 20,
            timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(15),
            stream_time: Duration::from_secs(600),
            requests_per_instance: 8,
            requests: 64,
            resolver: Resolver::default(),
        }
    }
}
