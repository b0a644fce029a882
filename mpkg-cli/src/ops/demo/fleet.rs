//! All hosts together, wherever they run: up to a thousand in this process, more in processes of their own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::error::DemoError;
use super::group::Group;
use super::message::{Ask, Look, Seed, Setup, Told, Used};

/// Hosts of one process, at most.
const TOGETHER: usize = 1_000;
/// How long a process may take to end by itself.
const ENDING: Duration = Duration::from_secs(10);

/// A process with hosts in it. It ends when this is dropped.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start() -> Result<Self, DemoError> {
        let failed = |error: &dyn std::fmt::Display| DemoError::Process(format!("does not start: {error}"));
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut command = Command::new(program);
        command.args(["demo", "worker"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = output.ok_or_else(|| failed(&"it has no standard output"))?;
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    fn ask(&mut self, ask: &Ask) -> Result<Told, DemoError> {
        let ended = |error: &dyn std::fmt::Display| DemoError::Process(format!("does not answer: {error}"));
        let mut line = serde_json::to_vec(ask).map_err(|error| ended(&error))?;
        line.push(b'\n');
        let input = self.input.as_mut().ok_or_else(|| ended(&"it has no standard input"))?;
        input.write_all(&line).and_then(|()| input.flush()).map_err(|error| ended(&error))?;
        let mut answer = String::new();
        self.output.read_line(&mut answer).map_err(|error| ended(&error))?;
        match serde_json::from_str(&answer).map_err(|error| ended(&error))? {
            Told::Failed(reason) => Err(DemoError::Process(format!("failed: {reason}"))),
            told => Ok(told),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing more is asked, which is when it ends its agents and then itself.
        self.input = None;
        let until = Instant::now() + ENDING;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

enum Place {
    Here(Box<tokio::sync::Mutex<Group>>),
    Elsewhere(Arc<Mutex<Process>>),
}

impl Place {
    async fn ask(&self, ask: Ask) -> Result<Told, DemoError> {
        match self {
            Self::Here(group) => group.lock().await.ask(ask).await,
            Self::Elsewhere(process) => {
                let process = process.clone();
                let asking = move || process.lock().unwrap_or_else(PoisonError::into_inner).ask(&ask);
                let told = tokio::task::spawn_blocking(asking).await;
                told.unwrap_or_else(|error| Err(DemoError::Process(error.to_string())))
            }
        }
    }
}

/// All hosts.
pub(super) struct Fleet {
    /// Each with its number of hosts.
    places: Vec<(Place, usize)>,
    units: Vec<String>,
}

/// What all hosts have in common, for as many groups as they make.
pub(super) struct Common {
    /// With no hosts in it yet.
    pub(super) setup: Setup,
    /// All of them, the real ones first.
    pub(super) hosts: Vec<Seed>,
}

fn unexpected(told: &Told) -> DemoError {
    DemoError::Process(format!("gives another answer than it was asked for: {told:?}"))
}

fn sum(told: Vec<Told>) -> Result<Option<u64>, DemoError> {
    let mut sum = Some(0_u64);
    for told in told {
        match told {
            Told::Memory(bytes) => sum = sum.zip(bytes).map(|(sum, bytes)| sum.saturating_add(bytes)),
            told => return Err(unexpected(&told)),
        }
    }
    Ok(sum)
}

impl Fleet {
    /// The processes, without hosts in them yet.
    pub(super) fn open(hosts: usize) -> Result<Self, DemoError> {
        let mut places = Vec::new();
        if hosts <= TOGETHER {
            places.push((Place::Here(Box::default()), hosts));
        } else {
            let parts = hosts.div_ceil(TOGETHER);
            for part in 0..parts {
                // As even as it gets.
                let count = hosts * (part + 1) / parts - hosts * part / parts;
                places.push((Place::Elsewhere(Arc::new(Mutex::new(Process::start()?))), count));
            }
        }
        Ok(Self { places, units: Vec::new() })
    }

    /// Processes, this one included.
    pub(super) fn processes(&self) -> usize {
        1 + self.places.iter().filter(|(place, _)| matches!(place, Place::Elsewhere(_))).count()
    }

    /// The names of all hosts, in their order.
    pub(super) fn units(&self) -> &[String] {
        &self.units
    }

    /// Starts the hosts. Gives the memory of their processes when no host was there yet that only acts as if.
    pub(super) async fn start(&mut self, common: Common) -> Result<Option<u64>, DemoError> {
        let Common { setup, hosts } = common;
        self.units = hosts.iter().map(|seed| seed.unit.clone()).collect();
        let mut hosts = hosts.into_iter();
        let mut asks = Vec::new();
        for (index, (_, count)) in self.places.iter().enumerate() {
            let hosts = hosts.by_ref().take(*count).collect();
            let real = if index == 0 { setup.real } else { 0 };
            asks.push(Ask::Start(Box::new(Setup { hosts, real, ..setup.clone() })));
        }
        let places = self.places.iter().zip(asks).map(|((place, _), ask)| place.ask(ask));
        sum(stream::iter(places).buffered(self.places.len()).try_collect().await?)
    }

    async fn all(&self, ask: impl Fn() -> Ask) -> Result<Vec<Told>, DemoError> {
        let asking = self.places.iter().map(|(place, _)| place.ask(ask()));
        stream::iter(asking).buffered(self.places.len()).try_collect().await
    }

    /// Has all hosts want the app, which takes a while.
    pub(super) async fn want(&self) -> Result<(), DemoError> {
        self.all(|| Ask::Want).await.map(|_| ())
    }

    /// How each host stands.
    pub(super) async fn look(&self) -> Result<Vec<Look>, DemoError> {
        let mut looks = Vec::with_capacity(self.units.len());
        for told in self.all(|| Ask::Look).await? {
            match told {
                Told::Looks(some) => looks.extend(some),
                told => return Err(unexpected(&told)),
            }
        }
        self.complete(looks)
    }

    /// Every user opens the app anew and calls it.
    pub(super) async fn use_app(&self, report: bool) -> Result<Vec<Used>, DemoError> {
        let mut used = Vec::with_capacity(self.units.len());
        for told in self.all(|| Ask::Use { report }).await? {
            match told {
                Told::Used(some) => used.extend(some),
                told => return Err(unexpected(&told)),
            }
        }
        self.complete(used)
    }

    /// Every host reports what it counted.
    pub(super) async fn report(&self) -> Result<(), DemoError> {
        self.all(|| Ask::Report).await.map(|_| ())
    }

    fn complete<T>(&self, all: Vec<T>) -> Result<Vec<T>, DemoError> {
        match (all.len(), self.units.len()) {
            (found, wanted) if found == wanted => Ok(all),
            (found, wanted) => Err(DemoError::Broken(format!("{found} of {wanted} hosts answer"))),
        }
    }

    /// Restarts the first hosts of the first process, among them the real ones.
    pub(super) async fn restart(&self, hosts: usize) -> Result<usize, DemoError> {
        let Some((place, count)) = self.places.first() else { return Ok(0) };
        let hosts = hosts.min(*count);
        place.ask(Ask::Restart { hosts }).await.map(|_| hosts)
    }

    /// Calls the app that nobody switched off, on all real hosts.
    pub(super) async fn use_other(&self) -> Result<(), DemoError> {
        self.all(|| Ask::UseOther).await.map(|_| ())
    }

    /// Resident bytes of all processes that have hosts in them.
    pub(super) async fn memory(&self) -> Result<Option<u64>, DemoError> {
        sum(self.all(|| Ask::Memory).await?)
    }

    /// Ends all agents and processes.
    pub(super) async fn shutdown(self) {
        let ends = self.places.into_iter().map(|(place, _)| async move {
            match place {
                Place::Here(group) => group.into_inner().shutdown().await,
                // It waits for the process.
                Place::Elsewhere(process) => _ = tokio::task::spawn_blocking(|| drop(process)).await,
            }
        });
        stream::iter(ends).buffer_unordered(16).collect::<Vec<()>>().await;
    }
}
