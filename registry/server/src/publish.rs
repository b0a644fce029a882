//! Taking a release in: received into a file, verified whole, stored by digest, then named by a row.

use std::io::{Seek, Write};
use std::sync::Arc;

use axum::http::StatusCode;
use mpkg_fleet::ReleaseRef;
use mpkg_manifest::AppId;
use mpkg_package::{Floors, Hash, Trust, Verified, limits, verify};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::call::{Answer, Call};
use crate::change::Begun;
use crate::failure::{Failure, Refusal};
use crate::keys::continues;
use crate::registry::Registry;
use crate::routes::apps::in_scope;
use crate::store::{Blobs, ReleaseRow, apps, blobs, releases, to_json};
use mpkg_registry_client::wire::Review;

/// Bytes that go to the disk at once: connections hand out a few KiB at a time.
const PART: usize = 256 << 10;

/// Receives a body into a file, and gives its hash. Nobody waits for a disk on a thread that others need.
async fn receive(registry: &Registry, call: &mut Call) -> Result<(NamedTempFile, Hash), Failure> {
    let mut chunks = call.chunks(limits::SIGNED)?;
    let mut file = registry.store.blobs.receive()?;
    let mut hasher = Sha256::new();
    let mut part = Vec::with_capacity(PART);
    loop {
        let chunk = chunks.next().await?;
        part.extend_from_slice(chunk.as_deref().unwrap_or_default());
        if chunk.is_some() && part.len() < PART {
            continue;
        }
        (file, hasher, part) = tokio::task::spawn_blocking(move || {
            hasher.update(&part);
            file.write_all(&part)?;
            part.clear();
            Ok::<_, std::io::Error>((file, hasher, part))
        })
        .await
        .map_err(|error| Failure::internal(&error))??;
        if chunk.is_none() {
            return Ok((file, Hash(hasher.finalize().into())));
        }
    }
}

/// Section 4 of the format: root chain, signatures, digest, container, manifest, component, grant. What is verified is
/// then in a file of its own, on the disk: a change that wrote it would have everybody wait who wants to stop something.
fn check(
    mut file: NamedTempFile,
    trust: &Trust,
    store: &Blobs,
) -> Result<(Verified, NamedTempFile), Failure> {
    file.rewind()?;
    let bytes = blobs::read(file.as_file_mut())?;
    drop(file);
    let verified = verify(bytes, trust)?;
    let package = store.write(verified.package())?;
    Ok((verified, package))
}

pub(crate) async fn publish(registry: &Arc<Registry>, mut call: Call) -> Answer {
    let app_id: AppId = call.param("app_id")?;
    let mut db = registry.store.read.acquire().await?;
    let app = in_scope(&mut db, &call.caller, &app_id).await?;
    let publisher =
        apps::publisher(&mut db, app.publisher).await?.ok_or(Refusal::NoPublisher(app.publisher))?;
    drop(db);

    let (file, body) = receive(registry, &mut call).await?;
    // Verifying takes the whole package into memory, so few do it at once; they wait with a file, not with memory.
    let place = registry.verifying.acquire().await.map_err(|_| Refusal::Stopping)?;
    let (trust, blobs) = (Trust::chain(&publisher.chain), registry.store.blobs.clone());
    let verified = tokio::task::spawn_blocking(move || check(file, &trust, &blobs));
    let (verified, package) = verified.await.map_err(|error| Failure::internal(&error))??;
    if verified.statement().app_id != app_id.as_str() {
        let reason = format!("the package is of {}", verified.statement().app_id);
        return Err(Refusal::Parameter { name: "app_id".into(), reason }.into());
    }

    let mut change = match call.begin(registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    // As things stand now: since the beginning, another release or root may have come.
    let app = apps::app(change.db(), &app_id).await?.ok_or_else(|| Refusal::NoApp(app_id.clone()))?;
    let known =
        apps::publisher(change.db(), app.publisher).await?.ok_or(Refusal::NoPublisher(app.publisher))?;
    let release_seq = verified.statement().release_seq;
    if release_seq <= app.newest_seq {
        return Err(Refusal::Sequence { app: app_id, found: release_seq, newest: app.newest_seq }.into());
    }
    if !continues(&known.chain, verified.roots()) {
        return Err(Refusal::Chain { known: known.chain.last().version() }.into());
    }
    let floors = Floors { root_version: known.chain.last().version(), grant_version: app.grant_version };
    let floors = floors.admit(&verified, Some(registry.time()?))?;
    if verified.roots().len() > known.chain.len() {
        apps::put_publisher(change.db(), verified.roots(), known.registered).await?;
    }
    apps::set_floors(change.db(), &app_id, release_seq, floors.grant_version).await?;
    let manifest = verified.manifest();
    let row = ReleaseRow {
        app: app_id,
        publisher: app.publisher,
        release: ReleaseRef {
            package: verified.digest(),
            release_seq,
            version: verified
                .statement()
                .version
                .parse()
                .map_err(|error: semver::Error| Failure::internal(&error))?,
        },
        signature: verified.block().to_bytes(),
        name: manifest.name.to_string(),
        description: manifest.description.as_ref().map(ToString::to_string).unwrap_or_default(),
        permissions: to_json(&verified.statement().permissions)?,
        review: if registry.config.review { Review::Pending } else { Review::Approved },
        review_reason: None,
        yanked: None,
        published: change.at.unix(),
        published_by: change.caller.owner.clone(),
    };
    let hash = row.release.package.sha256;
    releases::insert_release(change.db(), &row).await?;
    let subject = format!("{}@{release_seq}", row.app);
    change.audit("release.publish", &subject, &serde_json::json!({ "package": row.release.package })).await?;

    // The file is durable before the row that names it is: a crash in between leaves a file that nothing names, which
    // the next start removes, and never a release without its package.
    let blobs = registry.store.blobs.clone();
    let stored = tokio::task::spawn_blocking(move || blobs.store(hash, package));
    stored.await.map_err(|error| Failure::internal(&error))??;
    drop((verified, place));
    let view = crate::routes::releases::view(&row)?;
    let answer = change.done(StatusCode::CREATED, &view).await?;
    registry.prepare(row.app, release_seq, hash);
    Ok(answer)
}
