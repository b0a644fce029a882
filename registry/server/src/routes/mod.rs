//! The table of routes: what there is, who may, and what it takes. The router, the OpenAPI document and the tests of
//! authorization are all made from it.

mod approvals;
pub(crate) mod apps;
mod audit;
pub(crate) mod kills;
mod limits;
mod ops;
mod packages;
mod publishers;
pub(crate) mod releases;
pub(crate) mod rollouts;
mod state;
mod telemetry;
mod tokens;

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::auth::Access;
use crate::failure::{Failure, Refusal};
use crate::registry::Registry;
use mpkg_registry_client::wire::Paging;
use mpkg_registry_client::wire::Role;

/// What a route does to the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Read,
    /// Changes something; takes an idempotency key.
    Change,
    /// Lets something go on; takes `If-Match` too.
    Go,
    /// Stops something; takes no `If-Match`, waits for no rate limit or approval, and overtakes changes that do not.
    Stop,
    /// Adds reports, which come twice without harm.
    Report,
}

type Shape = fn(&mut SchemaGenerator) -> Schema;

/// One route.
#[derive(Clone)]
pub struct Route {
    /// `GET`, `POST` or `PUT`.
    pub method: &'static str,
    /// The path, with parameters in braces.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
    /// What it does.
    pub kind: Kind,
    /// What it is for.
    pub summary: &'static str,
    pub(crate) query: Option<Shape>,
    pub(crate) body: Option<Shape>,
    pub(crate) upload: bool,
    pub(crate) answer: Option<Shape>,
    pub(crate) media: &'static str,
    pub(crate) handler: MethodRouter<Arc<Registry>>,
}

fn shape<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

/// Everybody with a token.
pub(crate) const ALL: Access = Access::Roles(&Role::ALL);
/// People, as opposed to hosts.
pub(crate) const PEOPLE: Access =
    Access::Roles(&[Role::Publisher, Role::Operator, Role::Releaser, Role::Reviewer, Role::Admin]);

impl Route {
    fn new<H, T>(method: &'static str, path: &'static str, access: Access, kind: Kind, handler: H) -> Self
    where
        H: Handler<T, Arc<Registry>>,
        T: 'static,
    {
        let filter = match method {
            "POST" => MethodFilter::POST,
            "PUT" => MethodFilter::PUT,
            _ => MethodFilter::GET,
        };
        Self {
            method,
            path,
            access,
            kind,
            summary: "",
            query: None,
            body: None,
            upload: false,
            answer: None,
            media: "application/json",
            handler: on(filter, handler),
        }
    }

    fn get<H: Handler<T, Arc<Registry>>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new("GET", path, access, Kind::Read, handler)
    }

    fn post<H: Handler<T, Arc<Registry>>, T: 'static>(
        path: &'static str,
        access: Access,
        kind: Kind,
        handler: H,
    ) -> Self {
        Self::new("POST", path, access, kind, handler)
    }

    fn put<H: Handler<T, Arc<Registry>>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new("PUT", path, access, Kind::Change, handler)
    }

    fn says(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    fn query<T: JsonSchema>(self) -> Self {
        Self { query: Some(shape::<T>), ..self }
    }

    fn body<T: JsonSchema>(self) -> Self {
        Self { body: Some(shape::<T>), ..self }
    }

    fn upload(self) -> Self {
        Self { upload: true, ..self }
    }

    fn answer<T: JsonSchema>(self) -> Self {
        Self { answer: Some(shape::<T>), ..self }
    }

    fn media(self, media: &'static str) -> Self {
        Self { media, ..self }
    }

    /// A name for generated clients: method and path in letters, digits and underscores.
    pub(crate) fn id(&self) -> String {
        let mut id = self.method.to_lowercase();
        for part in self.path.split(|letter: char| !letter.is_ascii_alphanumeric()) {
            if !part.is_empty() && part != "v1" {
                id.push('_');
                id.push_str(part);
            }
        }
        id
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// All routes.
pub fn routes() -> Vec<Route> {
    let groups = [
        ops::routes(),
        tokens::routes(),
        audit::routes(),
        publishers::routes(),
        apps::routes(),
        limits::routes(),
        releases::routes(),
        packages::routes(),
        state::routes(),
        rollouts::routes(),
        kills::routes(),
        approvals::routes(),
        telemetry::routes(),
    ];
    groups.into_iter().flatten().collect()
}

/// Reads a [`Paging`].
pub(crate) trait Part {
    /// Most items.
    fn limit(&self) -> i64;
    /// The last item's name, in lists by name.
    fn name(&self) -> &str;
    /// The last item's number, in lists by number.
    fn number(&self) -> Result<Option<i64>, Failure>;
    /// Where the next part begins, if this one was full.
    fn next<T>(&self, items: &[T], last: impl Fn(&T) -> String) -> Option<String>;
}

impl Part for Paging {
    fn limit(&self) -> i64 {
        i64::from(self.limit.unwrap_or(50).clamp(1, 200))
    }

    fn name(&self) -> &str {
        self.after.as_deref().unwrap_or_default()
    }

    fn number(&self) -> Result<Option<i64>, Failure> {
        let Some(after) = &self.after else { return Ok(None) };
        let number = after.parse::<i64>().ok().filter(|number| *number >= 0);
        let refuse =
            || Refusal::Parameter { name: "after".into(), reason: "expected what `next` said".into() };
        Ok(Some(number.ok_or_else(refuse)?))
    }

    fn next<T>(&self, items: &[T], last: impl Fn(&T) -> String) -> Option<String> {
        let full = i64::try_from(items.len()).is_ok_and(|found| found >= self.limit());
        items.last().filter(|_| full).map(last)
    }
}
