//! A Mini App that keeps short notes.

use mpkg_sdk::{Error, log, storage};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Where the notes are kept.
const KEY: &str = "notes";
const LONGEST: usize = 280;

/// The app while it runs. The host makes one with `Default` at launch.
#[derive(Default)]
struct Notes {
    notes: Vec<Note>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    id: u32,
    text: String,
}

#[derive(Deserialize)]
struct Add {
    text: String,
}

#[derive(Deserialize)]
struct Remove {
    id: u32,
}

#[mpkg_sdk::app]
impl Notes {
    #[on("lifecycle.launched")]
    fn launched(&mut self) -> Result<(), Error> {
        self.notes = storage::get(KEY)?.unwrap_or_default();
        log::info(&format!("{} notes", self.notes.len()));
        Ok(())
    }

    #[method("notes.add")]
    fn add(&mut self, params: Add) -> Result<Note, Error> {
        let text = params.text.trim();
        if text.is_empty() || text.chars().count() > LONGEST {
            return Err(Error::invalid_params("text", format!("must have 1 to {LONGEST} characters")));
        }
        let id = self.notes.iter().map(|note| note.id).max().unwrap_or(0) + 1;
        let note = Note { id, text: text.to_owned() };
        let notes = [&self.notes[..], std::slice::from_ref(&note)].concat();
        storage::set(KEY, &notes)?;
        self.notes = notes;
        Ok(note)
    }

    #[method("notes.list")]
    fn list(&self) -> Vec<Note> {
        self.notes.clone()
    }

    #[method("notes.remove")]
    fn remove(&mut self, params: Remove) -> Result<(), Error> {
        let left: Vec<Note> = self.notes.iter().filter(|note| note.id != params.id).cloned().collect();
        if left.len() == self.notes.len() {
            return Err(Error::app(404, format!("there is no note {}", params.id)));
        }
        storage::set(KEY, &left)?;
        self.notes = left;
        Ok(())
    }
}
