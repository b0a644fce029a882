//! The hosts of one process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use mpkg_registry_client::Client;
use tokio::task::JoinHandle;

use super::error::DemoError;
use super::member::Member;
use super::message::{Ask, Seed, Setup, Told};
use super::simulated::{Common, Library};
use super::system::{raise_files, resident};

/// Hosts that do something expensive at the same time.
const TOGETHER: usize = 32;
/// How often a host that downloads is looked at.
const PAUSE: Duration = Duration::from_millis(10);

/// Some hosts.
#[derive(Default)]
pub(super) struct Group {
    members: Vec<Arc<Member>>,
    wanting: Option<JoinHandle<()>>,
    /// What went wrong beside a question.
    trouble: Arc<Mutex<Option<DemoError>>>,
}

impl Group {
    /// Does, or tells, what it is asked.
    pub(super) async fn ask(&mut self, ask: Ask) -> Result<Told, DemoError> {
        if let Some(trouble) = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(trouble);
        }
        match ask {
            Ask::Start(setup) => {
                raise_files();
                self.start(*setup).await
            }
            Ask::Want => {
                let (members, trouble) = (self.members.clone(), self.trouble.clone());
                self.wanting = Some(tokio::spawn(async move {
                    if let Err(error) = want(&members).await {
                        *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    }
                }));
                Ok(Told::Done)
            }
            Ask::Look => {
                let looks = stream::iter(&self.members).then(|member| member.look());
                Ok(Told::Looks(looks.try_collect().await?))
            }
            Ask::Use { report } => {
                let uses = stream::iter(&self.members).map(|member| member.use_app(report));
                Ok(Told::Used(uses.buffered(TOGETHER).try_collect().await?))
            }
            Ask::Report => {
                let reports = stream::iter(&self.members).map(|member| member.report());
                reports.buffered(TOGETHER).try_collect::<()>().await?;
                Ok(Told::Done)
            }
            Ask::Restart { hosts } => {
                for member in self.members.iter().take(hosts) {
                    member.restart().await?;
                }
                Ok(Told::Done)
            }
            Ask::UseOther => {
                for member in self.members.iter().filter(|member| member.is_real()) {
                    member.use_other().await?;
                }
                Ok(Told::Done)
            }
            Ask::Memory => Ok(Told::Memory(resident())),
        }
    }

    /// Gives the memory of the process when it had no host yet that only acts as if.
    async fn start(&mut self, setup: Setup) -> Result<Told, DemoError> {
        let setup = Arc::new(setup);
        let client = Client::new(&setup.address, None)?;
        let library = Library::default();
        let common = Arc::new(Common { app: setup.app.clone(), crashes: setup.crashes, library });
        let member = |index: usize, seed: &Seed| {
            let common = (index >= setup.real).then(|| common.clone());
            Member::start(setup.clone(), seed.clone(), &client, common)
        };
        let mut members = Vec::with_capacity(setup.hosts.len());
        for (index, seed) in setup.hosts.iter().enumerate().take(setup.real) {
            members.push(Arc::new(member(index, seed).await?));
        }
        let before = resident();
        let rest = setup.hosts.iter().enumerate().skip(setup.real);
        let rest = stream::iter(rest.map(|(index, seed)| member(index, seed))).buffered(TOGETHER);
        members.extend(rest.map_ok(Arc::new).try_collect::<Vec<_>>().await?);
        self.members = members;
        Ok(Told::Memory(before))
    }

    /// Ends all agents.
    pub(super) async fn shutdown(self) {
        if let Some(wanting) = self.wanting {
            wanting.abort();
        }
        let members = stream::iter(&self.members);
        members.for_each_concurrent(TOGETHER, |member| member.shutdown()).await;
    }
}

/// A few at a time, as users come to an app: the whole package is what most of them download.
async fn want(members: &[Arc<Member>]) -> Result<(), DemoError> {
    let wanting = stream::iter(members).map(Ok);
    wanting
        .try_for_each_concurrent(TOGETHER, |member| async move {
            member.want().await?;
            // Whether it comes in time is for the story to say.
            while !member.has_all().await? {
                tokio::time::sleep(PAUSE).await;
            }
            Ok(())
        })
        .await
}
