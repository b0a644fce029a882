//! What a registry's signed state says to one host, about any release that the host may have.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mpkg_fleet::{Cause, Context, Decision, Effects, Fleet, ReleaseRef, Standing};
use mpkg_manifest::AppId;
use mpkg_manifest::permission::Risk;
use mpkg_package::Time;
use tokio::sync::{mpsc, oneshot};

/// How long a call of an app waits for news at most.
const REFRESH: Duration = Duration::from_secs(5);

/// Tells the time, or that it is not known.
pub type Clock = Arc<dyn Fn() -> Option<Time> + Send + Sync>;

/// Standing orders: what is known of the fleet, and who this host is in it. A device keeps the newest ones and asks them
/// about whatever it is about to do, so that what is not known to the one who made them is judged too: an instance of an
/// older release that still runs, a package from before.
#[derive(Clone)]
pub struct Orders {
    fleet: Arc<Fleet>,
    context: Arc<Context>,
    clock: Clock,
    refresh: mpsc::Sender<oneshot::Sender<()>>,
}

impl fmt::Debug for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.fleet.position();
        f.debug_struct("Orders").field("head", &head).field("unit", &self.context.unit).finish()
    }
}

impl Orders {
    /// Orders from what is known of the fleet. Whoever wants news sends a request through `refresh`, which is answered
    /// when the device has been given newer orders, or dropped when there are none.
    pub fn new(
        fleet: Arc<Fleet>,
        context: Arc<Context>,
        clock: Clock,
        refresh: mpsc::Sender<oneshot::Sender<()>>,
    ) -> Self {
        Self { fleet, context, clock, refresh }
    }

    /// Asks the registry for news, for whoever holds [`Standing::Refresh`]. If there is any, the device has got newer
    /// orders when this returns; without a network it returns soon.
    pub async fn refresh(&self) {
        let (done, answer) = oneshot::channel();
        // An agent that is gone, or that is asked by many at once, has no news.
        if self.refresh.try_send(done).is_ok() {
            let _ = tokio::time::timeout(REFRESH, answer).await;
        }
    }

    /// Why this release must not be launched; nothing if it may.
    pub fn causes(&self, app: &AppId, release: &ReleaseRef) -> Vec<Cause> {
        self.fleet.causes(app, &self.context, release)
    }

    /// What kills do to this release.
    pub fn effects(&self, app: &AppId, release: &ReleaseRef) -> Effects {
        self.fleet.effects(app, &self.context, release)
    }

    /// Which release to run where this one is installed, and why.
    pub fn decide(&self, app: &AppId, installed: Option<&ReleaseRef>) -> Decision {
        self.fleet.decide(app, &self.context, installed, (self.clock)())
    }

    /// How permissions of a risk class stand, by the age of what is known now.
    pub fn standing(&self, risk: Risk) -> Standing {
        self.fleet.staleness().standing(risk, self.fleet.age_s((self.clock)()))
    }

    /// Everything that is known.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }
}
