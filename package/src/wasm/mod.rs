//! What a component asks for: its imports are its list of capabilities.

mod agreement;
mod imports;
mod inspect;

pub use agreement::{Disagreement, agreement};
pub use imports::{BRIDGE_MAJOR, Import, ImportKind, WASI_INTERFACES, WASI_MINOR};
pub use inspect::{ComponentInfo, Memory, features, inspect};

use crate::text::Shown;
use thiserror::Error;

/// Why a component is refused. Offsets are bytes from its start.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WasmError {
    /// Not WebAssembly, or a core module.
    #[error("this is not a WebAssembly component{}", if *.core { ", but a core module; mpkg build makes a component of it" } else { "" })]
    NotAComponent {
        /// Whether it is a core module.
        core: bool,
    },
    /// It does not validate.
    #[error("the component is not valid at byte {offset}: {}", Shown(.message))]
    Invalid {
        /// Where.
        offset: usize,
        /// What the validator said. It repeats names from the component; escape it before it reaches a terminal.
        message: String,
    },
    /// An import that no permission covers.
    #[error("the component imports {}, which no Mini App can have", Shown(.name))]
    UnknownImport {
        /// Its name.
        name: String,
    },
    /// An import from a bridge of another version.
    #[error("the component imports {}, this version provides mpkg:bridge@{BRIDGE_MAJOR}", Shown(.name))]
    BridgeVersion {
        /// Its name.
        name: String,
    },
    /// A WASI interface outside the table.
    #[error("the component imports {}, which is not among the WASI interfaces a Mini App can have", Shown(.name))]
    Wasi {
        /// Its name.
        name: String,
    },
    /// An import that is no interface.
    #[error("the component imports {} as a {kind}, only interfaces can be imported", Shown(.name))]
    ImportKind {
        /// Its name.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// No `app` export.
    #[error("the component does not export mpkg:bridge/app@{BRIDGE_MAJOR}, so it cannot be called")]
    NoApp,
}

impl WasmError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAComponent { .. } => "MPKG-W01",
            Self::Invalid { .. } => "MPKG-W02",
            Self::UnknownImport { .. } => "MPKG-W03",
            Self::BridgeVersion { .. } => "MPKG-W04",
            Self::Wasi { .. } => "MPKG-W05",
            Self::ImportKind { .. } => "MPKG-W06",
            Self::NoApp => "MPKG-W07",
        }
    }

    /// The byte of the component that the complaint is about; its first where it is about the whole.
    pub fn offset(&self) -> usize {
        if let Self::Invalid { offset, .. } = self { *offset } else { 0 }
    }
}
