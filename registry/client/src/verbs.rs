//! One function for each route.

use mpkg_fleet::{Batch, Forecast, KillId, limits};
use mpkg_manifest::AppId;
use mpkg_package::{Digest, Hash, PublisherId};
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::ClientError;
use crate::request::{Body, Client, Versioned};
use crate::wire::{
    AppLimits, AppView, Approved, AuditEntry, AuditReport, Because, Commanded, Drill, EvidenceView,
    HowToAdvance, KillView, Minute, NewApp, NewDisabled, NewFloor, NewKill, NewReview, NewRollback,
    NewRollout, NewToken, Nothing, Page, Paging, ProposedChange, PublisherView, Received, ReleaseView,
    RolloutView, Status, TokenMade, TokenView, TrafficQuery,
};

/// The patch is not made yet.
const MAKING: &str = "MPKG-P39";

type Result<T> = std::result::Result<T, ClientError>;

fn body(value: &impl Serialize) -> Body {
    // Wire types are maps with string keys, which always serialize.
    Body::Json(serde_json::to_value(value).unwrap_or(Value::Null))
}

impl Client {
    async fn list<T: DeserializeOwned>(&self, segments: &[&str], paging: &Paging) -> Result<Page<T>> {
        let (limit, all) = (paging.limit.map(|it| it.to_string()), paging.all.map(|it| it.to_string()));
        let pairs = [("after", &paging.after), ("limit", &limit), ("q", &paging.q), ("all", &all)];
        let query: Vec<_> =
            pairs.iter().filter_map(|(name, value)| value.as_deref().map(|value| (*name, value))).collect();
        self.get(segments, &query).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        value: &impl Serialize,
    ) -> Result<Versioned<T>> {
        self.change(Method::POST, segments, None, body(value)).await
    }

    /// The fleet at a glance.
    pub async fn status(&self) -> Result<Status> {
        self.get(&["v1", "status"], &[]).await
    }

    /// Makes a token.
    pub async fn make_token(&self, new: &NewToken) -> Result<TokenMade> {
        Ok(self.post(&["v1", "tokens"], new).await?.value)
    }

    /// Lists tokens.
    pub async fn tokens(&self, paging: &Paging) -> Result<Page<TokenView>> {
        self.list(&["v1", "tokens"], paging).await
    }

    /// The token that asks.
    pub async fn own_token(&self) -> Result<TokenView> {
        self.get(&["v1", "token"], &[]).await
    }

    /// Revokes a token, by its public part.
    pub async fn revoke_token(&self, id: &str) -> Result<TokenView> {
        Ok(self.post(&["v1", "tokens", id, "revoke"], &Nothing {}).await?.value)
    }

    /// Lists who changed what.
    pub async fn audit(&self, paging: &Paging) -> Result<Page<AuditEntry>> {
        self.list(&["v1", "audit"], paging).await
    }

    /// Has the registry follow its audit log's chain.
    pub async fn verify_audit(&self) -> Result<AuditReport> {
        self.get(&["v1", "audit", "verify"], &[]).await
    }

    /// Registers a publisher's root file, or a newer one.
    pub async fn put_roots(&self, publisher: PublisherId, file: Vec<u8>) -> Result<PublisherView> {
        let id = publisher.to_string();
        let segments = ["v1", "publishers", &id, "roots"];
        Ok(self.change(Method::PUT, &segments, None, Body::Bytes(file.into())).await?.value)
    }

    /// A publisher's root file.
    pub async fn roots(&self, publisher: PublisherId) -> Result<Vec<u8>> {
        let id = publisher.to_string();
        self.read(&["v1", "publishers", &id, "roots"], mpkg_package::limits::ROOT_FILE).await
    }

    /// Lists publishers.
    pub async fn publishers(&self, paging: &Paging) -> Result<Page<PublisherView>> {
        self.list(&["v1", "publishers"], paging).await
    }

    /// Claims an app for a publisher.
    pub async fn claim(&self, new: &NewApp) -> Result<AppView> {
        Ok(self.post(&["v1", "apps"], new).await?.value)
    }

    /// Lists apps.
    pub async fn apps(&self, paging: &Paging) -> Result<Page<AppView>> {
        self.list(&["v1", "apps"], paging).await
    }

    /// An app.
    pub async fn app(&self, app: &AppId) -> Result<AppView> {
        self.get(&["v1", "apps", app.as_str()], &[]).await
    }

    /// Finds apps.
    pub async fn search(&self, paging: &Paging) -> Result<Page<ReleaseView>> {
        self.list(&["v1", "search"], paging).await
    }

    /// Publishes a signed package.
    pub async fn publish(&self, app: &AppId, package: Vec<u8>) -> Result<ReleaseView> {
        let segments = ["v1", "apps", app.as_str(), "releases"];
        Ok(self.change(Method::POST, &segments, None, Body::Bytes(package.into())).await?.value)
    }

    /// Lists an app's releases.
    pub async fn releases(&self, app: &AppId, paging: &Paging) -> Result<Page<ReleaseView>> {
        self.list(&["v1", "apps", app.as_str(), "releases"], paging).await
    }

    /// A release.
    pub async fn release(&self, app: &AppId, release_seq: u64) -> Result<ReleaseView> {
        self.get(&["v1", "apps", app.as_str(), "releases", &release_seq.to_string()], &[]).await
    }

    /// Hides a release.
    pub async fn yank(&self, app: &AppId, release_seq: u64, because: &Because) -> Result<ReleaseView> {
        let seq = release_seq.to_string();
        Ok(self.post(&["v1", "apps", app.as_str(), "releases", &seq, "yank"], because).await?.value)
    }

    /// Approves or rejects a release.
    pub async fn review(&self, app: &AppId, release_seq: u64, review: &NewReview) -> Result<ReleaseView> {
        let seq = release_seq.to_string();
        Ok(self.post(&["v1", "apps", app.as_str(), "releases", &seq, "review"], review).await?.value)
    }

    /// A package, and the signature to verify it with. Its digest is checked here, its signature is not.
    pub async fn package(&self, digest: Digest) -> Result<(Vec<u8>, Vec<u8>)> {
        let sha256 = digest.sha256.to_string();
        let limit = usize::try_from(digest.size).unwrap_or(usize::MAX).min(mpkg_package::limits::PACKAGE);
        let package = self.read(&["v1", "packages", &sha256], limit).await?;
        let found = Digest::of(&package);
        if found != digest {
            return Err(ClientError::Package { found });
        }
        let signature = self.signature(digest.sha256).await?;
        Ok((package, signature))
    }

    /// The detached signature of a package, for `mpkg_package::verify_detached`.
    pub async fn signature(&self, sha256: Hash) -> Result<Vec<u8>> {
        let sha256 = sha256.to_string();
        self.read(&["v1", "packages", &sha256, "signature"], mpkg_package::limits::BLOCK).await
    }

    /// The patch that makes a package from another, for [`crate::delta::apply`]; none where the registry has none, or
    /// has none in time. Nothing longer than the package itself is read.
    pub async fn delta(&self, from: Hash, to: Digest) -> Result<Option<Vec<u8>>> {
        let limit = usize::try_from(to.size).unwrap_or(usize::MAX).min(mpkg_package::limits::PACKAGE);
        let (sha256, from) = (to.sha256.to_string(), from.to_string());
        match self.read(&["v1", "packages", &sha256, "delta", &from], limit).await {
            Ok(patch) => Ok(Some(patch)),
            // Neither package nor patch, or a registry that knows no patches: the whole package is asked for next, and
            // whatever is wrong is said then.
            Err(ClientError::Refused { status: 404, .. }) => Ok(None),
            Err(error) if error.code() == Some(MAKING) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest fleet head, for `Fleet::accept_head`.
    pub async fn head(&self) -> Result<Vec<u8>> {
        self.read(&["v1", "state", "head"], limits::envelope(limits::FLEET_HEAD)).await
    }

    /// The newest state of an app, for `Fleet::accept_app`.
    pub async fn state(&self, app: &AppId) -> Result<Vec<u8>> {
        self.read(&["v1", "state", "apps", app.as_str()], limits::envelope(limits::APP_STATE)).await
    }

    /// The registry's roots, for `Fleet::accept_roots`.
    pub async fn registry_roots(&self) -> Result<Vec<u8>> {
        self.read(&["v1", "state", "roots"], mpkg_package::limits::BLOCK).await
    }

    /// Gives the registry a newer root file.
    pub async fn put_registry_roots(&self, file: Vec<u8>) -> Result<()> {
        let answer =
            self.change(Method::PUT, &["v1", "state", "roots"], None, Body::Bytes(file.into())).await?;
        let Nothing {} = answer.value;
        Ok(())
    }

    /// Drafts a rollout.
    pub async fn draft(&self, app: &AppId, new: &NewRollout) -> Result<Versioned<RolloutView>> {
        self.post(&["v1", "apps", app.as_str(), "rollouts"], new).await
    }

    /// Lists an app's rollouts.
    pub async fn rollouts(&self, app: &AppId, paging: &Paging) -> Result<Page<RolloutView>> {
        self.list(&["v1", "apps", app.as_str(), "rollouts"], paging).await
    }

    /// A rollout, with what it takes to command it.
    pub async fn rollout(&self, id: i64) -> Result<Versioned<RolloutView>> {
        let url = self.url(&["v1", "rollouts", &id.to_string()], &[]);
        crate::request::versioned(self.send(Method::GET, url, None, Body::None).await?).await
    }

    /// What a rollout's plan can detect, and how long it takes.
    pub async fn plan(&self, id: i64, traffic: TrafficQuery) -> Result<Forecast> {
        let (per_day, devices) = (traffic.devices_per_day.to_string(), traffic.devices.to_string());
        let query = [("devices_per_day", per_day.as_str()), ("devices", devices.as_str())];
        self.get(&["v1", "rollouts", &id.to_string(), "plan"], &query).await
    }

    /// What gates would decide now; nothing for a rollout that is on no step.
    pub async fn gate(&self, id: i64) -> Result<Option<mpkg_fleet::Evidence>> {
        self.get(&["v1", "rollouts", &id.to_string(), "gate"], &[]).await
    }

    /// What gates decided.
    pub async fn evidence(&self, id: i64, paging: &Paging) -> Result<Page<EvidenceView>> {
        self.list(&["v1", "rollouts", &id.to_string(), "evidence"], paging).await
    }

    /// One record of that, decided again.
    pub async fn replay_evidence(&self, id: i64, number: i64) -> Result<EvidenceView> {
        self.get(&["v1", "rollouts", &id.to_string(), "evidence", &number.to_string()], &[]).await
    }

    /// An app's floor and disabled packages.
    pub async fn limits(&self, app: &AppId) -> Result<Versioned<AppLimits>> {
        let url = self.url(&["v1", "apps", app.as_str(), "limits"], &[]);
        crate::request::versioned(self.send(Method::GET, url, None, Body::None).await?).await
    }

    /// Raises an app's floor, for ever.
    pub async fn raise_floor(&self, app: &AppId, floor: &NewFloor) -> Result<Versioned<AppLimits>> {
        self.post(&["v1", "apps", app.as_str(), "floor"], floor).await
    }

    /// Disables a package.
    pub async fn disable(&self, app: &AppId, package: &NewDisabled) -> Result<Versioned<AppLimits>> {
        self.post(&["v1", "apps", app.as_str(), "disable"], package).await
    }

    /// Enables a disabled package again, where the limits are at this version.
    pub async fn enable(
        &self,
        app: &AppId,
        sha256: Hash,
        etag: &str,
        because: &Because,
    ) -> Result<Versioned<AppLimits>> {
        let segments = ["v1", "apps", app.as_str(), "disabled", &sha256.to_string(), "enable"];
        self.change(Method::POST, &segments, Some(etag), body(because)).await
    }

    async fn go(
        &self,
        id: i64,
        verb: &str,
        etag: &str,
        value: &impl Serialize,
    ) -> Result<Versioned<Commanded>> {
        self.change(Method::POST, &["v1", "rollouts", &id.to_string(), verb], Some(etag), body(value)).await
    }

    async fn halt_by(&self, id: i64, verb: &str, value: &impl Serialize) -> Result<Versioned<Commanded>> {
        self.post(&["v1", "rollouts", &id.to_string(), verb], value).await
    }

    /// Starts a rollout that is at this version.
    pub async fn start(&self, id: i64, etag: &str) -> Result<Versioned<Commanded>> {
        self.go(id, "start", etag, &Nothing {}).await
    }

    /// Goes to the next step.
    pub async fn advance(&self, id: i64, etag: &str, how: &HowToAdvance) -> Result<Versioned<Commanded>> {
        self.go(id, "advance", etag, how).await
    }

    /// Goes on.
    pub async fn resume(&self, id: i64, etag: &str) -> Result<Versioned<Commanded>> {
        self.go(id, "resume", etag, &Nothing {}).await
    }

    /// Makes the release everybody's.
    pub async fn complete(&self, id: i64, etag: &str) -> Result<Versioned<Commanded>> {
        self.go(id, "complete", etag, &Nothing {}).await
    }

    /// Stays on the step.
    pub async fn hold(&self, id: i64, because: &Because) -> Result<Versioned<Commanded>> {
        self.halt_by(id, "hold", because).await
    }

    /// Nobody new.
    pub async fn halt(&self, id: i64, because: &Because) -> Result<Versioned<Commanded>> {
        self.halt_by(id, "halt", because).await
    }

    /// Everybody back.
    pub async fn roll_back(&self, id: i64, back: &NewRollback) -> Result<Versioned<Commanded>> {
        self.halt_by(id, "rollback", back).await
    }

    /// Agrees to a change as it is.
    pub async fn approve(&self, change: &ProposedChange) -> Result<Approved> {
        Ok(self.post(&["v1", "approvals"], change).await?.value)
    }

    /// Switches something off. What is off at this level and scope already is given back.
    pub async fn kill(&self, kill: &NewKill) -> Result<Versioned<KillView>> {
        self.post(&["v1", "kills"], kill).await
    }

    /// Whom a kill would hit.
    pub async fn drill(&self, kill: &NewKill) -> Result<Drill> {
        Ok(self.post(&["v1", "kills", "drill"], kill).await?.value)
    }

    /// Lists kills.
    pub async fn kills(&self, paging: &Paging) -> Result<Page<KillView>> {
        self.list(&["v1", "kills"], paging).await
    }

    /// A kill, with what it takes to lift it.
    pub async fn find_kill(&self, id: KillId) -> Result<Versioned<KillView>> {
        let url = self.url(&["v1", "kills", &id.to_string()], &[]);
        crate::request::versioned(self.send(Method::GET, url, None, Body::None).await?).await
    }

    /// Ends a kill that is at this version.
    pub async fn lift(&self, id: KillId, etag: &str, because: &Because) -> Result<Versioned<KillView>> {
        self.change(Method::POST, &["v1", "kills", &id.to_string(), "lift"], Some(etag), body(because)).await
    }

    /// Reports telemetry. It is committed when this returns, and may be sent again when it does not.
    pub async fn report(&self, batch: &Batch) -> Result<Received> {
        let bytes = Body::Bytes(batch.to_bytes().into());
        Ok(self.change(Method::POST, &["v1", "telemetry"], None, bytes).await?.value)
    }

    /// What came in about an app, minute by minute.
    pub async fn telemetry(&self, app: &AppId, minutes: u32) -> Result<Page<Minute>> {
        let minutes = minutes.to_string();
        self.get(&["v1", "apps", app.as_str(), "telemetry"], &[("minutes", &minutes)]).await
    }
}
