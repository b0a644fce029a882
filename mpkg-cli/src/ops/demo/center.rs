//! The registry, and the person who commands it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mpkg_fleet::{KillScope, Level, Plan};
use mpkg_manifest::{AppId, Text};
use mpkg_package::{PublisherId, Time};
use mpkg_registry::{Config, Opened, Registry, Running};
use mpkg_registry_client::wire::{
    Because, EvidenceView, NewApp, NewKill, NewRollout, Paging, ReleaseView, Role, RolloutView, TokenView,
};
use mpkg_registry_client::{Client, ClientError, Versioned};

use super::error::DemoError;
use super::message::Seed;
use super::packages::Packages;
use crate::ops::remote::watch::{Glimpse, MINUTES};

/// Tokens that are made in one transaction.
const TOKENS: usize = 500;

/// A registry in this process.
pub(super) struct Center {
    config: Config,
    running: Option<Running>,
    address: SocketAddr,
    registry: PublisherId,
    pub(super) client: Client,
}

impl Center {
    /// Makes a registry in this folder, and so many hosts' tokens.
    pub(super) async fn open(folder: PathBuf, hosts: usize) -> Result<(Self, Vec<Seed>), DemoError> {
        let config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            // A story is told in a minute, not in a day.
            gates_every: Duration::from_millis(500),
            drain: Duration::from_secs(2),
            connections: (hosts * 3).max(16_384),
            ..Config::new(folder)
        };
        let Opened { registry, first_token } = open(&config).await?;
        let seeds = seeds(&registry, hosts).await?;
        let (id, token) = (registry.id(), first_token.unwrap_or_default());
        let running = serve(registry).await?;
        let address = running.address;
        let client = Client::new(&format!("http://{address}"), Some(&token))?;
        // The same one when it comes back: that is where the hosts look for it.
        let config = Config { listen: address, ..config };
        Ok((Self { config, running: Some(running), address, registry: id, client }, seeds))
    }

    /// Where it listens.
    pub(super) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What hosts pin.
    pub(super) fn id(&self) -> PublisherId {
        self.registry
    }

    /// Takes it down.
    pub(super) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Brings it up again where it was.
    pub(super) async fn restart(&mut self) -> Result<(), DemoError> {
        let Opened { registry, .. } = open(&self.config).await?;
        self.running = Some(serve(registry).await?);
        Ok(())
    }

    /// Registers the publisher, claims both apps and publishes the first releases.
    pub(super) async fn claim(&self, packages: &Packages) -> Result<(), DemoError> {
        let publisher = packages.publisher;
        self.client.put_roots(publisher, packages.roots.clone()).await?;
        for app in [&packages.app, &packages.other] {
            self.client.claim(&NewApp { app_id: app.clone(), publisher }).await?;
        }
        Ok(())
    }

    pub(super) async fn publish(&self, app: &AppId, signed: &[u8]) -> Result<ReleaseView, DemoError> {
        Ok(self.client.publish(app, signed.to_vec()).await?)
    }

    /// Drafts a rollout.
    pub(super) async fn draft(
        &self,
        app: &AppId,
        release_seq: u64,
        plan: Plan,
        allow: Vec<String>,
    ) -> Result<Versioned<RolloutView>, DemoError> {
        let targeting = Default::default();
        let new = NewRollout { release_seq, plan, targeting, allow, automatic: true };
        Ok(self.client.draft(app, &new).await?)
    }

    /// Makes a release everybody's at once, as the first of an app is.
    pub(super) async fn give_all(&self, app: &AppId, release_seq: u64) -> Result<(), DemoError> {
        let all = mpkg_fleet::Step { percent: mpkg_fleet::BasisPoints::ALL, bake_s: 0, min_votes: 0 };
        let plan = Plan::new(vec![all]).map_err(|error| DemoError::Registry(error.to_string()))?;
        let draft = self.draft(app, release_seq, plan, Vec::new()).await?;
        let started = self.client.start(draft.value.id, &draft.etag).await?;
        self.client.complete(draft.value.id, &started.etag).await?;
        Ok(())
    }

    /// A rollout as it stands, as one sees it.
    pub(super) async fn glimpse(&self, view: RolloutView) -> Result<Glimpse, DemoError> {
        let gate = self.client.gate(view.id).await?;
        let mut minutes = self.client.telemetry(&view.rollout.app, MINUTES).await?.items;
        minutes.retain(|minute| minute.release_seq == view.rollout.release.release_seq);
        Ok(Glimpse { at: now()?, view, gate, minutes })
    }

    /// What the gates decided about a rollout, the newest first.
    pub(super) async fn evidence(&self, rollout: i64) -> Result<Vec<EvidenceView>, DemoError> {
        let paging = Paging { limit: Some(200), ..Paging::default() };
        Ok(self.client.evidence(rollout, &paging).await?.items)
    }

    /// Stops an app where it runs.
    pub(super) fn kill_of(app: &AppId, reason: &str) -> Result<NewKill, DemoError> {
        let scope = KillScope { app: Some(app.clone()), ..KillScope::default() };
        Ok(NewKill { level: Level::Stop, scope, reason: text(reason)? })
    }

    pub(super) fn because(reason: &str) -> Result<Because, DemoError> {
        Ok(Because { reason: text(reason)? })
    }

    /// How many hosts listen, where the registry answers.
    pub(super) async fn listeners(&self) -> Result<usize, ClientError> {
        let status = self.client.status().await?;
        Ok(usize::try_from(status.listeners).unwrap_or_default())
    }
}

/// Now, as documents have it.
pub(super) fn now() -> Result<Time, DemoError> {
    let now = Time::from_unix(jiff::Timestamp::now().as_second());
    now.ok_or_else(|| DemoError::Registry("this machine's clock is outside of the years 0 to 9999".into()))
}

fn text(reason: &str) -> Result<Text<200>, DemoError> {
    reason.parse().map_err(|error| DemoError::Registry(format!("{error}")))
}

async fn open(config: &Config) -> Result<Opened, DemoError> {
    Registry::open(config.clone()).await.map_err(|error| DemoError::Registry(error.to_string()))
}

async fn serve(registry: std::sync::Arc<Registry>) -> Result<Running, DemoError> {
    mpkg_registry::serve(registry).await.map_err(|error| DemoError::Registry(error.to_string()))
}

/// Hosts with a token each.
async fn seeds(registry: &Registry, hosts: usize) -> Result<Vec<Seed>, DemoError> {
    let created = now()?;
    let units: Vec<String> = (1..=hosts).map(|number| format!("demo-{number:04}")).collect();
    let mut seeds = Vec::with_capacity(hosts);
    for units in units.chunks(TOKENS) {
        let views: Vec<TokenView> = units.iter().map(|unit| token(unit, created)).collect();
        let tokens = registry.make_tokens(&views).await;
        let tokens = tokens.map_err(|error| DemoError::Registry(error.to_string()))?;
        let both = units.iter().cloned().zip(tokens);
        seeds.extend(both.map(|(unit, token)| Seed { unit, token }));
    }
    Ok(seeds)
}

fn token(owner: &str, created: Time) -> TokenView {
    TokenView {
        id: String::new(),
        owner: owner.to_owned(),
        roles: [Role::Host].into(),
        apps: Default::default(),
        publishers: Default::default(),
        created,
        created_by: "demo".into(),
        expires: None,
        revoked: None,
    }
}
