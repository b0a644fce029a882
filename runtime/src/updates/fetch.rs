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
    #[error("it did not come within {} s", .0.as_secs())]
    Slow(Duration),
}

impl FetchError {
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Client(error) => error.code(),
            Self::Split { source, .. } => Some(source.code()),
            Self::File { .. } | Self::Another { .. } | Self::Missing | Self::Slow(_) => None,
        }
    }
}

/// How long one document may take. A registry that sends a byte now and then holds up nothing for ever.
pub(crate) const DOCUMENT: Duration = Duration::from_secs(60);
/// How long documents that are fetched together may take, in the time of one.
const DOCUMENTS: u32 = 4;
/// How long a package may take, besides what its length takes on the slowest connection that is waited for.
const PACKAGE: Duration = Duration::from_secs(600);
/// Bytes in a second on that.
const SLOWEST: u64 = 8 << 10;

/// How long a package of this many bytes may take, and a patch to it.
pub(crate) fn time_for(bytes: u64) -> Duration {
    PACKAGE + Duration::from_secs(bytes / SLOWEST)
}

async fn within<T>(
    time: Duration,
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, FetchError> {
    Ok(tokio::time::timeout(time, work).await.map_err(|_| FetchError::Slow(time))??)
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

/// Fetches documents; gives those that came although something went wrong, too, and what that was. Each may take so long,
/// and all of them a few times that.
pub(crate) async fn documents(
    client: &Client,
    wanted: &Wanted,
    each: Duration,
) -> (Papers, Option<FetchError>) {
    let mut papers = Papers::new();
    let all = each * DOCUMENTS;
    let outcome = tokio::time::timeout(all, fetch(client, wanted, each, &mut papers)).await;
    (papers, outcome.unwrap_or(Err(FetchError::Slow(all))).err())
}

async fn fetch(
    client: &Client,
    wanted: &Wanted,
    each: Duration,
    papers: &mut Papers,
) -> Result<(), FetchError> {
    match wanted {
        Wanted::Head { roots } => {
            if *roots {
                papers.push((Paper::Roots, within(each, client.registry_roots()).await?));
            }
            papers.push((Paper::Head, within(each, client.head()).await?));
            Ok(())
        }
        Wanted::States(apps) => {
            let mut outcome = Ok(());
            for app in apps {
                // One app's that cannot be had keeps back no other's.
                match within(each, client.state(app)).await {
                    Ok(state) => papers.push((Paper::State { app: app.clone() }, state)),
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
            outcome
        }
    }
}

/// Where packages come from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) client: Option<Client>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) vault: Vault,
    /// How long a package may take, or a patch to it.
    pub(crate) time: fn(u64) -> Duration,
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
        match self.in_folder(release).await {
            Ok(Some(came)) => return Ok(came),
            Ok(None) => {}
            // Whoever fills the folder must not keep from this host what its registry has.
            Err(error) if self.client.is_some() => {
                tracing::warn!(%error, "what is in the folder is passed over");
            }
            Err(error) => return Err(error),
        }
        let client = self.client.as_ref().ok_or(FetchError::Missing)?;
        let time = (self.time)(release.package.size);
        let signature = within(time.min(DOCUMENT), client.signature(release.package.sha256)).await?;
        let patch = tokio::time::timeout(time, patched(client, release.package, bases)).await;
        let (patched, refused) = patch.unwrap_or((None, None));
        if let Some((package, bytes)) = patched {
            return Ok(Came { package, signature, way: Way::Delta(bytes), refused });
        }
        let path = self.vault.partial(release.package.sha256);
        // What came of it in that time stays for the next one.
        within(time, client.download(release.package, &path, &mut |_| ())).await?;
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A registry that answers what has `slow` in its path a byte at a time, for ever, and everything else with `fine`.
    async fn trickling(slow: String) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let slow = slow.clone();
                tokio::spawn(async move {
                    let mut request = vec![0; 4096];
                    let mut read = 0;
                    while !request[..read].ends_with(b"\r\n\r\n") {
                        match socket.read(&mut request[read..]).await {
                            Ok(0) | Err(_) => return,
                            Ok(more) => read += more,
                        }
                    }
                    let line = String::from_utf8_lossy(&request[..read]).lines().next().unwrap().to_owned();
                    if !line.contains(&slow) {
                        let fine = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine";
                        let _ = socket.write_all(fine).await;
                        return;
                    }
                    let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n").await;
                    while socket.write_all(b"x").await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                });
            }
        });
        Client::new(&address, None).unwrap()
    }

    #[tokio::test]
    async fn an_app_whose_state_trickles_keeps_back_no_other() {
        let client = trickling("org.example.slow".to_owned()).await;
        let apps = ["org.example.slow", "org.example.b"].map(|app| app.parse().unwrap());
        let wanted = Wanted::States(apps.to_vec());
        let (papers, error) = documents(&client, &wanted, Duration::from_secs(2)).await;
        let [_, b] = apps;
        assert_eq!(papers, [(Paper::State { app: b }, b"fine".to_vec())]);
        assert!(matches!(error, Some(FetchError::Slow(_))), "{error:?}");
    }

    #[tokio::test]
    async fn a_package_that_trickles_is_given_up() {
        let package = Digest { size: 60_000, ..Digest::of(b"package") };
        let client = trickling(format!("{} ", package.sha256)).await;
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::open(folder.path(), false).unwrap();
        let source = Source { client: Some(client), folder: None, vault, time: |_| Duration::from_secs(2) };
        let release = ReleaseRef { package, release_seq: 1, version: "1.0.0".parse().unwrap() };
        let outcome = source.get(&release, Vec::new()).await;
        assert!(matches!(outcome, Err(FetchError::Slow(_))));
    }

    #[test]
    fn what_is_larger_may_take_longer() {
        assert_eq!(time_for(0), PACKAGE);
        assert_eq!(time_for(limits::PACKAGE as u64), PACKAGE + Duration::from_secs(8 << 10));
    }
}
