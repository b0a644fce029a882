//! What a package holds, said without trusting it.

use std::path::Path;

use mpkg_manifest::Manifest;
use mpkg_package::contents;
use mpkg_package::signing::Block;
use mpkg_package::verify::claims;
use mpkg_package::wasm;
use serde::Serialize;
use serde_json::Value;

use crate::error::Outcome;
use crate::exit::Exit;
use crate::ops::package::{self, Opened};
use crate::text;

/// Everything there is to see.
#[derive(Debug, Serialize)]
pub(crate) struct Contents {
    pub(crate) app_id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) release_seq: u64,
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) pages: Vec<String>,
    pub(crate) files: Vec<File>,
    pub(crate) permissions: Vec<Permission>,
    pub(crate) imports: Vec<Import>,
    pub(crate) exports: Vec<String>,
    pub(crate) signatures: Option<Signatures>,
    pub(crate) manifest: Value,
}

#[derive(Debug, Serialize)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) size: u64,
}

/// A permission in the words that a user gets to read.
#[derive(Debug, Serialize)]
pub(crate) struct Permission {
    pub(crate) name: String,
    /// Continues "This app can".
    pub(crate) can: String,
    pub(crate) risk: &'static str,
    pub(crate) required: bool,
    pub(crate) reason: Option<String>,
    pub(crate) scope: Value,
}

#[derive(Debug, Serialize)]
pub(crate) struct Import {
    pub(crate) name: String,
    pub(crate) permission: Option<String>,
}

/// What a signing block says. Nobody has checked it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Signatures {
    pub(crate) verified: bool,
    pub(crate) publisher: Option<String>,
    pub(crate) key_ids: Vec<String>,
    pub(crate) statement: Option<Value>,
    pub(crate) problem: Option<String>,
}

/// Takes a package apart.
pub(crate) fn contents(path: &Path) -> Outcome<Contents> {
    let opened = Opened::read(path)?;
    let checked = contents::check(opened.unsigned())
        .map_err(|error| package::refused_contents(path, opened.unsigned(), error, Exit::Failed))?;
    let (manifest, info) = (&checked.manifest.manifest, checked.info);
    let digest = opened.digest();
    let files = checked.container.entries().iter();
    let imports = info.imports.iter().filter(|import| import.kind != wasm::ImportKind::Types);
    Ok(Contents {
        app_id: manifest.app_id.to_string(),
        name: manifest.name.to_string(),
        version: manifest.version.name.to_string(),
        release_seq: manifest.version.code,
        digest: format!("sha256:{}", digest.sha256),
        size: digest.size,
        pages: manifest.pages.iter().map(ToString::to_string).collect(),
        files: files.map(|file| File { name: file.name.to_owned(), size: file.data.len() as u64 }).collect(),
        permissions: permissions(manifest),
        imports: imports
            .map(|import| Import {
                name: import.name.clone(),
                permission: import.permission().map(str::to_owned),
            })
            .collect(),
        exports: info.exports,
        signatures: opened.block().map(signatures),
        manifest: checked.manifest.node.to_value(),
    })
}

/// What an app asks for, in the order in which a user would be asked.
pub(crate) fn permissions(manifest: &Manifest) -> Vec<Permission> {
    let set = manifest.permissions();
    let one = |(name, scope): (&mpkg_manifest::permission::PermissionName, &_)| {
        let description = name.describe();
        Permission {
            name: name.to_string(),
            can: description.sentence.into_owned(),
            risk: description.risk.as_str(),
            required: !manifest.is_optional(name.as_str()),
            reason: manifest.reason(name.as_str()).map(str::to_owned),
            scope: serde_json::to_value(scope).unwrap_or_default(),
        }
    };
    set.iter().map(one).collect()
}

fn signatures(block: &Block) -> Signatures {
    match claims(block) {
        Ok(claims) => Signatures {
            verified: false,
            publisher: Some(claims.roots.publisher().to_string()),
            key_ids: claims.signers.iter().map(ToString::to_string).collect(),
            statement: serde_json::to_value(&claims.statement).ok(),
            problem: None,
        },
        Err(error) => Signatures { problem: Some(error.to_string()), ..Signatures::default() },
    }
}

/// `{"hosts": ["a", "b"]}` as `a, b`; `{"quota_bytes": 1024}` as `1.0 KiB`.
pub(crate) fn scope(scope: &Value) -> String {
    if let Some(hosts) = scope.get("hosts").and_then(Value::as_array) {
        return hosts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    }
    scope.get("quota_bytes").and_then(Value::as_u64).map(text::size).unwrap_or_default()
}
