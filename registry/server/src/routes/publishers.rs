//! Publishers and their roots.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use mpkg_package::{Hash, PublisherId, RootFile, limits};
use serde_json::json;

use super::{ALL, PEOPLE, Part, Route};
use crate::auth::Access;
use crate::call::{Answer, Call, ok};
use crate::change::Begun;
use crate::clock::time;
use crate::failure::{Failure, Refusal};
use crate::keys::continues;
use crate::registry::Registry;
use crate::store::{PublisherRow, apps};
use mpkg_registry_client::wire::Role;
use mpkg_registry_client::wire::{Page, Paging, PublisherView};

pub(super) fn routes() -> Vec<Route> {
    let publisher = Access::Roles(&[Role::Publisher, Role::Admin]);
    vec![
        Route::put("/v1/publishers/{publisher}/roots", publisher, put)
            .says("Registers a publisher's root, or a newer one: the whole root file.")
            .upload()
            .answer::<PublisherView>(),
        Route::get("/v1/publishers/{publisher}/roots", ALL, roots)
            .says("A publisher's root file.")
            .media("application/jsonl"),
        Route::get("/v1/publishers", PEOPLE, list)
            .says("Lists publishers.")
            .query::<Paging>()
            .answer::<Page<PublisherView>>(),
    ]
}

fn view(row: &PublisherRow) -> Result<PublisherView, Failure> {
    let registered = time(row.registered).ok_or(Refusal::Internal)?;
    Ok(PublisherView { id: row.id, root_version: row.chain.last().version(), registered })
}

async fn put(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let id: PublisherId = call.param("publisher")?;
    call.caller.publisher(id)?;
    let bytes = call.bytes(limits::ROOT_FILE).await?;
    let file = RootFile::parse(&bytes).map_err(|error| Failure::rule(error.code(), &error))?;
    let chain = file.chain().clone();
    if chain.publisher() != id {
        let reason = format!("the root file is of {}", chain.publisher());
        return Err(Refusal::Parameter { name: "publisher".into(), reason }.into());
    }
    let mut change = match call.begin(&registry, Hash::of(&bytes)).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    let known = apps::publisher(change.db(), id).await?;
    if let Some(known) = &known
        && !continues(&known.chain, &chain)
    {
        return Err(Refusal::Chain { known: known.chain.last().version() }.into());
    }
    let registered = known.as_ref().map_or(change.at.unix(), |known| known.registered);
    apps::put_publisher(change.db(), &chain, registered).await?;
    let detail = json!({ "root_version": chain.last().version() });
    change.audit("publisher.roots", &id.to_string(), &detail).await?;
    let status = if known.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let view = view(&PublisherRow { id, chain, registered })?;
    change.done(status, &view).await
}

async fn roots(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let id: PublisherId = call.param("publisher")?;
    let mut db = registry.store.read.acquire().await?;
    let row = apps::publisher(&mut db, id).await?.ok_or(Refusal::NoPublisher(id))?;
    let bytes = RootFile::new(row.chain).to_bytes();
    Ok(([(header::CONTENT_TYPE, "application/jsonl"), (header::CACHE_CONTROL, "no-cache")], bytes)
        .into_response())
}

async fn list(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let paging: Paging = call.query()?;
    let mut db = registry.store.read.acquire().await?;
    let rows = apps::publishers(&mut db, paging.name(), paging.limit()).await?;
    let next = paging.next(&rows, |row| row.id.to_string());
    let items = rows.iter().map(view).collect::<Result<_, _>>()?;
    ok(&Page { items, next })
}
