//! What the registry answers when it does not do something.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mpkg_manifest::AppId;
use mpkg_package::{Hash, PublisherId};
use mpkg_registry_client::wire::{ErrorBody, ErrorDetail};
use thiserror::Error;

use crate::rules;

/// Seconds after which somebody may have left the stream.
const SEAT_S: u64 = 5;

/// A rule of the registry itself that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No token.
    #[error("the request has no token")]
    NoToken,
    /// A token that does not count.
    #[error("the token is unknown, expired or revoked")]
    BadToken,
    /// A role that is missing.
    #[error("this takes a token with the role {needed}")]
    Role {
        /// Which ones would do.
        needed: String,
    },
    /// Outside of the token's scope.
    #[error("the token's scope does not have {what}")]
    Scope {
        /// What it does not have.
        what: String,
    },
    /// Too fast.
    #[error("the token made too many requests; the next one is taken in {seconds} s")]
    TooMany {
        /// Seconds to wait.
        seconds: u64,
    },
    /// No room for a stream.
    #[error("other streams have all the places that there are; try again in {} s", SEAT_S)]
    NoSeat,
    /// Too long.
    #[error("the body has more than {limit} bytes")]
    TooLarge {
        /// The most.
        limit: usize,
    },
    /// Not what is expected.
    #[error("the body is not valid: {0}")]
    Body(String),
    /// A parameter that cannot be.
    #[error("{name} is not valid: {reason}")]
    Parameter {
        /// Which one.
        name: String,
        /// Why.
        reason: String,
    },
    /// No such route.
    #[error("there is no such route")]
    NoRoute,
    /// The route takes other methods.
    #[error("the route does not take this method")]
    Method,
    /// Too slow.
    #[error("the body paused for more than {seconds} s")]
    TooSlow {
        /// The most.
        seconds: u64,
    },
    /// No key.
    #[error("a change needs the header Idempotency-Key with 1 to 128 visible ASCII characters")]
    NoKey,
    /// A key of another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// No version.
    #[error("this needs the header If-Match with the ETag of what was seen")]
    NoMatch,
    /// Another version.
    #[error("it was changed in between: it is at {current} now")]
    Stale {
        /// The ETag.
        current: String,
    },
    /// Unknown publisher.
    #[error("publisher {0} is not registered")]
    NoPublisher(PublisherId),
    /// Another chain.
    #[error("the root chain does not continue the one that is known up to version {known}")]
    Chain {
        /// The newest known version.
        known: u32,
    },
    /// Somebody else's.
    #[error("{0} belongs to another publisher")]
    Claimed(AppId),
    /// Nobody's.
    #[error("nobody has claimed {0}")]
    NoApp(AppId),
    /// Not newer.
    #[error("release {found} of {app} does not come after release {newest}")]
    Sequence {
        /// The app.
        app: AppId,
        /// Its sequence.
        found: u64,
        /// The newest.
        newest: u64,
    },
    /// Unknown release.
    #[error("there is no release {release} of {app}")]
    NoRelease {
        /// The app.
        app: AppId,
        /// Which one.
        release: String,
    },
    /// Not to be rolled out.
    #[error("release {release_seq} is {state}, so it is not rolled out")]
    NotReleasable {
        /// Which one.
        release_seq: u64,
        /// `pending`, `rejected` or `yanked`.
        state: String,
    },
    /// Nobody is sent back to it.
    #[error("release {release_seq} was never everybody's, or is not approved; {}", instead_of(instead))]
    NoWayBack {
        /// Which one.
        release_seq: u64,
        /// Those that everybody may be sent back to, the newest first.
        instead: Vec<u64>,
    },
    /// Decided already.
    #[error("the release is {state}; a review is decided once")]
    Reviewed {
        /// The decision.
        state: String,
    },
    /// The whole package is hardly longer, or the releases are too far from each other.
    #[error("there is no patch from {from} that is worth it")]
    NoDelta {
        /// The package that is there.
        from: Hash,
    },
    /// Others are before it.
    #[error("the patch is not made yet")]
    Making,
    /// Unknown rollout.
    #[error("there is no rollout {0}")]
    NoRollout(i64),
    /// Unknown kill.
    #[error("there is no such kill")]
    NoKill,
    /// No room.
    #[error("the documents that hosts read hold {limit} {what}, and so many are in force")]
    KillsFull {
        /// The most.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// Runs anyway.
    #[error("package {sha256} of {app} is not disabled")]
    NotDisabled {
        /// The app.
        app: AppId,
        /// The package.
        sha256: Hash,
    },
    /// Unknown token.
    #[error("there is no such token")]
    NoSuchToken,
    /// Unknown evidence.
    #[error("there is no such evidence")]
    NoEvidence,
    /// Not now.
    #[error("the registry is stopping")]
    Stopping,
    /// The disk or database.
    #[error("the registry could not store or read what it had to")]
    Storage,
    /// A mistake.
    #[error("the registry made a mistake")]
    Internal,
}

fn instead_of(releases: &[u64]) -> String {
    if releases.is_empty() {
        return "there is nothing to go back to, so halt the rollout".into();
    }
    let names: Vec<_> = releases.iter().map(u64::to_string).collect();
    format!("a rollback of this rollout leads to {}", names.join(" or "))
}

impl Refusal {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        self.row().0
    }

    fn row(&self) -> (&'static str, StatusCode) {
        match self {
            Self::NoToken => ("MPKG-P01", StatusCode::UNAUTHORIZED),
            Self::BadToken => ("MPKG-P02", StatusCode::UNAUTHORIZED),
            Self::Role { .. } => ("MPKG-P03", StatusCode::FORBIDDEN),
            Self::Scope { .. } => ("MPKG-P04", StatusCode::FORBIDDEN),
            Self::TooMany { .. } => ("MPKG-P05", StatusCode::TOO_MANY_REQUESTS),
            Self::NoSeat => ("MPKG-P06", StatusCode::SERVICE_UNAVAILABLE),
            Self::TooLarge { .. } => ("MPKG-P10", StatusCode::PAYLOAD_TOO_LARGE),
            Self::Body(_) => ("MPKG-P11", StatusCode::BAD_REQUEST),
            Self::Parameter { .. } => ("MPKG-P12", StatusCode::BAD_REQUEST),
            Self::NoRoute => ("MPKG-P13", StatusCode::NOT_FOUND),
            Self::Method => ("MPKG-P13", StatusCode::METHOD_NOT_ALLOWED),
            Self::TooSlow { .. } => ("MPKG-P14", StatusCode::REQUEST_TIMEOUT),
            Self::NoKey => ("MPKG-P20", StatusCode::BAD_REQUEST),
            Self::KeyReused => ("MPKG-P21", StatusCode::CONFLICT),
            Self::NoMatch => ("MPKG-P22", StatusCode::PRECONDITION_REQUIRED),
            Self::Stale { .. } => ("MPKG-P23", StatusCode::PRECONDITION_FAILED),
            Self::NoPublisher(_) => ("MPKG-P30", StatusCode::NOT_FOUND),
            Self::Chain { .. } => ("MPKG-P31", StatusCode::CONFLICT),
            Self::Claimed(_) => ("MPKG-P32", StatusCode::CONFLICT),
            Self::NoApp(_) => ("MPKG-P33", StatusCode::NOT_FOUND),
            Self::Sequence { .. } => ("MPKG-P34", StatusCode::CONFLICT),
            Self::NoRelease { .. } => ("MPKG-P35", StatusCode::NOT_FOUND),
            Self::NotReleasable { .. } => ("MPKG-P36", StatusCode::CONFLICT),
            Self::Reviewed { .. } => ("MPKG-P37", StatusCode::CONFLICT),
            Self::NoDelta { .. } => ("MPKG-P38", StatusCode::NOT_FOUND),
            Self::Making => ("MPKG-P39", StatusCode::SERVICE_UNAVAILABLE),
            Self::NoRollout(_) => ("MPKG-P40", StatusCode::NOT_FOUND),
            Self::NoKill => ("MPKG-P41", StatusCode::NOT_FOUND),
            Self::KillsFull { .. } => ("MPKG-P42", StatusCode::CONFLICT),
            Self::NotDisabled { .. } => ("MPKG-P45", StatusCode::NOT_FOUND),
            Self::NoSuchToken => ("MPKG-P43", StatusCode::NOT_FOUND),
            Self::NoEvidence => ("MPKG-P44", StatusCode::NOT_FOUND),
            Self::NoWayBack { .. } => ("MPKG-P46", StatusCode::CONFLICT),
            Self::Stopping => ("MPKG-P50", StatusCode::SERVICE_UNAVAILABLE),
            Self::Storage => ("MPKG-P51", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Internal => ("MPKG-P52", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

/// An answer that refuses: a status, a stable code and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code}: {message}")]
pub struct Failure {
    /// The HTTP status.
    pub status: u16,
    /// The rule's code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
    retry_after: Option<u64>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self { status: status.as_u16(), code, message, hint: rules::hint(code), retry_after: None }
    }

    /// Refused by a rule of another crate: what was sent is understood and not acceptable.
    pub(crate) fn rule(code: &'static str, error: &dyn std::fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, error.to_string())
    }

    /// Refused by a rule of another crate, because of how things stand.
    pub(crate) fn conflict(code: &'static str, error: &dyn std::fmt::Display) -> Self {
        Self::new(StatusCode::CONFLICT, code, error.to_string())
    }

    /// The registry's own mistake; the details are for the log.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "internal error");
        Refusal::Internal.into()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (code, status) = refusal.row();
        let retry_after = match &refusal {
            Refusal::TooMany { seconds } => Some(*seconds),
            Refusal::NoSeat => Some(SEAT_S),
            Refusal::Stopping => Some(1),
            Refusal::Making => Some(5),
            _ => None,
        };
        Self { retry_after, ..Self::new(status, code, refusal.to_string()) }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "the database failed");
        let mut failure = Self::from(Refusal::Storage);
        // SQLITE_FULL
        if error.as_database_error().and_then(|it| it.code()).is_some_and(|code| code == "13") {
            failure.status = StatusCode::INSUFFICIENT_STORAGE.as_u16();
        }
        failure
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        tracing::error!(%error, "the disk failed");
        let mut failure = Self::from(Refusal::Storage);
        if error.kind() == std::io::ErrorKind::StorageFull {
            failure.status = StatusCode::INSUFFICIENT_STORAGE.as_u16();
        }
        failure
    }
}

impl From<mpkg_fleet::DocumentError> for Failure {
    fn from(error: mpkg_fleet::DocumentError) -> Self {
        Self::rule(error.code(), &error)
    }
}

impl From<mpkg_package::VerifyError> for Failure {
    fn from(error: mpkg_package::VerifyError) -> Self {
        Self::rule(error.code(), &error)
    }
}

impl From<mpkg_fleet::TransitionError> for Failure {
    fn from(error: mpkg_fleet::TransitionError) -> Self {
        Self::conflict(error.code(), &error)
    }
}

impl From<mpkg_fleet::SuccessorError> for Failure {
    fn from(error: mpkg_fleet::SuccessorError) -> Self {
        Self::conflict(error.code(), &error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let detail = ErrorDetail { code: self.code.into(), message: self.message, hint: self.hint.into() };
        let body = serde_json::to_vec(&ErrorBody { error: detail }).unwrap_or_default();
        let mut answer = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::RULES;

    /// Every code that a refusal has is in the table; rules are in order, once, and say something.
    #[test]
    fn the_table_of_rules_is_whole() {
        assert!(RULES.is_sorted_by(|a, b| a.code < b.code));
        for rule in RULES {
            for text in [rule.title, rule.attack, rule.fix] {
                assert!(!text.is_empty(), "{}", rule.code);
            }
        }
        let app: AppId = "org.example.x".parse().unwrap();
        let text = String::new;
        let all = [
            Refusal::NoToken,
            Refusal::BadToken,
            Refusal::Role { needed: text() },
            Refusal::Scope { what: text() },
            Refusal::TooMany { seconds: 1 },
            Refusal::NoSeat,
            Refusal::TooLarge { limit: 1 },
            Refusal::Body(text()),
            Refusal::Parameter { name: text(), reason: text() },
            Refusal::NoRoute,
            Refusal::Method,
            Refusal::TooSlow { seconds: 1 },
            Refusal::NoKey,
            Refusal::KeyReused,
            Refusal::NoMatch,
            Refusal::Stale { current: text() },
            Refusal::Chain { known: 1 },
            Refusal::Claimed(app.clone()),
            Refusal::NoApp(app.clone()),
            Refusal::Sequence { app: app.clone(), found: 1, newest: 1 },
            Refusal::NoRelease { app: app.clone(), release: text() },
            Refusal::NotDisabled { app, sha256: Hash([0; 32]) },
            Refusal::NotReleasable { release_seq: 1, state: text() },
            Refusal::NoWayBack { release_seq: 1, instead: vec![] },
            Refusal::Reviewed { state: text() },
            Refusal::NoDelta { from: Hash([0; 32]) },
            Refusal::Making,
            Refusal::NoRollout(1),
            Refusal::NoKill,
            Refusal::KillsFull { limit: 1, what: "kills" },
            Refusal::NoSuchToken,
            Refusal::NoEvidence,
            Refusal::Stopping,
            Refusal::Storage,
            Refusal::Internal,
        ];
        let mut used: Vec<_> = all.iter().map(Refusal::code).collect();
        used.push("MPKG-P30");
        used.sort_unstable();
        used.dedup();
        assert_eq!(used, RULES.iter().map(|rule| rule.code).collect::<Vec<_>>());
    }
}
