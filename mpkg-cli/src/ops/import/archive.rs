//! Reading a foreign archive with a bound on everything.
//!
//! What is read here is never run and never trusted: it becomes files of a project that its owner then looks at. So
//! the archive need not be canonical, but it must not fill the disk, leave its folder, or mean two things.

use std::io::{Cursor, Read};

use mpkg_package::limits;
use zip::{CompressionMethod, ZipArchive};

use super::error::ImportError;
use super::{Note, spec};

/// A file of the archive.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) data: Vec<u8>,
}

/// More than a data descriptor between the last file and the directory is a block of its own.
const DESCRIPTOR: u64 = 24;

/// Reads all files of an archive.
pub(super) fn read(bytes: &[u8], notes: &mut Vec<Note>) -> Result<Vec<File>, ImportError> {
    let too_large = |what: String, limit: usize| Err(ImportError::TooLarge { what, limit });
    if bytes.len() > limits::PACKAGE {
        return too_large("it is too large".to_owned(), limits::PACKAGE);
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if archive.len() > limits::ENTRIES {
        return Err(ImportError::TooMany { entries: archive.len(), limit: limits::ENTRIES });
    }
    // Of two files with one name each reader takes another.
    if archive.has_duplicate_names() {
        return Err(ImportError::Twice);
    }
    // Entries that share bytes are how a small archive unpacks to a huge one.
    if archive.has_overlapping_entries().map_err(broken)? {
        return Err(ImportError::NotAnArchive { reason: "its files overlap".to_owned() });
    }
    let (mut files, mut total, mut end) = (Vec::new(), 0, 0);
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        let name = name(entry.name_raw())?;
        end = end.max(entry.data_start().unwrap_or_default() + entry.compressed_size());
        if entry.is_dir() || name.ends_with('/') {
            continue;
        }
        if entry.is_symlink() {
            return Err(ImportError::Name { name, problem: "it is a link, which could lead anywhere" });
        }
        let method = entry.compression();
        if method != CompressionMethod::Stored && method != CompressionMethod::Deflated {
            let reason = format!("{name} is compressed by {method}, neither stored nor deflated");
            return Err(ImportError::NotAnArchive { reason });
        }
        // The stated size may lie: what counts is what comes out.
        let mut data = Vec::new();
        entry.by_ref().take(limits::ENTRY as u64 + 1).read_to_end(&mut data).map_err(|error| {
            ImportError::NotAnArchive {
                reason: format!("{name} is damaged: {}", crate::error::reason(&error)),
            }
        })?;
        total += data.len();
        if data.len() > limits::ENTRY {
            return too_large(format!("{name} is too large when unpacked"), limits::ENTRY);
        }
        if total > limits::PACKAGE {
            return too_large("its files are too large together when unpacked".to_owned(), limits::PACKAGE);
        }
        files.push(File { name, data });
    }
    leftovers(&archive, end, notes);
    Ok(files)
}

/// What is in the file, but in none of its entries.
fn leftovers(archive: &ZipArchive<Cursor<&[u8]>>, end: u64, notes: &mut Vec<Note>) {
    let gap = archive.central_directory_start().saturating_sub(end);
    if gap > DESCRIPTOR {
        let what = format!(
            "{gap} bytes between files and directory, where a signature stands: sign the new package"
        );
        notes.push(Note::lost(what, spec::SIGNATURE));
    }
    if archive.offset() > 0 {
        notes.push(Note::lost(format!("{} bytes before the archive", archive.offset()), spec::ZIP));
    }
    if !archive.comment().is_empty() {
        notes.push(Note::lost("the archive's comment", spec::ZIP));
    }
}

/// An entry's name, if it stays inside of the package.
fn name(raw: &[u8]) -> Result<String, ImportError> {
    let lossy = String::from_utf8_lossy(raw).into_owned();
    let refuse = |problem| Err(ImportError::Name { name: lossy.clone(), problem });
    let Ok(name) = std::str::from_utf8(raw) else { return refuse("names must be UTF-8") };
    if name.starts_with('/') || name.contains('\\') || name.chars().any(char::is_control) {
        return refuse("it is absolute, or holds characters that no name may have");
    }
    if name.trim_end_matches('/').split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return refuse("it leads out of the package");
    }
    Ok(name.to_owned())
}

fn broken(error: zip::result::ZipError) -> ImportError {
    ImportError::NotAnArchive { reason: error.to_string() }
}
