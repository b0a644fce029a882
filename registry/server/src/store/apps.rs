//! Publishers and the apps they claimed.

use mpkg_manifest::AppId;
use mpkg_package::{PublisherId, RootChain, RootFile};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Db, damaged, int, text, uint};

pub(crate) struct PublisherRow {
    pub(crate) id: PublisherId,
    pub(crate) chain: RootChain,
    pub(crate) registered: i64,
}

fn publisher_row(row: &SqliteRow) -> Result<PublisherRow, sqlx::Error> {
    let file = RootFile::parse(row.try_get("chain")?).map_err(|_| damaged("root chain"))?;
    Ok(PublisherRow {
        id: text(row.try_get("id")?, "publisher id")?,
        chain: file.chain().clone(),
        registered: row.try_get("registered")?,
    })
}

pub(crate) async fn publisher(db: &mut Db, id: PublisherId) -> Result<Option<PublisherRow>, sqlx::Error> {
    let row =
        sqlx::query("SELECT * FROM publishers WHERE id = ?").bind(id.to_string()).fetch_optional(db).await?;
    row.as_ref().map(publisher_row).transpose()
}

pub(crate) async fn publishers(
    db: &mut Db,
    after: &str,
    limit: i64,
) -> Result<Vec<PublisherRow>, sqlx::Error> {
    let sql = "SELECT * FROM publishers WHERE id > ? ORDER BY id LIMIT ?";
    let rows = sqlx::query(sql).bind(after).bind(limit).fetch_all(db).await?;
    rows.iter().map(publisher_row).collect()
}

pub(crate) async fn put_publisher(db: &mut Db, chain: &RootChain, at: i64) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO publishers (id, root_version, chain, registered) VALUES (?, ?, ?, ?) \
               ON CONFLICT (id) DO UPDATE SET root_version = excluded.root_version, chain = excluded.chain";
    sqlx::query(sql)
        .bind(chain.publisher().to_string())
        .bind(i64::from(chain.last().version()))
        .bind(RootFile::new(chain.clone()).to_bytes())
        .bind(at)
        .execute(db)
        .await
        .map(|_| ())
}

pub(crate) struct AppRow {
    pub(crate) id: AppId,
    pub(crate) publisher: PublisherId,
    pub(crate) claimed: i64,
    pub(crate) newest_seq: u64,
    pub(crate) grant_version: u64,
    pub(crate) min_seq: u64,
    pub(crate) in_charge: Option<i64>,
}

fn app_row(row: &SqliteRow) -> Result<AppRow, sqlx::Error> {
    Ok(AppRow {
        id: text(row.try_get("id")?, "app id")?,
        publisher: text(row.try_get("publisher")?, "publisher id")?,
        claimed: row.try_get("claimed")?,
        newest_seq: uint(row.try_get("newest_seq")?),
        grant_version: uint(row.try_get("grant_version")?),
        min_seq: uint(row.try_get("min_seq")?),
        in_charge: row.try_get("in_charge")?,
    })
}

pub(crate) async fn app(db: &mut Db, id: &AppId) -> Result<Option<AppRow>, sqlx::Error> {
    let row = sqlx::query("SELECT * FROM apps WHERE id = ?").bind(id.as_str()).fetch_optional(db).await?;
    row.as_ref().map(app_row).transpose()
}

pub(crate) async fn apps(db: &mut Db, after: &str, limit: i64) -> Result<Vec<AppRow>, sqlx::Error> {
    let sql = "SELECT * FROM apps WHERE id > ? ORDER BY id LIMIT ?";
    let rows = sqlx::query(sql).bind(after).bind(limit).fetch_all(db).await?;
    rows.iter().map(app_row).collect()
}

pub(crate) async fn claim(
    db: &mut Db,
    id: &AppId,
    publisher: PublisherId,
    at: i64,
) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO apps (id, publisher, claimed, newest_seq, grant_version, min_seq) VALUES (?, ?, ?, 0, 0, 0)";
    sqlx::query(sql).bind(id.as_str()).bind(publisher.to_string()).bind(at).execute(db).await.map(|_| ())
}

pub(crate) async fn set_floors(db: &mut Db, id: &AppId, newest: u64, grant: u64) -> Result<(), sqlx::Error> {
    let sql = "UPDATE apps SET newest_seq = ?, grant_version = ? WHERE id = ?";
    sqlx::query(sql).bind(int(newest)).bind(int(grant)).bind(id.as_str()).execute(db).await.map(|_| ())
}

pub(crate) async fn raise_floor(db: &mut Db, id: &AppId, min_seq: u64) -> Result<(), sqlx::Error> {
    let sql = "UPDATE apps SET min_seq = ? WHERE id = ? AND min_seq < ?";
    sqlx::query(sql).bind(int(min_seq)).bind(id.as_str()).bind(int(min_seq)).execute(db).await.map(|_| ())
}

pub(crate) async fn set_in_charge(db: &mut Db, id: &AppId, rollout: i64) -> Result<(), sqlx::Error> {
    let sql = "UPDATE apps SET in_charge = ? WHERE id = ?";
    sqlx::query(sql).bind(rollout).bind(id.as_str()).execute(db).await.map(|_| ())
}
