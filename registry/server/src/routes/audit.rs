//! The audit log.

use std::sync::Arc;

use axum::extract::State;

use super::{Part, Route};
use crate::audit;
use crate::auth::Access;
use crate::call::{Answer, Call, ok};
use crate::registry::Registry;
use crate::store::uint;
use mpkg_registry_client::wire::AuditReport;
use mpkg_registry_client::wire::Role;
use mpkg_registry_client::wire::{AuditEntry, Page, Paging};

pub(super) fn routes() -> Vec<Route> {
    let admin = Access::Roles(&[Role::Admin]);
    vec![
        Route::get("/v1/audit", admin, list)
            .says("Who changed what, the oldest first.")
            .query::<Paging>()
            .answer::<Page<AuditEntry>>(),
        Route::get("/v1/audit/verify", admin, verify)
            .says("Follows the chain of hashes from the first entry to the last.")
            .answer::<AuditReport>(),
    ]
}

async fn list(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let paging: Paging = call.query()?;
    let mut db = registry.store.read.acquire().await?;
    let items = audit::list(&mut db, uint(paging.number()?.unwrap_or_default()), paging.limit()).await?;
    let next = paging.next(&items, |entry| entry.seq.to_string());
    ok(&Page { items, next })
}

async fn verify(State(registry): State<Arc<Registry>>) -> Answer {
    ok(&registry.verify_audit().await?)
}
