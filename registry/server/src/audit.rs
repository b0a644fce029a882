//! The audit log: who changed what, in a chain of hashes.
//!
//! An entry is written in the transaction of the change that it tells of, so there is none without the other. Each hash
//! is over the entry and the hash before it: whoever alters, drops or inserts an entry has to alter all that follow,
//! and then the newest hash is another one than somebody may have noted elsewhere.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::auth::Caller;
use crate::clock::time;
use crate::store::{Db, damaged, int, uint};
use mpkg_registry_client::wire::{AuditEntry, AuditReport};

fn read(row: &SqliteRow) -> Result<AuditEntry, sqlx::Error> {
    Ok(AuditEntry {
        seq: uint(row.try_get("seq")?),
        at: time(row.try_get("at")?).ok_or_else(|| damaged("time"))?,
        owner: row.try_get("owner")?,
        token: row.try_get("token")?,
        action: row.try_get("action")?,
        subject: row.try_get("subject")?,
        detail: row.try_get("detail")?,
        hash: row.try_get("hash")?,
    })
}

/// Adds an entry.
pub(crate) async fn append(
    db: &mut Db,
    at: i64,
    caller: &Caller,
    action: &str,
    subject: &str,
    detail: String,
) -> Result<(), sqlx::Error> {
    let newest =
        sqlx::query("SELECT * FROM audit ORDER BY seq DESC LIMIT 1").fetch_optional(&mut *db).await?;
    let (seq, before) = match &newest {
        Some(row) => (uint(row.try_get("seq")?) + 1, row.try_get::<String, _>("hash")?),
        None => (1, AuditEntry::START.to_owned()),
    };
    let entry = AuditEntry {
        seq,
        at: time(at).ok_or_else(|| damaged("time"))?,
        owner: caller.owner.clone(),
        token: caller.token.clone(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail,
        hash: String::new(),
    };
    let sql = "INSERT INTO audit (seq, at, owner, token, action, subject, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    sqlx::query(sql)
        .bind(int(seq))
        .bind(at)
        .bind(&entry.owner)
        .bind(&entry.token)
        .bind(&entry.action)
        .bind(&entry.subject)
        .bind(&entry.detail)
        .bind(entry.chained(&before).to_string())
        .execute(db)
        .await
        .map(|_| ())
}

/// Entries after a sequence, the oldest first.
pub(crate) async fn list(db: &mut Db, after: u64, limit: i64) -> Result<Vec<AuditEntry>, sqlx::Error> {
    let sql = "SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?";
    sqlx::query(sql).bind(int(after)).bind(limit).fetch_all(db).await?.iter().map(read).collect()
}

/// Follows the whole chain.
pub(crate) async fn verify(db: &mut Db) -> Result<AuditReport, sqlx::Error> {
    let mut report = AuditReport { entries: 0, head: AuditEntry::START.to_owned(), broken_at: None };
    loop {
        let page = list(&mut *db, report.entries, 1_000).await?;
        let Some(last) = page.last().map(|entry| entry.seq) else { return Ok(report) };
        for entry in &page {
            let follows = entry.seq == report.entries + 1;
            if !follows || entry.chained(&report.head).to_string() != entry.hash {
                report.broken_at = Some(report.entries + 1);
                return Ok(report);
            }
            report.entries = entry.seq;
            report.head.clone_from(&entry.hash);
        }
        debug_assert_eq!(last, report.entries);
    }
}
