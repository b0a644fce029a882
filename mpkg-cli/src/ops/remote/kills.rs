//! Kills: found by their id or the beginning of it.

use mpkg_fleet::KillId;
use mpkg_package::Hash;
use mpkg_registry_client::Versioned;
use mpkg_registry_client::wire::{KillView, Paging};

use super::Remote;
use super::releases::not_there;
use crate::error::{Failure, Outcome};

/// Digits that are enough to name a kill.
pub(crate) const SHORT: usize = 8;

/// The first digits of an id, as lists show it.
pub(crate) fn short(id: KillId) -> String {
    id.to_string().chars().take(SHORT).collect()
}

/// The kill with this id.
pub(crate) fn find(remote: &Remote, typed: &str) -> Outcome<Versioned<KillView>> {
    let id = match Hash::from_hex(typed) {
        Some(hash) => KillId(hash),
        None => complete(remote, typed)?,
    };
    remote.ask(remote.client.find_kill(id))
}

fn complete(remote: &Remote, typed: &str) -> Outcome<KillId> {
    let digits = typed.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !digits || typed.len() < SHORT {
        return Err(Failure::usage(format!(
            "`{typed}` is no kill's id, nor the first {SHORT} digits of one"
        ))
        .hint("`mpkg status` lists the kills in force."));
    }
    let mut paging = Paging { limit: Some(200), all: Some(true), ..Paging::default() };
    let mut found = Vec::new();
    loop {
        let page = remote.ask(remote.client.kills(&paging))?;
        found.extend(
            page.items.into_iter().map(|kill| kill.id).filter(|id| id.to_string().starts_with(typed)),
        );
        match page.next {
            Some(next) => paging.after = Some(next),
            None => break,
        }
    }
    match found.as_slice() {
        [only] => Ok(*only),
        [] => Err(not_there(format!("there is no kill {typed}"), "`mpkg status` lists the kills in force.")),
        _ => {
            Err(Failure::usage(format!("{} kills begin with {typed}", found.len()))
                .hint("Type more of its id."))
        }
    }
}
