//! What a host does by itself while it hears nothing from its registry.

use mpkg_manifest::permission::Risk;
use serde::{Deserialize, Serialize};

const HOUR: u64 = 3_600;

/// When the permissions of one risk class need news. Seconds since the newest fleet head was issued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patience {
    /// From then on the host asks for a refresh before the permission is used.
    pub refresh_after_s: Option<u64>,
    /// From then on the permission is withdrawn until there is news.
    pub withdraw_after_s: Option<u64>,
}

/// By risk class of the permission. The default: low stays, sensitive asks for a refresh after seven days, high is
/// withdrawn after 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Staleness {
    /// Stays within the app.
    pub low: Patience,
    /// Reaches personal data, other servers or attention.
    pub sensitive: Patience,
    /// Can cost money or do what cannot be undone.
    pub high: Patience,
}

impl Default for Staleness {
    fn default() -> Self {
        Self {
            low: Patience::default(),
            sensitive: Patience { refresh_after_s: Some(7 * 24 * HOUR), withdraw_after_s: None },
            high: Patience { refresh_after_s: None, withdraw_after_s: Some(24 * HOUR) },
        }
    }
}

/// How the permissions of a risk class stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// As granted.
    #[default]
    Fresh,
    /// Usable after a refresh, or after asking the user when there is no network.
    Refresh,
    /// Not usable until there is news.
    Withdrawn,
}

impl Staleness {
    /// How a class stands at this age of knowledge, in seconds. Without a clock nothing is known to be old.
    ///
    /// ```
    /// use mpkg_fleet::{Staleness, Standing};
    /// use mpkg_manifest::permission::Risk;
    /// let policy = Staleness::default();
    /// assert_eq!(policy.standing(Risk::High, Some(24 * 3_600)), Standing::Withdrawn);
    /// assert_eq!(policy.standing(Risk::Low, Some(u64::MAX)), Standing::Fresh);
    /// ```
    pub fn standing(&self, risk: Risk, age_s: Option<u64>) -> Standing {
        let patience = match risk {
            Risk::Low => self.low,
            Risk::Sensitive => self.sensitive,
            Risk::High => self.high,
        };
        let over = |limit: Option<u64>| matches!((limit, age_s), (Some(limit), Some(age)) if age >= limit);
        if over(patience.withdraw_after_s) {
            Standing::Withdrawn
        } else if over(patience.refresh_after_s) {
            Standing::Refresh
        } else {
            Standing::Fresh
        }
    }
}
