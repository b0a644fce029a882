//! Whose data is whose.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use miniapp_runtime::{CallError, HostBuilder, StaticPermissions};
use serde_json::{Value, json};

use crate::party::{Player, Stage, cast};
use crate::report::{Finding, Method, Report};
use crate::{Error, Isolation, Sample};

/// A topic that every app of the kit listens to.
pub(crate) const TOPIC: &str = "isolation/topic";
/// How long a message of the host's may be on its way.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn check<B: Fn(HostBuilder) -> HostBuilder>(kit: &Isolation<B>) -> Result<Report, Error> {
    let stage = Stage::build(kit, StaticPermissions::allow_all()).await?;
    let mut players = Vec::new();
    for (number, party) in cast().into_iter().enumerate() {
        players.push(stage.launch(number, party).await?);
    }
    let mut watching = Watching { players: &players, report: Report::default(), tried: BTreeSet::new() };
    let (calls, attacks) = (stage.known(&kit.calls), stage.known(&kit.attacks));

    // Twice: what the first wrote is there when the last has written, and is asked for again.
    for _ in 0..2 {
        let mut ids = BTreeMap::new();
        for player in &players {
            for sample in &calls {
                let answer = player.make(sample, None).await;
                watching.see(player, &sample.method, &answer, true);
                if sample.method == "user.profile"
                    && let Some(id) = answer.ok().and_then(|a| a.get("id").map(Value::to_string))
                    && let Some(other) = ids.insert(id, &player.party)
                {
                    let (one, other) = (other.clone(), player.party.clone());
                    watching.report.find(Finding::SameUserId { one, other });
                }
            }
        }
    }
    events(&stage, &mut watching).await?;

    for victim in &players {
        // Again, because an attacker before may have been its next victim and have cleared what is its own.
        for sample in &calls {
            let _ = victim.make(sample, None).await;
        }
        let mut has = Vec::new();
        // The last first: what reads mostly comes after what writes.
        for sample in calls.iter().rev() {
            if victim.finds(sample).await {
                has.push(*sample);
            }
        }
        for attacker in players.iter().filter(|player| player.party != victim.party) {
            for sample in &attacks {
                let answer = attacker.make(sample, Some(victim)).await;
                watching.see(attacker, &sample.method, &answer, false);
            }
            for sample in &has {
                if !victim.finds(sample).await {
                    let (of, by) = (victim.party.clone(), attacker.party.clone());
                    watching.report.find(Finding::Lost { of, by, method: sample.method.clone() });
                }
            }
        }
    }
    for player in &players {
        for told in stage.heard_by(player) {
            watching.see(player, "a notification", &Ok(told), false);
        }
    }
    grants(&stage, &mut watching)?;
    let Watching { mut report, tried, .. } = watching;
    let free = |name: &str| mpkg_manifest::permission::by_name(name).is_some_and(|spec| spec.free);
    let methods = stage.methods().into_iter();
    report.methods = methods
        .map(|(name, permission)| Method {
            free: free(&permission),
            tried: tried.contains(&name),
            name,
            permission,
        })
        .collect();
    stage.host.shutdown();
    Ok(report)
}

/// What the kit's apps see is looked at here.
struct Watching<'p> {
    players: &'p [Player],
    report: Report,
    tried: BTreeSet<String>,
}

impl Watching<'_> {
    /// `names`: nobody else's name was in what `to` sent, so that one in what it sees is a leak as well.
    fn see(&mut self, to: &Player, method: &str, answer: &Result<Value, CallError>, names: bool) {
        let text = match answer {
            Ok(answer) => {
                self.tried.insert(method.to_owned());
                answer.to_string()
            }
            Err(error) => format!("{error:?}"),
        };
        for other in self.players.iter().filter(|other| other.party != to.party) {
            if other.is_secret_in(&text) || (names && text.contains(&other.name)) {
                let (of, to) = (other.party.clone(), to.party.clone());
                self.report.find(Finding::Leak { of, to, method: method.to_owned() });
            }
        }
    }
}

impl Player {
    /// Whether a call of its own gives something that is its own.
    async fn finds(&self, sample: &Sample) -> bool {
        let Ok(answer) = self.make(sample, None).await else { return false };
        let text = answer.to_string();
        self.is_secret_in(&text) || text.contains(&self.name)
    }
}

/// An event for one app reaches that one.
async fn events(stage: &Stage, watching: &mut Watching<'_>) -> Result<(), Error> {
    let mut told = Vec::new();
    for player in watching.players {
        let message = json!({ "for": player.secret });
        if player.instance.publish(TOPIC, &message).is_ok_and(|published| published.receivers == 1) {
            told.push(player);
        }
    }
    let arrived = async {
        for player in told {
            while !stage.heard_by(player).iter().any(|told| player.is_secret_in(&told.to_string())) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    if tokio::time::timeout(PATIENCE, arrived).await.is_err() {
        return Err(Error::Kit("an event of the host's did not arrive".into()));
    }
    for player in watching.players {
        for told in stage.heard_by(player) {
            watching.see(player, "events.message", &Ok(told), true);
        }
    }
    Ok(())
}

/// A permission that one loses is not lost to the others.
fn grants(stage: &Stage, watching: &mut Watching<'_>) -> Result<(), Error> {
    let Some(one) = watching.players.first() else { return Ok(()) };
    for permission in one.instance.permissions() {
        let has = |player: &Player| player.instance.permissions().contains(&permission);
        let others: Vec<&Player> = watching.players.iter().skip(1).filter(|player| has(player)).collect();
        stage.host.revoke(&one.party.user, &one.party.app_id, &permission)?;
        for other in others {
            if !has(other) {
                let (of, to) = (one.party.clone(), other.party.clone());
                let permission = permission.clone();
                watching.report.find(Finding::SharedGrant { permission, of, to });
            }
        }
    }
    Ok(())
}
