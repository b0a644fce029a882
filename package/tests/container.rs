//! The container: one byte form, the same as another encoder's, and nothing else is read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};

use mpkg_package::container::{read, write};
use proptest::prelude::*;
use support::archive::{archive, raw};
use zip::write::SimpleFileOptions;

/// The same files, written by the `zip` crate.
fn zip_writer(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::DEFAULT
        .compression_method(zip::CompressionMethod::Stored)
        .system(zip::System::Dos)
        .external_attributes(0);
    for (name, contents) in files {
        writer.start_file(name, options).unwrap();
        writer.write_all(contents).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn files() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = "[a-z_][a-z0-9_-]{0,6}(/[A-Z][a-z0-9.]{0,4}[a-z]){0,3}";
    let contents = prop::collection::vec(any::<u8>(), 0..64);
    (prop::collection::vec(any::<u8>(), 0..64), prop::collection::btree_map(name, contents, 0..12)).prop_map(
        |(manifest, others): (Vec<u8>, BTreeMap<String, Vec<u8>>)| {
            let mut files = vec![("manifest.json".to_owned(), manifest)];
            files.extend(others);
            files
        },
    )
}

proptest! {
    #[test]
    fn three_encoders_write_the_same_bytes(files in files()) {
        if let Ok(ours) = write(&files) {
            prop_assert_eq!(&ours, &zip_writer(&files));
            let raws = files.iter().map(|(name, data)| raw(name.clone(), data.clone())).collect();
            prop_assert_eq!(&ours, &archive(raws).build());
        }
    }

    #[test]
    fn what_is_written_is_read(files in files()) {
        let Ok(bytes) = write(&files) else { return Ok(()) };
        let container = read(&bytes).unwrap();
        let found: Vec<(String, Vec<u8>)> =
            container.entries().iter().map(|entry| (entry.name.to_owned(), entry.data.to_vec())).collect();
        prop_assert_eq!(&found, &files);
        for entry in container.entries() {
            prop_assert_eq!(&bytes[entry.range()], entry.data);
        }
        let mut shuffled = files.clone();
        shuffled.reverse();
        prop_assert_eq!(write(&shuffled).unwrap(), bytes);
    }

    #[test]
    fn what_is_read_is_what_would_be_written(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        // Random bytes alone never get past the end record; with one they get further.
        let mut framed = bytes.clone();
        framed.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        framed.extend_from_slice(&(bytes.len() as u32 / 2).to_le_bytes());
        framed.extend_from_slice(&(bytes.len() as u32 - bytes.len() as u32 / 2).to_le_bytes());
        framed.extend_from_slice(&[0, 0]);
        for bytes in [bytes, framed] {
            if let Ok(container) = read(&bytes) {
                let files: Vec<(&str, &[u8])> =
                    container.entries().iter().map(|entry| (entry.name, entry.data)).collect();
                prop_assert_eq!(write(&files).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn damaged_packages_are_refused(files in files(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let Ok(mut bytes) = write(&files) else { return Ok(()) };
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert!(read(&bytes).is_err());
    }
}

#[test]
fn every_flipped_bit_of_an_unsigned_package_is_refused() {
    let package = support::package();
    assert!(read(&package).is_ok());
    for bit in 0..package.len() * 8 {
        let mut flipped = package.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&flipped).is_err(), "bit {bit} was flipped and nothing noticed");
    }
}

#[test]
fn every_cut_and_every_spare_byte_is_refused() {
    let package = support::package();
    for length in 0..package.len() {
        assert!(read(&package[..length]).is_err(), "cut to {length} bytes");
        let longer = [&package[..length], &[0], &package[length..]].concat();
        assert!(read(&longer).is_err(), "a byte put in at {length}");
    }
}

#[test]
fn offsets_point_at_the_trouble() {
    let package = support::package();
    let mut flipped = package.clone();
    let made_by = package.windows(4).position(|four| four == b"PK\x01\x02").unwrap() + 4;
    flipped[made_by + 1] = 3;
    let error = read(&flipped).unwrap_err();
    assert_eq!((error.code(), error.offset()), ("MPKG-Z26", made_by + 1));
    let mut flipped = package;
    flipped[10] ^= 1;
    let error = read(&flipped).unwrap_err();
    assert_eq!((error.code(), error.offset()), ("MPKG-Z23", 10));
}

#[test]
fn archives_that_other_readers_disagree_about_are_refused() {
    let Some(folder) = support::corpora() else { return };
    let mut refused = 0;
    for file in std::fs::read_dir(folder.join("zip/warehouse/reject")).unwrap() {
        let path = file.unwrap().path();
        let error = read(&std::fs::read(&path).unwrap()).map(|_| ()).expect_err(&path.display().to_string());
        assert!(error.code().starts_with("MPKG-Z"));
        refused += 1;
    }
    assert_eq!(refused, 35);
    for file in std::fs::read_dir(folder.join("zip/warehouse/accept")).unwrap() {
        // None of them begins with a manifest, so none is a package; reading them must only not go wrong.
        assert!(read(&std::fs::read(file.unwrap().path()).unwrap()).is_err());
    }
    for file in std::fs::read_dir(folder.join("w3c-miniapp")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ma") {
            assert!(read(&std::fs::read(path).unwrap()).is_err());
        }
    }
}
