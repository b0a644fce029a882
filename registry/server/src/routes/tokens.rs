//! Tokens: made, listed, revoked.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;

use super::{ALL, Kind, Part, Route};
use crate::auth::{Access, Secret};
use crate::call::{Answer, Call, ok};
use crate::change::{Answered, Begun};
use crate::clock::time;
use crate::failure::{Failure, Refusal};
use crate::registry::Registry;
use crate::store::people;
use mpkg_registry_client::wire::Role;
use mpkg_registry_client::wire::{NewToken, Nothing, Page, Paging, TokenMade, TokenView};

pub(super) fn routes() -> Vec<Route> {
    let admin = Access::Roles(&[Role::Admin]);
    vec![
        Route::post("/v1/tokens", admin, Kind::Change, make)
            .says("Makes a token. Its secret is in the first answer and nowhere else.")
            .body::<NewToken>()
            .answer::<TokenMade>(),
        Route::get("/v1/tokens", admin, list)
            .says("Lists tokens.")
            .query::<Paging>()
            .answer::<Page<TokenView>>(),
        Route::get("/v1/token", ALL, own)
            .says("The token that asks: whose it is, what it may do, and until when.")
            .answer::<TokenView>(),
        Route::post("/v1/tokens/{id}/revoke", admin, Kind::Stop, revoke)
            .says("Revokes a token, at once and for ever.")
            .body::<Nothing>()
            .answer::<TokenView>(),
    ]
}

async fn make(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (new, body) = call.json::<NewToken>().await?;
    // An admin with a scope could otherwise make a token without one.
    call.caller.fleet()?;
    if new.roles.is_empty() {
        return Err(Refusal::Body("a token has at least one role".into()).into());
    }
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    let secret = Secret::generate().map_err(|error| Failure::internal(&error))?;
    let expires = new.expires_in_s.map(|seconds| change.at.unix().saturating_add(i64::from(seconds)));
    let token = TokenView {
        id: secret.id().to_owned(),
        owner: new.owner.to_string(),
        roles: new.roles,
        apps: new.apps,
        publishers: new.publishers,
        created: change.at,
        created_by: change.caller.owner.clone(),
        expires: expires.and_then(time),
        revoked: None,
    };
    people::insert_token(change.db(), &secret, &token).await?;
    change.audit("token.create", &token.id, &json!({ "owner": token.owner, "roles": token.roles })).await?;
    let kept = TokenMade { secret: None, token: token.clone() };
    let made = TokenMade { secret: Some(secret.reveal().to_owned()), token };
    change.finish(Answered { status: StatusCode::CREATED, etag: None, body: &made, kept: Some(&kept) }).await
}

async fn list(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let paging: Paging = call.query()?;
    let mut db = registry.store.read.acquire().await?;
    let items = people::tokens(&mut db, paging.name(), paging.limit()).await?;
    let next = paging.next(&items, |token| token.id.clone());
    ok(&Page { items, next })
}

async fn own(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let mut db = registry.store.read.acquire().await?;
    ok(&people::token(&mut db, &call.caller.token).await?.ok_or(Refusal::NoSuchToken)?)
}

async fn revoke(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let id: String = call.param("id")?;
    let (Nothing {}, body) = call.json().await?;
    call.caller.fleet()?;
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    people::token(change.db(), &id).await?.ok_or(Refusal::NoSuchToken)?;
    let at = change.at.unix();
    people::revoke_token(change.db(), &id, at).await?;
    change.revoke(&id);
    change.audit("token.revoke", &id, &json!({})).await?;
    let token = people::token(change.db(), &id).await?.ok_or(Refusal::NoSuchToken)?;
    change.done(StatusCode::OK, &token).await
}
