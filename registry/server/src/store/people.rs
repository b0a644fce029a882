//! Tokens and approvals.

use std::collections::BTreeSet;

use mpkg_fleet::Approval;
use mpkg_package::Hash;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Db, damaged, json, to_json};
use crate::auth::{Caller, Secret};
use crate::clock::time;
use mpkg_registry_client::wire::TokenView;

fn view(row: &SqliteRow) -> Result<TokenView, sqlx::Error> {
    let when = |name| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(name)?.and_then(time));
    Ok(TokenView {
        id: row.try_get("id")?,
        owner: row.try_get("owner")?,
        roles: json(row.try_get("roles")?, "set of roles")?,
        apps: json(row.try_get("apps")?, "set of apps")?,
        publishers: json(row.try_get("publishers")?, "set of publishers")?,
        created: time(row.try_get("created")?).ok_or_else(|| damaged("time"))?,
        created_by: row.try_get("created_by")?,
        expires: when("expires")?,
        revoked: when("revoked")?,
    })
}

pub(crate) async fn insert_token(db: &mut Db, secret: &Secret, view: &TokenView) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO tokens (id, hash, owner, roles, apps, publishers, created, created_by, expires) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    sqlx::query(sql)
        .bind(secret.id())
        .bind(secret.hash().to_string())
        .bind(&view.owner)
        .bind(to_json(&view.roles)?)
        .bind(to_json(&view.apps)?)
        .bind(to_json(&view.publishers)?)
        .bind(view.created.unix())
        .bind(&view.created_by)
        .bind(view.expires.map(|at| at.unix()))
        .execute(db)
        .await
        .map(|_| ())
}

/// Who has this token, if it counts now.
pub(crate) async fn find_caller(
    db: &mut Db,
    secret: &Secret,
    now: i64,
) -> Result<Option<Caller>, sqlx::Error> {
    let sql = "SELECT * FROM tokens WHERE id = ? AND hash = ?";
    // The hash is of 200 random bits: how long a comparison takes tells nothing about the token.
    let row = sqlx::query(sql).bind(secret.id()).bind(secret.hash().to_string()).fetch_optional(db).await?;
    let Some(row) = row else { return Ok(None) };
    let token = view(&row)?;
    let dead = token.revoked.is_some() || token.expires.is_some_and(|at| at.unix() <= now);
    let TokenView { id, owner, roles, apps, publishers, expires, .. } = token;
    let expires = expires.map(|at| at.unix());
    Ok((!dead).then_some(Caller { token: id, owner, roles, apps, publishers, expires }))
}

pub(crate) async fn tokens(db: &mut Db, after: &str, limit: i64) -> Result<Vec<TokenView>, sqlx::Error> {
    let sql = "SELECT * FROM tokens WHERE id > ? ORDER BY id LIMIT ?";
    let rows = sqlx::query(sql).bind(after).bind(limit).fetch_all(db).await?;
    rows.iter().map(view).collect()
}

pub(crate) async fn token(db: &mut Db, id: &str) -> Result<Option<TokenView>, sqlx::Error> {
    let row = sqlx::query("SELECT * FROM tokens WHERE id = ?").bind(id).fetch_optional(db).await?;
    row.as_ref().map(view).transpose()
}

pub(crate) async fn revoke_token(db: &mut Db, id: &str, at: i64) -> Result<(), sqlx::Error> {
    let sql = "UPDATE tokens SET revoked = ? WHERE id = ? AND revoked IS NULL";
    sqlx::query(sql).bind(at).bind(id).execute(db).await.map(|_| ())
}

pub(crate) async fn any_token(db: &mut Db) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query("SELECT id FROM tokens LIMIT 1").fetch_optional(db).await?.is_some())
}

pub(crate) async fn approve(db: &mut Db, change: Hash, owner: &str, at: i64) -> Result<(), sqlx::Error> {
    let sql =
        "INSERT INTO approvals (change, owner, at) VALUES (?, ?, ?) ON CONFLICT (change, owner) DO NOTHING";
    sqlx::query(sql).bind(change.to_string()).bind(owner).bind(at).execute(db).await.map(|_| ())
}

pub(crate) async fn approvals(db: &mut Db, change: Hash) -> Result<Vec<Approval>, sqlx::Error> {
    let sql = "SELECT owner FROM approvals WHERE change = ?";
    let owners: Vec<String> = sqlx::query_scalar(sql).bind(change.to_string()).fetch_all(db).await?;
    let owners: BTreeSet<String> = owners.into_iter().collect();
    Ok(owners.into_iter().map(|by| Approval { by, change }).collect())
}
