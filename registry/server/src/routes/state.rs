//! Signed state, for hosts.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use mpkg_fleet::{Position, StreamEvent};
use mpkg_manifest::AppId;
use mpkg_package::{Hash, RootFile, limits};
use serde_json::json;

use super::{ALL, Route};
use crate::auth::Access;
use crate::call::{Answer, Call};
use crate::change::Begun;
use crate::failure::{Failure, Refusal};
use crate::http::Follow;
use crate::keys::continues;
use crate::registry::Registry;
use crate::store::documents::{self, HEAD};
use mpkg_registry_client::wire::Nothing;
use mpkg_registry_client::wire::Role;

pub(super) fn routes() -> Vec<Route> {
    let media = "application/vnd.in-toto+json";
    vec![
        Route::get("/v1/state/head", ALL, head).says("The newest fleet head, signed.").media(media),
        Route::get("/v1/state/apps/{app_id}", ALL, app)
            .says("The newest state of an app, signed.")
            .media(media),
        Route::get("/v1/state/roots", Access::Anyone, roots)
            .says("The registry's roots, as a chain that hosts take in.")
            .media("application/octet-stream"),
        Route::put("/v1/state/roots", Access::Roles(&[Role::Admin]), put_roots)
            .says("Gives the registry a newer root: the whole root file.")
            .upload()
            .answer::<Nothing>(),
        Route::get("/v1/stream", ALL, follow)
            .says("State as it comes, as server-sent events; `Last-Event-ID` goes on where it ended.")
            .media("text/event-stream"),
    ]
}

async fn newest(registry: &Registry, call: &Call, app: &str, missing: Refusal) -> Answer {
    let mut db = registry.store.read.acquire().await?;
    let stored = documents::newest(&mut db, app).await?.ok_or(missing)?;
    let etag = format!("\"{}\"", Hash::of(&stored.envelope));
    let known =
        call.headers.get(header::IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == etag.as_bytes());
    let headers = [(header::ETAG, etag), (header::CACHE_CONTROL, "private, no-cache".into())];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let content = [(header::CONTENT_TYPE, "application/vnd.in-toto+json")];
    Ok((headers, content, stored.envelope).into_response())
}

async fn head(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    newest(&registry, &call, HEAD, Refusal::Internal).await
}

async fn app(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let id: AppId = call.param("app_id")?;
    newest(&registry, &call, id.as_str(), Refusal::NoApp(id.clone())).await
}

async fn roots(State(registry): State<Arc<Registry>>) -> Answer {
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, registry.roots().to_bytes()).into_response())
}

async fn put_roots(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    call.caller.fleet()?;
    let bytes = call.bytes(limits::ROOT_FILE).await?;
    let file = RootFile::parse(&bytes).map_err(|error| Failure::rule(error.code(), &error))?;
    let chain = file.chain().clone();
    let mut change = match call.begin(&registry, Hash::of(&bytes)).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    let known = registry.roots();
    if !continues(&known, &chain) {
        return Err(Refusal::Chain { known: known.last().version() }.into());
    }
    // Hosts that took such a root would refuse all that this registry signs.
    if !registry.keys.serve(&chain) {
        let reason = "the registry's keys would not have the roles state and stop".into();
        return Err(Refusal::Body(reason).into());
    }
    let version = chain.last().version();
    change.audit("registry.roots", "registry", &json!({ "root_version": version })).await?;
    change.announce(StreamEvent::Roots { version });
    change.roots(chain).await?;
    change.done(StatusCode::OK, &Nothing {}).await
}

async fn follow(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    // What is no position is one that nobody knows: the answer tells where the newest head is.
    let known = call.headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<Position>().ok());
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    let mut response = headers.into_response();
    // Who asks what there would be takes no place.
    if call.is_get() {
        let seat = Arc::new(registry.hub.seat(&call.caller.token).ok_or(Refusal::NoSeat)?);
        response.extensions_mut().insert(Follow { known, seat, expires: call.caller.expires });
    }
    Ok(response)
}
