//! `files`: a private folder of one app and one user, within a quota. Permission `files`.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::runtime::Handle;

use super::params::{Deleted, Done, Nothing, Prefix};
use super::{Bridge, Caller, WRITE, blocking};
use crate::files::{FILES, FileError, Folder, Stat};
use crate::rpc::{RpcError, code};

/// The most bytes of one `files.read`; fewer if messages are shorter.
const PART: usize = 512 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    path: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    length: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Write {
    path: String,
    #[serde(default)]
    base64: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    append: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct At {
    path: String,
}

#[derive(Serialize)]
struct Contents {
    base64: String,
    size: u64,
    /// There is more behind this part.
    more: bool,
}

#[derive(Serialize)]
struct Listed {
    paths: Vec<String>,
}

#[derive(Serialize)]
struct Found {
    found: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_ms: Option<u64>,
}

#[derive(Serialize)]
struct Used {
    used_bytes: u64,
    quota_bytes: u64,
    files: usize,
    max_files: usize,
}

/// Runs `work` on the caller's folder, where it may wait for the disk.
async fn in_folder<T: Send + 'static>(
    caller: &Caller,
    work: impl FnOnce(&Folder, u64) -> Result<T, FileError> + Send + 'static,
) -> Result<T, RpcError> {
    let here = Handle::current();
    let done = blocking(caller, &here, move |caller| {
        let folder = caller.session.local.folder()?;
        work(&folder, caller.session.local.files_quota)
    });
    done.await.unwrap_or(Err(FileError::Gone)).map_err(refused)
}

fn refused(error: FileError) -> RpcError {
    let message = format!("{error}.");
    match error {
        FileError::BadPath { .. } => RpcError::invalid_params(message),
        FileError::Missing { .. } | FileError::Clash { .. } => RpcError::new(code::REFUSED, message),
        FileError::Quota { used, quota, .. }
        | FileError::TooMany { used, quota }
        | FileError::TooManyFolders { used, quota, .. } => RpcError::new(code::QUOTA_EXCEEDED, message)
            .with_data(json!({ "used_bytes": used, "quota_bytes": quota })),
        FileError::Gone => RpcError::new(code::CANCELLED, "The app is being stopped."),
        FileError::Io(error) => {
            tracing::error!(%error, "an app's folder failed");
            RpcError::internal()
        }
    }
}

fn decode(base64: Option<String>, text: Option<String>) -> Result<Vec<u8>, RpcError> {
    match (base64, text) {
        (Some(base64), None) => BASE64
            .decode(base64.as_bytes())
            .map_err(|error| RpcError::invalid_params(format!("`base64` is not that: {error}."))),
        (None, Some(text)) => Ok(text.into_bytes()),
        _ => Err(RpcError::invalid_params("Give the contents as either `base64` or `text`.")),
    }
}

pub(super) fn bridge() -> Bridge {
    Bridge::new("files")
        .method("files.read", |caller, Read { path, offset, length }| async move {
            // Base64 is a third longer, and there is something around it.
            let most = PART.min(caller.session.limits.message_bytes / 2);
            let length = length.unwrap_or(most).min(most);
            let part = in_folder(&caller, move |folder, _| folder.read(&path, offset, length)).await?;
            let more = offset.saturating_add(part.bytes.len() as u64) < part.size;
            Ok(Contents { base64: BASE64.encode(&part.bytes), size: part.size, more })
        })
        .method("files.write", |caller, Write { path, base64, text, append }| async move {
            let bytes = decode(base64, text)?;
            caller.session.write(bytes.len() + WRITE)?;
            in_folder(&caller, move |folder, quota| match append {
                true => folder.append(&path, &bytes, quota),
                false => folder.write(&path, &bytes, quota),
            })
            .await?;
            Ok(Done {})
        })
        .method("files.delete", |caller, At { path }| async move {
            caller.session.write(WRITE)?;
            let existed = in_folder(&caller, move |folder, _| folder.delete(&path)).await?;
            Ok(Deleted { existed })
        })
        .method("files.list", |caller, Prefix { prefix }| async move {
            let paths = in_folder(&caller, move |folder, _| folder.list(&prefix)).await?;
            Ok(Listed { paths })
        })
        .method("files.stat", |caller, At { path }| async move {
            let stat = in_folder(&caller, move |folder, _| folder.stat(&path)).await?;
            let (size, modified_ms) = match stat {
                Some(Stat { size, modified_ms }) => (Some(size), modified_ms),
                None => (None, None),
            };
            Ok(Found { found: stat.is_some(), size, modified_ms })
        })
        .method("files.usage", |caller, _: Nothing| async move {
            let (used_bytes, files) = in_folder(&caller, |folder, _| folder.usage()).await?;
            let quota_bytes = caller.session.local.files_quota;
            Ok(Used { used_bytes, quota_bytes, files, max_files: FILES })
        })
}
