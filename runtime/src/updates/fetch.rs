//! What an agent fetches: signed documents, and packages by the shortest way.

use std::path::PathBuf;
use std::time::Duration;

use mpkg_fleet::ReleaseRef;
use mpkg_manifest::AppId;
use mpkg_package::signing::{self, SplitError};
use mpkg_package::{Digest, limits};
use mpkg_registry_client::delta::{self, DeltaError};
use mpkg_registry_client::{Client, ClientError};
use thiserror::Error;

use super::event::{Paper, Way};
use super::vault::Vault;

/// Why a package could not be had.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{} cannot be read: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} holds no signed package: {source}", path.display())]
    Split { path: PathBuf, source: SplitError },
    #[error("{} holds another package than its name says", path.display())]
    Another { path: PathBuf },
    #[error("it is not in the folder, and there is no registry to get it from")]
    Missing,
}

impl FetchError {
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Client(error) => error.code(),
            Self::Split { source, .. } => Some(source.code()),
            Self::File { .. } | Self::Another { .. } | Self::Missing => None,
        }
    }
}

/// A random time up to this one: many hosts are told the same in the same moment.
pub(crate) fn some_of(time: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    time.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Documents that came, in the order in which they are to be taken in.
pub(crate) type Papers = Vec<(Paper, Vec<u8>)>;

/// What to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The head, with the roots before it.
    Head {
        /// Whether those are asked for.
        roots: bool,
    },
    /// The states of these apps.
    States(Vec<AppId>),
}

/// Fetches documents; gives those that came before something went wrong, too.
pub(crate) async fn documents(client: &Client, wanted: &Wanted) -> (Papers, Option<ClientError>) {
    let mut papers = Papers::new();
    let outcome = fetch(client, wanted, &mut papers).await;
    (papers, outcome.err())
}

async fn fetch(client: &Client, wanted: &Wanted, papers: &mut Papers) -> Result<(), ClientError> {
    match wanted {
        Wanted::Head { roots } => {
            if *roots {
                papers.push((Paper::Roots, client.registry_roots().await?));
            }
            papers.push((Paper::Head, client.head().await?));
        }
        Wanted::States(apps) => {
            for app in apps {
                papers.push((Paper::State { app: app.clone() }, client.state(app).await?));
            }
        }
    }
    Ok(())
}

/// Where packages come from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) client: Option<Client>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) vault: Vault,
}

/// A package as it came, to be verified.
pub(crate) struct Came {
    pub(crate) package: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) way: Way,
    /// A patch that did not give this package, on the way to it.
    pub(crate) refused: Option<PatchError>,
}

impl Source {
    /// Gets a package, as a patch to one of `bases` if there is one, which are given with their bytes.
    pub(crate) async fn get(
        &self,
        release: &ReleaseRef,
        bases: Vec<(Digest, Vec<u8>)>,
    ) -> Result<Came, FetchError> {
        if let Some(came) = self.in_folder(release).await? {
            return Ok(came);
        }
        let client = self.client.as_ref().ok_or(FetchError::Missing)?;
        let signature = client.signature(release.package.sha256).await?;
        let (patched, refused) = patched(client, release.package, bases).await;
        if let Some((package, bytes)) = patched {
            return Ok(Came { package, signature, way: Way::Delta(bytes), refused });
        }
        let path = self.vault.partial(release.package.sha256);
        client.download(release.package, &path, &mut |_| ()).await?;
        let read = tokio::fs::read(&path).await;
        let package = read.map_err(|source| FetchError::File { path: path.clone(), source })?;
        Ok(Came { package, signature, way: Way::Full, refused })
    }

    async fn in_folder(&self, release: &ReleaseRef) -> Result<Option<Came>, FetchError> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let path = folder.join(format!("{}.mpkg", release.package.sha256));
        let bytes = match bounded(path.clone(), limits::SIGNED).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FetchError::File { path, source }),
        };
        let split =
            signing::split(bytes).map_err(|source| FetchError::Split { path: path.clone(), source })?;
        if Digest::of(&split.unsigned) != release.package {
            return Err(FetchError::Another { path });
        }
        // Without a block it is refused as what it is: a package that nobody signed.
        let signature = split.block.map(|block| block.to_bytes()).unwrap_or_default();
        Ok(Some(Came { package: split.unsigned, signature, way: Way::Folder, refused: None }))
    }
}

/// Reads a file that may be no longer than that, whatever it says about itself.
pub(crate) async fn bounded(path: PathBuf, limit: usize) -> std::io::Result<Vec<u8>> {
    use tokio::io::AsyncReadExt;
    let file = tokio::fs::File::open(&path).await?;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > limit {
        return Err(std::io::Error::other(format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}

type Patched = (Option<(Vec<u8>, u64)>, Option<PatchError>);

/// Why a patch is not what was asked for.
#[derive(Debug, Error)]
pub(crate) enum PatchError {
    #[error(transparent)]
    Delta(#[from] DeltaError),
    #[error("the patch is longer than the package, of {size} bytes")]
    TooLarge { size: u64 },
}

impl PatchError {
    pub(crate) fn code(&self) -> Option<&'static str> {
        match self {
            Self::Delta(error) => error.code(),
            Self::TooLarge { .. } => None,
        }
    }
}

/// The package as a patch to the newest base that the registry has one for, with the patch's length. Whatever goes wrong
/// on this way, the whole package is still there to be had.
async fn patched(client: &Client, to: Digest, bases: Vec<(Digest, Vec<u8>)>) -> Patched {
    for (from, base) in bases.into_iter().rev() {
        let patch = match client.delta(from.sha256, to).await {
            Ok(Some(patch)) => patch,
            Ok(None) => continue,
            Err(ClientError::TooLarge { .. }) => {
                return (None, Some(PatchError::TooLarge { size: to.size }));
            }
            Err(error) => {
                tracing::debug!(%error, "no patch");
                return (None, None);
            }
        };
        let bytes = patch.len() as u64;
        let apply = move || delta::apply(&base, &patch, to);
        return match tokio::task::spawn_blocking(apply).await {
            Ok(Ok(package)) => (Some((package, bytes)), None),
            Ok(Err(error)) => (None, Some(error.into())),
            Err(_) => (None, None),
        };
    }
    (None, None)
}
