//! The signing block, alone and in a package.

use mpkg_package::signing::{Block, embed, is_signed, split};
use mpkg_package::{Trust, claims, verify, verify_detached};

use crate::{check_refusal, seeds};

/// Any bytes as a detached signature and as a signed package.
pub fn signing_block(data: &[u8]) {
    let trust = Trust::key(&seeds::key().public());
    match Block::parse(data) {
        Err(error) => check_refusal(error.code(), &error.to_string(), Some(error.offset()), data.len()),
        Ok(block) => {
            assert_eq!(block.to_bytes(), data, "a block has another byte form");
            assert_eq!(Block::new(block.pairs().to_vec()).expect("it was read"), block);
            if let Err(error) = claims(&block) {
                check_refusal(error.code(), &error.to_string(), None, 0);
            }
            let package = seeds::package();
            let signed = embed(&package, &block).expect("any block can be put into any package");
            assert!(is_signed(&signed));
            let parts = split(signed).expect("it was just put in");
            assert_eq!((&parts.unsigned, parts.block.as_ref()), (&package, Some(&block)));
        }
    }
    match verify_detached(seeds::package(), data, &trust) {
        Ok(verified) => assert_eq!(verified.package(), seeds::package()),
        Err(error) => check_refusal(error.code(), &error.to_string(), None, 0),
    }

    let copy = data.to_vec();
    match split(copy) {
        Err(error) => check_refusal(error.code(), &error.to_string(), Some(error.offset()), data.len()),
        Ok(parts) => {
            assert_eq!(is_signed(data), parts.block.is_some());
            match parts.block {
                None => assert_eq!(parts.unsigned, data),
                // What is left can still end like a block; then nobody can sign it, and no reader takes it.
                Some(block) => match embed(&parts.unsigned, &block) {
                    Ok(again) => assert_eq!(again, data, "taking the block out lost something"),
                    Err(error) => assert_eq!(error.code(), "MPKG-Z25"),
                },
            }
        }
    }
    // Nobody but the key's owner signs with it, and it signed one package.
    match verify(data.to_vec(), &trust) {
        Ok(verified) => assert_eq!(verified.package(), seeds::package()),
        Err(error) => check_refusal(error.code(), &error.to_string(), error.offset(), data.len()),
    }
}
