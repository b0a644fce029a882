//! The table of cases in `egress/*.json`: what leaves a host and what does not, each row by way of a guest, the real
//! client, and servers on this machine.
//!
//! A row's `url`, and `to` of its redirects, may hold `{https}` and `{http}`, the ports of those servers. `allow` is
//! the manifest's list; `names` says what the resolver answers, one list of addresses after the other; `policy` is what
//! differs from the default (`"servers": true`: the two servers can be reached at 127.0.0.1). `redirects` are by path.
//! `expect` is the reason of the refusal, or what the last request looked like when it came in.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod net;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use common::{Package, TestHost, host_with};
use miniapp_runtime::rpc::code;
use miniapp_runtime::{CallError, NetworkPolicy, Policy, Resolver, StaticPermissions};
use net::{Names, Reply, Seen, Server};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    url: String,
    #[serde(default = "api")]
    allow: Vec<String>,
    #[serde(default)]
    names: BTreeMap<String, Vec<Vec<std::net::IpAddr>>>,
    #[serde(default)]
    policy: RowPolicy,
    #[serde(default)]
    redirects: BTreeMap<String, Redirect>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<String>,
    expect: Expect,
}

#[derive(Clone, Deserialize, Default, PartialEq, Eq, Hash)]
#[serde(deny_unknown_fields, default)]
struct RowPolicy {
    servers: bool,
    plain_http: bool,
    ports: Vec<u16>,
    networks: Vec<String>,
    names: Vec<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Redirect {
    status: u16,
    to: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expect {
    Refused(String),
    Arrives(Arrives),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arrives {
    /// The request line without the version.
    line: String,
    host: String,
    #[serde(default)]
    with: BTreeMap<String, String>,
    #[serde(default)]
    without: Vec<String>,
    #[serde(default)]
    body: String,
    /// Requests in all.
    #[serde(default = "one")]
    requests: usize,
}

fn api() -> Vec<String> {
    vec!["api.example.com".into()]
}

fn one() -> usize {
    1
}

fn rows(file: &str) -> Vec<Row> {
    serde_json::from_str(file).unwrap()
}

struct Bench {
    names: Names,
    redirects: Arc<Mutex<BTreeMap<String, Redirect>>>,
    https: Server,
    http: Server,
    hosts: HashMap<RowPolicy, TestHost>,
}

impl Bench {
    async fn new() -> Self {
        let redirects = Arc::new(Mutex::new(BTreeMap::<String, Redirect>::new()));
        let answer = |redirects: Arc<Mutex<BTreeMap<String, Redirect>>>| {
            move |seen: &Seen| match redirects.lock().unwrap().get(seen.path()) {
                Some(redirect) => Reply::redirect(redirect.status, &redirect.to),
                None => Reply::ok("here"),
            }
        };
        Self {
            names: Names::default(),
            https: Server::tls(answer(redirects.clone())).await,
            http: Server::plain(answer(redirects.clone())).await,
            redirects,
            hosts: HashMap::new(),
        }
    }

    fn fill_in(&self, text: &str) -> String {
        text.replace("{https}", &self.https.port.to_string()).replace("{http}", &self.http.port.to_string())
    }

    fn host(&mut self, wanted: &RowPolicy) -> &TestHost {
        let (names, ports) = (self.names.clone(), [self.https.port, self.http.port]);
        self.hosts.entry(wanted.clone()).or_insert_with(|| {
            let mut network =
                NetworkPolicy { resolver: Resolver::new(names.clone()), ..NetworkPolicy::default() };
            if wanted.servers {
                network = net::policy(&names, &ports);
                network.plain_http = false;
            }
            network.plain_http |= wanted.plain_http;
            network.ports.extend(&wanted.ports);
            network.networks.extend(wanted.networks.iter().map(|n| n.parse::<ipnet::IpNet>().unwrap()));
            network
                .names
                .extend(wanted.names.iter().map(|n| n.parse::<mpkg_manifest::HostPattern>().unwrap()));
            let policy = Policy { network, ..Policy::default() };
            host_with(|b| b.policy(policy).permissions(StaticPermissions::allow_all()))
        })
    }

    /// What is wrong with a row, if anything.
    async fn run(&mut self, index: usize, row: &Row) -> Result<(), String> {
        self.names.clear();
        for (host, answers) in &row.names {
            self.names.set(host, answers.clone());
        }
        let redirects = row.redirects.iter().map(|(path, redirect)| {
            (path.clone(), Redirect { to: self.fill_in(&redirect.to), ..redirect.clone() })
        });
        *self.redirects.lock().unwrap() = redirects.collect();
        for server in [&self.https, &self.http] {
            server.seen.lock().unwrap().clear();
        }
        let url = self.fill_in(&row.url);
        let package = Package {
            app_id: format!("com.example.row{index}"),
            mpkg: json!({ "network": { "allow": row.allow } }),
            ..Package::with(&["network"])
        };
        let app = self.host(&row.policy).run(&package).await;
        let mut params = json!({ "url": url, "headers": row.headers });
        for (name, value) in [("method", &row.method), ("body", &row.body)] {
            if let Some(value) = value {
                params[name] = json!(value);
            }
        }
        let answer = app.call::<Value>("0network.fetch", &params).await;
        let mut seen = self.https.seen();
        seen.extend(self.http.seen());
        match (&row.expect, answer) {
            (Expect::Refused(reason), Err(CallError::Rpc(error))) => {
                let given = error.data.as_ref().and_then(|data| data["reason"].as_str()).unwrap_or("none");
                if (error.code, given) != (code::REFUSED, reason) {
                    return Err(format!("is refused for {given} ({error})"));
                }
                // Nothing but the redirects that were legal may have gone out.
                let beyond = seen.iter().find(|s| !row.redirects.contains_key(s.path()));
                beyond.map_or(Ok(()), |seen| Err(format!("was sent: {}", seen.head)))
            }
            (Expect::Arrives(expected), Ok(answer)) => {
                let last = seen.iter().find(|s| !row.redirects.contains_key(s.path()));
                let last = last.ok_or("did not arrive")?;
                check(expected, last, &self.fill_in(&expected.host))?;
                if seen.len() != expected.requests {
                    return Err(format!("took {} requests", seen.len()));
                }
                if answer["body_base64"] != "aGVyZQ==" || answer["status"] != 200 {
                    return Err(format!("was answered with {answer}"));
                }
                Ok(())
            }
            (_, answer) => Err(format!("gives {answer:?}")),
        }
    }
}

fn check(expected: &Arrives, seen: &Seen, host: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("arrives with another {what}: {}", seen.head));
    if seen.line().strip_suffix(" HTTP/1.1") != Some(&expected.line) {
        return wrong("line");
    }
    if seen.header("host") != Some(host) {
        return wrong("host");
    }
    if seen.body != expected.body.as_bytes() {
        return wrong("body");
    }
    for (name, value) in &expected.with {
        if seen.header(name) != Some(value) {
            return wrong(name);
        }
    }
    match expected.without.iter().find(|name| seen.header(name).is_some()) {
        Some(name) => wrong(name),
        None => Ok(()),
    }
}

/// Every reason for which a request can be refused; a new one needs a row.
const REASONS: &[&str] = &[
    "address_literal",
    "benchmark_address",
    "body_not_possible",
    "broadcast_address",
    "documentation_address",
    "downgrade",
    "embedding_address",
    "header_forbidden",
    "header_invalid",
    "host_name",
    "link_local_address",
    "local_name",
    "loopback_address",
    "metadata_address",
    "metadata_name",
    "method",
    "multicast_address",
    "not_listed",
    "plain_http",
    "port",
    "private_address",
    "redirect_invalid",
    "reserved_address",
    "scheme",
    "shared_address",
    "too_many_headers",
    "too_many_redirects",
    "trailing_dot",
    "unspecified_address",
    "url_character",
    "url_invalid",
    "url_too_long",
    "user_info",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_of_the_egress_table_holds() {
    let mut rows: Vec<Row> = [
        include_str!("egress/addresses.json"),
        include_str!("egress/rebinding.json"),
        include_str!("egress/redirects.json"),
        include_str!("egress/requests.json"),
        include_str!("egress/urls.json"),
    ]
    .into_iter()
    .flat_map(rows)
    .collect();
    rows.push(Row {
        url: format!("https://api.example.com/{}", "x".repeat(8192)),
        expect: Expect::Refused("url_too_long".into()),
        ..rows_of_one("a very long URL")
    });
    let many = (0..65).map(|n| (format!("x-{n}"), String::new())).collect();
    rows.push(Row {
        headers: many,
        expect: Expect::Refused("too_many_headers".into()),
        ..rows_of_one("many headers")
    });
    assert!(rows.len() >= 80, "{} rows", rows.len());
    let mut bench = Bench::new().await;
    let mut wrong = Vec::new();
    let mut reasons = BTreeSet::new();
    for (index, row) in rows.iter().enumerate() {
        if let Expect::Refused(reason) = &row.expect {
            reasons.insert(reason.as_str());
        }
        if let Err(why) = bench.run(index, row).await {
            wrong.push(format!("{} ({}): {why}", row.name, row.url));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    assert_eq!(reasons.into_iter().collect::<Vec<_>>(), REASONS);
}

fn rows_of_one(name: &str) -> Row {
    Row {
        name: name.into(),
        url: "https://api.example.com/".into(),
        allow: api(),
        names: BTreeMap::new(),
        policy: RowPolicy::default(),
        redirects: BTreeMap::new(),
        method: None,
        headers: BTreeMap::new(),
        body: None,
        expect: Expect::Refused(String::new()),
    }
}
