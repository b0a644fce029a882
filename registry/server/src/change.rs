//! A change: one transaction with its audit entry, its answer under the idempotency key, and its events.

use std::sync::{Arc, PoisonError};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use mpkg_fleet::StreamEvent;
use mpkg_package::{Hash, RootChain, Time};
use serde::Serialize;
use sqlx::Row;
use tokio::sync::OwnedMutexGuard;

use crate::audit;
use crate::auth::Caller;
use crate::failure::{Failure, Refusal};
use crate::registry::Registry;
use crate::routes::Kind;
use crate::store::{self, Db, Tx};

/// What a change is known by to the one who makes it.
pub(crate) struct Once {
    pub(crate) key: String,
    /// Hash of method, path and body.
    pub(crate) request: Hash,
}

pub(crate) struct Change<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) caller: Caller,
    pub(crate) at: Time,
    tx: Tx,
    once: Option<Once>,
    events: Vec<StreamEvent>,
    revoked: Option<String>,
    roots: Option<RootChain>,
    order: OwnedMutexGuard<()>,
    /// Behind `order`: whoever it lets through next queues up for that after the stops which wait already.
    gate: Option<OwnedMutexGuard<()>>,
}

/// A change that begins, or the answer to one that was made before.
#[allow(clippy::large_enum_variant, reason = "one for each request, taken apart at once")]
pub(crate) enum Begun<'a> {
    New(Change<'a>),
    Before(Response),
}

/// The answer in full.
pub(crate) struct Answered<'a, T> {
    pub(crate) status: StatusCode,
    pub(crate) etag: Option<String>,
    pub(crate) body: &'a T,
    /// What is kept for a request that comes again, where it must not be the answer itself.
    pub(crate) kept: Option<&'a T>,
}

impl<'a> Change<'a> {
    async fn start(registry: &'a Registry, caller: Caller, kind: Kind) -> Result<Self, Failure> {
        // A thousand releases that are published at once are one before a kill, and not a thousand.
        let gate = match kind {
            Kind::Stop => None,
            _ => Some(Arc::clone(&registry.gate).lock_owned().await),
        };
        let order = Arc::clone(&registry.order).lock_owned().await;
        let tx = registry.store.begin().await?;
        let at = registry.time()?;
        Ok(Self {
            registry,
            caller,
            at,
            tx,
            once: None,
            events: Vec::new(),
            revoked: None,
            roots: None,
            order,
            gate,
        })
    }

    /// A change that the registry makes by itself.
    pub(crate) async fn own(registry: &'a Registry, part: &str, kind: Kind) -> Result<Self, Failure> {
        Self::start(registry, Caller::registry(part), kind).await
    }

    /// A change that somebody asks for.
    pub(crate) async fn asked(
        registry: &'a Registry,
        caller: Caller,
        kind: Kind,
        once: Once,
    ) -> Result<Begun<'a>, Failure> {
        let mut change = Self::start(registry, caller, kind).await?;
        let sql = "SELECT * FROM answers WHERE token = ? AND idempotency_key = ?";
        let query = sqlx::query(sql).bind(&change.caller.token).bind(&once.key);
        let Some(row) = query.fetch_optional(&mut *change.tx).await? else {
            change.once = Some(once);
            return Ok(Begun::New(change));
        };
        if row.try_get::<String, _>("request")? != once.request.to_string() {
            return Err(Refusal::KeyReused.into());
        }
        let status = u16::try_from(row.try_get::<i64, _>("status")?).unwrap_or(500);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let etag: Option<String> = row.try_get("etag")?;
        Ok(Begun::Before(answer(status, etag.as_deref(), row.try_get("body")?)))
    }

    pub(crate) fn db(&mut self) -> &mut Db {
        &mut self.tx
    }

    /// Tells the audit log.
    pub(crate) async fn audit(
        &mut self,
        action: &str,
        subject: &str,
        detail: &impl Serialize,
    ) -> Result<(), Failure> {
        let detail = serde_json::to_string(detail).map_err(|error| Failure::internal(&error))?;
        audit::append(&mut self.tx, self.at.unix(), &self.caller, action, subject, detail).await?;
        Ok(())
    }

    /// Tells the streams, once it is committed.
    pub(crate) fn announce(&mut self, event: StreamEvent) {
        self.events.push(event);
    }

    /// Ends the streams of a token, once it is committed.
    pub(crate) fn revoke(&mut self, token: &str) {
        self.revoked = Some(token.to_owned());
    }

    /// Gives the registry a newer root. The database has it with the change; memory and file follow, and where they do
    /// not, the next start makes it up.
    pub(crate) async fn roots(&mut self, chain: RootChain) -> Result<(), Failure> {
        store::set_roots(&mut self.tx, &chain).await?;
        self.roots = Some(chain);
        Ok(())
    }

    /// Commits, and only then lets anybody know.
    ///
    /// In a task of its own: whoever asked may hang up at any moment, and what was committed without being told would
    /// reach hosts minutes later only.
    pub(crate) async fn commit(self) -> Result<(), Failure> {
        let Self { registry, tx, events, revoked, roots, order, gate, .. } = self;
        let (hub, callers) = (Arc::clone(&registry.hub), Arc::clone(&registry.callers));
        let (kept, keys) = (Arc::clone(&registry.roots), Arc::clone(&registry.keys));
        let committed = tokio::spawn(async move {
            tx.commit().await?;
            if let Some(roots) = roots {
                // Before the event that has hosts ask for it.
                *kept.write().unwrap_or_else(PoisonError::into_inner) = roots.clone();
                keys.store_behind(roots).await;
            }
            hub.publish(&events);
            if let Some(token) = revoked {
                callers.forget(&token);
                hub.revoke(&token);
            }
            drop(order);
            drop(gate);
            Ok(())
        });
        committed.await.map_err(|error| Failure::internal(&error))?
    }

    /// Keeps the answer, commits and answers.
    pub(crate) async fn finish<T: Serialize>(
        mut self,
        answered: Answered<'_, T>,
    ) -> Result<Response, Failure> {
        let encode = |body: &T| serde_json::to_string(body).map_err(|error| Failure::internal(&error));
        let body = encode(answered.body)?;
        if let Some(once) = &self.once {
            let kept = answered.kept.map(encode).transpose()?;
            let sql = "INSERT INTO answers (token, idempotency_key, request, status, etag, body, at) \
                       VALUES (?, ?, ?, ?, ?, ?, ?)";
            sqlx::query(sql)
                .bind(&self.caller.token)
                .bind(&once.key)
                .bind(once.request.to_string())
                .bind(i64::from(answered.status.as_u16()))
                .bind(&answered.etag)
                .bind(kept.as_ref().unwrap_or(&body))
                .bind(self.at.unix())
                .execute(&mut *self.tx)
                .await?;
        }
        self.commit().await?;
        Ok(answer(answered.status, answered.etag.as_deref(), body))
    }

    /// Finishes with a body.
    pub(crate) async fn done<T: Serialize>(self, status: StatusCode, body: &T) -> Result<Response, Failure> {
        self.finish(Answered { status, etag: None, body, kept: None }).await
    }

    /// Finishes with a body that has a version.
    pub(crate) async fn done_at<T: Serialize>(
        self,
        status: StatusCode,
        etag: String,
        body: &T,
    ) -> Result<Response, Failure> {
        self.finish(Answered { status, etag: Some(etag), body, kept: None }).await
    }
}

/// JSON that nobody keeps.
pub(crate) fn answer(status: StatusCode, etag: Option<&str>, body: String) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    let mut response = (status, json, body).into_response();
    if let Some(etag) = etag.and_then(|etag| etag.parse().ok()) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;
    use crate::{Config, Opened};

    #[tokio::test]
    async fn a_stop_overtakes_changes_that_wait() {
        let folder = tempfile::tempdir().unwrap();
        let Opened { registry, .. } = Registry::open(Config::new(folder.path())).await.unwrap();
        let begin = |kind| Box::pin(Change::own(&registry, "test", kind));
        let first = begin(Kind::Change).await.unwrap();
        let (mut change, mut go, mut stop) = (begin(Kind::Change), begin(Kind::Go), begin(Kind::Stop));
        for waiting in [&mut change, &mut go, &mut stop] {
            assert!(waiting.now_or_never().is_none());
        }
        first.commit().await.unwrap();
        // Nobody asks for the others meanwhile: if it were one's turn before the stop, that would wait for ever.
        let stop = tokio::time::timeout(Duration::from_secs(60), stop).await.expect("its turn").unwrap();
        assert!((&mut change).now_or_never().is_none());
        stop.commit().await.unwrap();
        change.await.unwrap().commit().await.unwrap();
        go.await.unwrap().commit().await.unwrap();
        registry.close().await;
    }
}
