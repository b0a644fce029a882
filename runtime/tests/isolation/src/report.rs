//! What the kit has found.

use std::fmt;
use std::time::Duration;

/// One app of one user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Party {
    /// The app.
    pub app_id: String,
    /// The user.
    pub user: String,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` for user {:?}", self.app_id, self.user)
    }
}

/// A way for an app to call its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// An import of its component.
    Import,
    /// By name, as from a page of its own.
    Dispatch,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Import => "by its component",
            Self::Dispatch => "by its page",
        })
    }
}

/// What an app does, over and over, to the harm of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attack {
    /// Spins in its own code.
    Spin,
    /// Grows its memory until it is refused, and dies of it.
    Grow,
    /// Calls its host, a million times a second if it may.
    Flood,
    /// Makes every call that the kit knows of.
    Bridges,
    /// Has its host work for its page, in many calls at a time.
    Page,
    /// Stores as much as it may, as often as it may: all apps of a host share a disk.
    Writes,
    /// Is launched and killed, again and again: each kill stops the guests of a host for a look.
    Kills,
}

impl Attack {
    /// All there are.
    pub const ALL: [Self; 7] =
        [Self::Spin, Self::Grow, Self::Flood, Self::Bridges, Self::Page, Self::Writes, Self::Kills];

    /// A short word for tables.
    pub fn label(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Grow => "grow",
            Self::Flood => "flood",
            Self::Bridges => "bridges",
            Self::Page => "page",
            Self::Writes => "writes",
            Self::Kills => "kills",
        }
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spin => "spins",
            Self::Grow => "takes all memory it gets",
            Self::Flood => "floods its host with calls",
            Self::Bridges => "uses every bridge without a pause",
            Self::Page => "has its host work for its page",
            Self::Writes => "stores without a pause",
            Self::Kills => "is launched and killed without a pause",
        })
    }
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// An app saw what is another's.
    #[error("{to} saw, by `{method}`, what is {of}'s alone")]
    Leak {
        /// Whose it is.
        of: Party,
        /// Who saw it.
        to: Party,
        /// The method that answered it, or the notification that told it.
        method: String,
    },
    /// An app has no more, or not as it left it, what was its own, after another one tried to get at it.
    #[error("{of} does not find by `{method}` what it had stored, after {by} tried to get at it")]
    Lost {
        /// Whose it was.
        of: Party,
        /// Who tried.
        by: Party,
        /// The method that gave it before.
        method: String,
    },
    /// Two apps were told the same id of their user.
    #[error("{one} and {other} know their user by the same id")]
    SameUserId {
        /// One.
        one: Party,
        /// The other.
        other: Party,
    },
    /// What one was granted or lost, another one has or lost too.
    #[error("a decision on `{permission}` for {of} counted for {to} too")]
    SharedGrant {
        /// The permission.
        permission: String,
        /// Whom it was for.
        of: Party,
        /// Whom it reached.
        to: Party,
    },
    /// A method was let through that must not be.
    #[error("`{method}`, called {transport}, was let through with {granted} granted")]
    Ungated {
        /// The method.
        method: String,
        /// How it was called.
        transport: Transport,
        /// The permission granted meanwhile, or `nothing`.
        granted: String,
    },
    /// A method was refused although its permission was granted.
    #[error("`{method}` was refused although `{permission}` was granted: {why}")]
    Shut {
        /// The method.
        method: String,
        /// Its permission.
        permission: String,
        /// What was answered.
        why: String,
    },
    /// An app was not served while another one did its worst.
    #[error("`{method}` was not answered as usual beside an app that {beside}: {why}")]
    Starved {
        /// What was called.
        method: String,
        /// What the other one did.
        beside: Attack,
        /// What was answered, if anything.
        why: String,
    },
}

/// A method that an app can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// The permission that it is behind.
    pub permission: String,
    /// True if the permission is everybody's.
    pub free: bool,
    /// True if a call of the kit's, or of the embedder's samples, was answered without an error: only then has the kit
    /// seen whose data it works on.
    pub tried: bool,
}

/// How long calls took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distribution {
    /// How many there were.
    pub calls: usize,
    /// Half of them took no longer.
    pub p50: Duration,
    /// 99 in 100 took no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Distribution {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let quantile = |hundredths: usize| {
            let at = times.len().saturating_sub(1) * hundredths / 100;
            times.get(at).copied().unwrap_or_default()
        };
        Self { calls: times.len(), p50: quantile(50), p99: quantile(99), max: quantile(100) }
    }
}

/// How an app fared beside one that did its worst.
#[derive(Debug, Clone, PartialEq)]
pub struct Pressure {
    /// What the other one did.
    pub attack: Attack,
    /// How often the other one began anew, and how often it was stopped for it.
    pub rounds: u64,
    /// See `rounds`.
    pub stops: u64,
    /// Calls alone, just before.
    pub alone: Distribution,
    /// Calls meanwhile.
    pub beside: Distribution,
}

impl Pressure {
    /// The 99th percentile beside the other one, in multiples of that alone.
    pub fn ratio(&self) -> f64 {
        self.beside.p99.as_secs_f64() / self.alone.p99.as_secs_f64().max(1e-9)
    }
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Every method that an app can reach.
    pub methods: Vec<Method>,
    /// What is not as it must be; empty if all is well.
    pub findings: Vec<Finding>,
    /// How an app fared beside others. Times are not judged: they are the machine's as much as the host's.
    pub pressures: Vec<Pressure>,
}

impl Report {
    /// True if nothing was found.
    pub fn holds(&self) -> bool {
        self.findings.is_empty()
    }

    pub(crate) fn and(mut self, other: Self) -> Self {
        self.findings.extend(other.findings);
        self.pressures.extend(other.pressures);
        self
    }

    /// Adds a finding, once.
    pub(crate) fn find(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let untried: Vec<&str> = self.methods.iter().filter(|m| !m.tried).map(|m| m.name.as_str()).collect();
        writeln!(f, "{} methods, {} of them tried", self.methods.len(), self.methods.len() - untried.len())?;
        if !untried.is_empty() {
            writeln!(f, "  whose data these work on was not seen: {}", untried.join(", "))?;
        }
        for Pressure { attack, rounds, stops, alone, beside } in &self.pressures {
            let show = |d: &Distribution| {
                format!("p50 {:?}, p99 {:?}, max {:?} of {}", d.p50, d.p99, d.max, d.calls)
            };
            writeln!(f, "beside an app that {attack} ({rounds} rounds, {stops} stops):")?;
            writeln!(f, "  alone   {}", show(alone))?;
            writeln!(f, "  beside  {}", show(beside))?;
        }
        for pressure in &self.pressures {
            writeln!(
                f,
                "p99 beside an app that {}: {:.2} times that alone",
                pressure.attack,
                pressure.ratio()
            )?;
        }
        for finding in &self.findings {
            writeln!(f, "FOUND: {finding}")?;
        }
        Ok(())
    }
}
