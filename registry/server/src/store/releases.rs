//! Releases: written once, then only reviewed and yanked.

use mpkg_fleet::ReleaseRef;
use mpkg_manifest::AppId;
use mpkg_package::{Digest, Hash, PublisherId};
use mpkg_registry_client::wire::Review;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Db, damaged, int, text, uint};

pub(crate) struct ReleaseRow {
    pub(crate) app: AppId,
    /// Whose app it is.
    pub(crate) publisher: PublisherId,
    pub(crate) release: ReleaseRef,
    pub(crate) signature: Vec<u8>,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) permissions: String,
    pub(crate) review: Review,
    pub(crate) review_reason: Option<String>,
    pub(crate) yanked: Option<String>,
    pub(crate) published: i64,
    pub(crate) published_by: String,
}

impl ReleaseRow {
    /// Whether it is shown and can be rolled out; otherwise why not.
    pub(crate) fn state(&self) -> &'static str {
        if self.yanked.is_some() { "yanked" } else { self.review.name() }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.yanked.is_none() && self.review == Review::Approved
    }
}

fn read(row: &SqliteRow) -> Result<ReleaseRow, sqlx::Error> {
    let sha256 = Hash::from_hex(row.try_get("sha256")?).ok_or_else(|| damaged("hash"))?;
    Ok(ReleaseRow {
        app: text(row.try_get("app")?, "app id")?,
        publisher: text(row.try_get("publisher")?, "publisher id")?,
        release: ReleaseRef {
            package: Digest { sha256, size: uint(row.try_get("size")?) },
            release_seq: uint(row.try_get("seq")?),
            version: text(row.try_get("version")?, "version")?,
        },
        signature: row.try_get("signature")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        permissions: row.try_get("permissions")?,
        review: text(row.try_get("review")?, "review")?,
        review_reason: row.try_get("review_reason")?,
        yanked: row.try_get("yanked")?,
        published: row.try_get("published")?,
        published_by: row.try_get("published_by")?,
    })
}

pub(crate) async fn insert_release(db: &mut Db, it: &ReleaseRow) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO releases (app, seq, version, sha256, size, signature, name, description, permissions, \
               review, published, published_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    sqlx::query(sql)
        .bind(it.app.as_str())
        .bind(int(it.release.release_seq))
        .bind(it.release.version.to_string())
        .bind(it.release.package.sha256.to_string())
        .bind(int(it.release.package.size))
        .bind(&it.signature)
        .bind(&it.name)
        .bind(&it.description)
        .bind(&it.permissions)
        .bind(it.review.name())
        .bind(it.published)
        .bind(&it.published_by)
        .execute(db)
        .await
        .map(|_| ())
}

pub(crate) async fn release(db: &mut Db, app: &AppId, seq: u64) -> Result<Option<ReleaseRow>, sqlx::Error> {
    let sql =
        "SELECT r.*, a.publisher FROM releases r JOIN apps a ON a.id = r.app WHERE r.app = ? AND r.seq = ?";
    let row = sqlx::query(sql).bind(app.as_str()).bind(int(seq)).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

/// All releases with these bytes: an app's package is one release, and nobody else can sign it.
pub(crate) async fn by_digest(db: &mut Db, hash: Hash) -> Result<Vec<ReleaseRow>, sqlx::Error> {
    let sql = "SELECT r.*, a.publisher FROM releases r JOIN apps a ON a.id = r.app WHERE r.sha256 = ? \
               ORDER BY r.app, r.seq";
    let rows = sqlx::query(sql).bind(hash.to_string()).fetch_all(db).await?;
    rows.iter().map(read).collect()
}

/// How many releases of an app lie from one to the other, the later one included.
pub(crate) async fn apart(db: &mut Db, app: &AppId, one: u64, other: u64) -> Result<i64, sqlx::Error> {
    let sql = "SELECT COUNT(*) FROM releases WHERE app = ? AND seq > ? AND seq <= ?";
    let query =
        sqlx::query_scalar(sql).bind(app.as_str()).bind(int(one.min(other))).bind(int(one.max(other)));
    query.fetch_one(db).await
}

/// Releases of an app below a sequence, the newest first.
pub(crate) async fn releases(
    db: &mut Db,
    app: &AppId,
    below: u64,
    limit: i64,
    hidden: bool,
) -> Result<Vec<ReleaseRow>, sqlx::Error> {
    let sql = "SELECT r.*, a.publisher FROM releases r JOIN apps a ON a.id = r.app WHERE r.app = ? AND r.seq < ? \
               AND (? OR (r.yanked IS NULL AND r.review = 'approved')) ORDER BY r.seq DESC LIMIT ?";
    let query = sqlx::query(sql).bind(app.as_str()).bind(int(below)).bind(hidden).bind(limit);
    query.fetch_all(db).await?.iter().map(read).collect()
}

/// The newest open release of each app whose id, name or description holds the text, by app.
pub(crate) async fn search(
    db: &mut Db,
    wanted: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<ReleaseRow>, sqlx::Error> {
    let sql = "SELECT r.*, a.publisher FROM releases r JOIN apps a ON a.id = r.app WHERE r.app > ? AND r.yanked IS NULL AND r.review = 'approved' \
               AND r.seq = (SELECT MAX(n.seq) FROM releases n WHERE n.app = r.app AND n.yanked IS NULL \
               AND n.review = 'approved') \
               AND (lower(r.app) LIKE ? ESCAPE '!' OR lower(r.name) LIKE ? ESCAPE '!' \
               OR lower(r.description) LIKE ? ESCAPE '!') ORDER BY r.app LIMIT ?";
    let mut like = String::from("%");
    for letter in wanted.to_lowercase().chars() {
        // A search for "100%" is not one for everything.
        if matches!(letter, '%' | '_' | '!') {
            like.push('!');
        }
        like.push(letter);
    }
    like.push('%');
    let query = sqlx::query(sql).bind(after).bind(&like).bind(&like).bind(&like).bind(limit);
    query.fetch_all(db).await?.iter().map(read).collect()
}

pub(crate) async fn set_review(
    db: &mut Db,
    app: &AppId,
    seq: u64,
    review: Review,
    reason: &str,
) -> Result<(), sqlx::Error> {
    let sql = "UPDATE releases SET review = ?, review_reason = ? WHERE app = ? AND seq = ?";
    let query = sqlx::query(sql).bind(review.name()).bind(reason).bind(app.as_str()).bind(int(seq));
    query.execute(db).await.map(|_| ())
}

pub(crate) async fn yank(db: &mut Db, app: &AppId, seq: u64, reason: &str) -> Result<(), sqlx::Error> {
    let sql = "UPDATE releases SET yanked = ? WHERE app = ? AND seq = ? AND yanked IS NULL";
    sqlx::query(sql).bind(reason).bind(app.as_str()).bind(int(seq)).execute(db).await.map(|_| ())
}
