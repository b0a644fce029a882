//! Who may use which route: a table that every route stands in, tried over HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{fresh, read, start};
use mpkg_registry::{Access, Kind, Role, routes};
use reqwest::Method;
use serde_json::Value;

/// Roles by letter: publisher, operator, releaser (l), reviewer (v), admin, host. `*` needs no token.
const TABLE: &[(&str, &str, &str)] = &[
    ("GET", "/healthz", "*"),
    ("GET", "/readyz", "*"),
    ("GET", "/metrics", "oa"),
    ("GET", "/v1/openapi.json", "*"),
    ("GET", "/v1/status", "polva"),
    ("POST", "/v1/tokens", "a"),
    ("GET", "/v1/tokens", "a"),
    ("GET", "/v1/token", "polvah"),
    ("POST", "/v1/tokens/{id}/revoke", "a"),
    ("GET", "/v1/audit", "a"),
    ("GET", "/v1/audit/verify", "a"),
    ("PUT", "/v1/publishers/{publisher}/roots", "pa"),
    ("GET", "/v1/publishers/{publisher}/roots", "polvah"),
    ("GET", "/v1/publishers", "polva"),
    ("POST", "/v1/apps", "pa"),
    ("GET", "/v1/apps", "polva"),
    ("GET", "/v1/apps/{app_id}", "polvah"),
    ("GET", "/v1/search", "polvah"),
    ("GET", "/v1/apps/{app_id}/limits", "polva"),
    ("POST", "/v1/apps/{app_id}/floor", "ola"),
    ("POST", "/v1/apps/{app_id}/disable", "ola"),
    ("POST", "/v1/apps/{app_id}/disabled/{sha256}/enable", "la"),
    ("POST", "/v1/apps/{app_id}/releases", "pa"),
    ("GET", "/v1/apps/{app_id}/releases", "polvah"),
    ("GET", "/v1/apps/{app_id}/releases/{release_seq}", "polvah"),
    ("POST", "/v1/apps/{app_id}/releases/{release_seq}/yank", "pa"),
    ("POST", "/v1/apps/{app_id}/releases/{release_seq}/review", "va"),
    ("GET", "/v1/packages/{sha256}", "polvah"),
    ("GET", "/v1/packages/{sha256}/delta/{from}", "polvah"),
    ("GET", "/v1/packages/{sha256}/signature", "polvah"),
    ("GET", "/v1/state/head", "polvah"),
    ("GET", "/v1/state/apps/{app_id}", "polvah"),
    ("GET", "/v1/state/roots", "*"),
    ("PUT", "/v1/state/roots", "a"),
    ("GET", "/v1/stream", "polvah"),
    ("POST", "/v1/apps/{app_id}/rollouts", "la"),
    ("GET", "/v1/apps/{app_id}/rollouts", "polva"),
    ("GET", "/v1/rollouts/{id}", "polva"),
    ("GET", "/v1/rollouts/{id}/plan", "polva"),
    ("GET", "/v1/rollouts/{id}/gate", "polva"),
    ("GET", "/v1/rollouts/{id}/evidence", "polva"),
    ("GET", "/v1/rollouts/{id}/evidence/{number}", "polva"),
    ("POST", "/v1/rollouts/{id}/start", "la"),
    ("POST", "/v1/rollouts/{id}/advance", "la"),
    ("POST", "/v1/rollouts/{id}/resume", "la"),
    ("POST", "/v1/rollouts/{id}/complete", "la"),
    ("POST", "/v1/rollouts/{id}/hold", "ola"),
    ("POST", "/v1/rollouts/{id}/halt", "ola"),
    ("POST", "/v1/rollouts/{id}/rollback", "ola"),
    ("POST", "/v1/kills", "oa"),
    ("POST", "/v1/kills/drill", "polva"),
    ("GET", "/v1/kills", "polva"),
    ("GET", "/v1/kills/{id}", "polva"),
    ("POST", "/v1/kills/{id}/lift", "la"),
    ("POST", "/v1/approvals", "lva"),
    ("POST", "/v1/telemetry", "h"),
    ("GET", "/v1/apps/{app_id}/telemetry", "polva"),
];

fn letter(role: Role) -> char {
    match role {
        Role::Publisher => 'p',
        Role::Operator => 'o',
        Role::Releaser => 'l',
        Role::Reviewer => 'v',
        Role::Admin => 'a',
        Role::Host => 'h',
    }
}

#[test]
fn every_route_stands_in_the_table_and_the_other_way_round() {
    let mut there: Vec<_> = routes().iter().map(|route| (route.method, route.path)).collect();
    let mut listed: Vec<_> = TABLE.iter().map(|(method, path, _)| (*method, *path)).collect();
    there.sort_unstable();
    listed.sort_unstable();
    assert_eq!(there, listed);
    for route in routes() {
        let (.., letters) = TABLE.iter().find(|row| (row.0, row.1) == (route.method, route.path)).unwrap();
        let open = matches!(route.access, Access::Anyone);
        assert_eq!(open, *letters == "*", "{route:?}");
        for role in Role::ALL {
            let admitted = route.access.admits(&[role].into());
            assert_eq!(admitted, open || letters.contains(letter(role)), "{route:?} {role}");
        }
    }
}

/// What stops takes no version, and whatever changes something takes a key.
#[test]
fn stops_are_stops() {
    let stops = ["hold", "halt", "rollback", "revoke", "floor", "disable"];
    let goes = ["start", "advance", "resume", "complete", "lift", "enable"];
    for route in routes() {
        let verb = route.path.rsplit('/').next().unwrap();
        assert_eq!(route.kind == Kind::Go, goes.contains(&verb), "{route:?}");
        let stop = stops.contains(&verb) || (route.method, route.path) == ("POST", "/v1/kills");
        assert_eq!(route.kind == Kind::Stop, stop, "{route:?}");
        assert_eq!(route.kind == Kind::Read, route.method == "GET", "{route:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_keeps_every_role_out_that_it_should() {
    let registry = start().await;
    let mut tokens = Vec::new();
    for role in Role::ALL {
        tokens.push((role, registry.token(role).await));
    }
    for route in routes().into_iter().filter(|route| route.path != "/v1/stream") {
        let path = route.path.replace(['{', '}'], "x");
        let method = Method::from_bytes(route.method.as_bytes()).unwrap();
        let ask = |token: Option<&str>| {
            let mut request = registry.http.request(method.clone(), format!("{}{path}", registry.base));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            read(request.header("idempotency-key", fresh()).header("if-match", "\"9\"").body("?"))
        };
        let (.., letters) = TABLE.iter().find(|row| (row.0, row.1) == (route.method, route.path)).unwrap();
        let without = ask(None).await;
        if *letters == "*" {
            assert!(without.status.is_success(), "{route:?}");
            continue;
        }
        without.refused(401, "MPKG-P01");
        assert_eq!(without.headers["www-authenticate"], "Bearer");
        ask(Some("mpkg_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")).await.refused(401, "MPKG-P02");
        for (role, token) in &tokens {
            let got = ask(Some(token)).await;
            if letters.contains(letter(*role)) {
                assert!(![401, 403].contains(&got.status.as_u16()), "{route:?} {role}: {got:?}");
                assert!(got.status.as_u16() < 500, "{route:?} {role}: {got:?}");
            } else {
                got.refused(403, "MPKG-P03");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_need_a_key_and_verbs_that_go_a_version() {
    let registry = start().await;
    for route in routes() {
        if matches!(route.kind, Kind::Read | Kind::Report) {
            continue;
        }
        let path = route.path.replace(['{', '}'], "x");
        let method = Method::from_bytes(route.method.as_bytes()).unwrap();
        let bare = || registry.request(&registry.admin, method.clone(), &path).body("?");
        read(bare()).await.refused(400, "MPKG-P20");
        for bad in ["", "two words", &"k".repeat(129)] {
            read(bare().header("idempotency-key", bad)).await.refused(400, "MPKG-P20");
        }
        let got = read(bare().header("idempotency-key", fresh())).await;
        if route.kind == Kind::Go {
            got.refused(428, "MPKG-P22");
        } else {
            assert_ne!(got.status, 428, "{route:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_has_every_route_and_nothing_else() {
    let registry = start().await;
    let document = read(registry.http.get(format!("{}/v1/openapi.json", registry.base))).await.ok().json();
    let mut described = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.push((method.to_uppercase(), path.clone()));
            assert!(operation["summary"].as_str().is_some_and(|it| !it.is_empty()), "{method} {path}");
            references(operation, &document);
        }
    }
    references(&document["components"], &document);
    let mut there: Vec<_> = routes().iter().map(|it| (it.method.to_owned(), it.path.to_owned())).collect();
    described.sort_unstable();
    there.sort_unstable();
    assert_eq!(described, there);
    let mut ids: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|methods| methods.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "operation ids are different");
}

/// Every reference leads somewhere.
fn references(value: &Value, document: &Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            members.values().for_each(|value| references(value, document));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, document)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_and_methods_are_errors_in_the_same_form() {
    let registry = start().await;
    registry.get(&registry.admin, "/v1/nothing").await.refused(404, "MPKG-P13");
    read(registry.request(&registry.admin, Method::DELETE, "/v1/tokens")).await.refused(405, "MPKG-P13");
}
