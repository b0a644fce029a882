//! The canonical container: a ZIP that is a pure function of names and contents.

mod entries;
mod error;
mod layout;
mod read;
mod tail;
mod write;

pub use entries::{EntryProblem, MANIFEST_NAME};
pub use error::ContainerError;
pub use read::{Container, Entry, read};
pub use write::{WriteError, write};

pub(crate) use layout::{END_LEN, LOCAL_LEN};
pub(crate) use read::read_hashed;
pub(crate) use tail::Tail;
