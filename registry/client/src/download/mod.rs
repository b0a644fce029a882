//! A package from a registry into a file, however often the connection breaks.

mod range;
mod sink;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use mpkg_package::Digest;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_RANGE, RANGE,
};
use reqwest::{Method, Response, StatusCode};

use self::sink::Sink;
use crate::error::ClientError;
use crate::follow::Backoff;
use crate::request::{Client, refusal};

/// Bytes that go to the disk at once: connections hand out a few KiB at a time.
const PART: usize = 256 << 10;
/// Tries that bring nothing, one after the other, before it is given up.
const TRIES: u32 = 6;
/// Tries altogether: one that brings a byte each time is no registry either.
const TRIES_IN_ALL: u32 = 512;

type Result<T> = std::result::Result<T, ClientError>;

impl Client {
    /// Downloads a package into a file, and goes on after what is there of it from an earlier time. A connection that
    /// breaks is made again, with growing pauses, until several of them in a row brought nothing; then what came stays
    /// for the next time. When this returns, the file is the package: its length and SHA-256 were checked. It is not
    /// synced, and its signature is not looked at.
    ///
    /// Nothing longer than the package is ever stored. Where something else came than was asked for, the file is
    /// removed. There is no bound on time as long as bytes keep coming: whoever wants one drops the future, after which
    /// this can be called again.
    ///
    /// `progress` is told how many bytes of the package are there. That can go back, where a registry does not go on
    /// from the middle.
    ///
    /// ```no_run
    /// # use mpkg_registry_client::{Client, ClientError};
    /// # async fn get(client: Client, release: mpkg_fleet::ReleaseRef) -> Result<(), ClientError> {
    /// let path = std::path::Path::new("package.part");
    /// client.download(release.package, path, &mut |bytes| println!("{bytes}")).await?;
    /// let signature = client.signature(release.package.sha256).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn download(
        &self,
        digest: Digest,
        partial: &Path,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<()> {
        let limit = mpkg_package::limits::PACKAGE;
        if digest.size > limit as u64 {
            return Err(ClientError::TooLarge { limit });
        }
        Download::new(self, digest, partial, Backoff::default()).await?.run(progress).await
    }
}

/// What the next request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    /// All of it, compressed if possible.
    All,
    /// The package, from where it ends here.
    Plain,
    /// The compressed form that has this ETag, from where it ends here. One that has none cannot be gone on with.
    Compressed { etag: Option<String> },
}

struct Download<'a> {
    client: &'a Client,
    digest: Digest,
    path: &'a Path,
    backoff: Backoff,
    /// Shared with the threads that write, one at a time.
    sink: Arc<Mutex<Sink>>,
    next: Next,
    /// Some of what is in the file came before this began.
    resumed: bool,
}

impl<'a> Download<'a> {
    async fn new(client: &'a Client, digest: Digest, path: &'a Path, backoff: Backoff) -> Result<Self> {
        let (file, size) = (path.to_owned(), digest.size);
        let sink = blocking(move || Sink::open(&file, size).map_err(ClientError::Disk)).await?;
        let resumed = sink.written() > 0;
        let next = if resumed { Next::Plain } else { Next::All };
        Ok(Self { client, digest, path, backoff, sink: Arc::new(Mutex::new(sink)), next, resumed })
    }

    /// Does something with the file, on a thread that may wait for a disk.
    async fn sink<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Sink) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let sink = Arc::clone(&self.sink);
        blocking(move || act(&mut sink.lock().unwrap_or_else(PoisonError::into_inner))).await
    }

    async fn run(mut self, progress: &mut (dyn FnMut(u64) + Send)) -> Result<()> {
        let result = self.fetch(progress).await;
        // What is known to be wrong would only be found wrong again.
        if matches!(
            result,
            Err(ClientError::Package { .. } | ClientError::TooLarge { .. } | ClientError::Damaged(_))
        ) {
            let path = self.path.to_owned();
            blocking(move || std::fs::remove_file(path).map_err(ClientError::Disk)).await?;
        }
        result
    }

    async fn fetch(&mut self, progress: &mut (dyn FnMut(u64) + Send)) -> Result<()> {
        loop {
            self.complete(progress).await?;
            let found = self.sink(Sink::digest).await?;
            if found == self.digest {
                return Ok(());
            }
            if !self.resumed {
                return Err(ClientError::Package { found });
            }
            // What was there may be what a power cut made of it: once more, from nothing.
            self.resumed = false;
            self.restart(Next::All).await?;
        }
    }

    /// Gets what is missing.
    async fn complete(&mut self, progress: &mut (dyn FnMut(u64) + Send)) -> Result<()> {
        if self.sink(|sink| Ok(sink.is_whole())).await? {
            return Ok(());
        }
        let (mut tries, mut all) = (0, 0);
        let mut best = self.sink(|sink| Ok(sink.taken())).await?;
        loop {
            let result = self.attempt(progress).await;
            let (written, taken, whole) =
                self.sink(|sink| Ok((sink.written(), sink.taken(), sink.is_whole()))).await?;
            let error = match result {
                Err(error) if !error.is_passing() => return Err(error),
                _ if whole => return Ok(()),
                Ok(()) => ClientError::Short { found: written, wanted: self.digest.size },
                Err(error) => error,
            };
            // Over the furthest that it ever came: a registry that begins again and again brings nothing.
            all += 1;
            if taken > best {
                (best, tries) = (taken, 0);
            } else {
                tries += 1;
            }
            if tries >= TRIES || all >= TRIES_IN_ALL {
                return Err(error);
            }
            tracing::debug!(%error, taken, "a download broke off");
            tokio::time::sleep(self.backoff.wait(tries)).await;
        }
    }

    async fn restart(&mut self, next: Next) -> Result<()> {
        let compressed = matches!(next, Next::Compressed { .. });
        self.next = next;
        self.sink(move |sink| sink.restart(compressed)).await
    }

    /// One request, and what comes back until the end or until it breaks.
    async fn attempt(&mut self, progress: &mut (dyn FnMut(u64) + Send)) -> Result<()> {
        if self.next == (Next::Compressed { etag: None }) {
            self.next = Next::Plain;
            self.sink(Sink::go_on_plain).await?;
        }
        let from = self.sink(|sink| Ok(sink.taken())).await?;
        let sha256 = self.digest.sha256.to_string();
        let request = self.client.request(Method::GET, self.client.url(&["v1", "packages", &sha256], &[]));
        let (accept, etag) = match &self.next {
            Next::All => ("zstd", None),
            Next::Plain => ("identity", Some(format!("\"{sha256}\""))),
            Next::Compressed { etag } => ("zstd", etag.clone()),
        };
        let mut request = request.header(ACCEPT_ENCODING, accept);
        if let Some(etag) = etag {
            request = request.header(RANGE, format!("bytes={from}-")).header(IF_RANGE, etag);
        }
        let mut response = request.send().await?;
        match response.status() {
            StatusCode::OK => self.restart(self.whole(&response)?).await?,
            StatusCode::PARTIAL_CONTENT => self.expect_part(response.headers(), from)?,
            // What is here is longer than what is there.
            StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => {
                self.restart(Next::All).await?;
                return Err(ClientError::Short { found: 0, wanted: self.digest.size });
            }
            _ => return Err(refusal(response).await),
        }
        let mut part = Vec::with_capacity(PART);
        loop {
            let chunk = response.chunk().await;
            if let Ok(Some(chunk)) = &chunk {
                part.extend_from_slice(chunk);
                if part.len() < PART {
                    continue;
                }
            }
            // What came before it broke counts.
            if !part.is_empty() {
                let (written, again) = self
                    .sink(move |sink| {
                        sink.put(&part)?;
                        part.clear();
                        Ok((sink.written(), part))
                    })
                    .await?;
                part = again;
                progress(written);
            }
            if chunk?.is_none() {
                return self.sink(Sink::end).await;
            }
        }
    }

    /// What to go on with after an answer with everything.
    fn whole(&self, response: &Response) -> Result<Next> {
        let headers = response.headers();
        if is_compressed(headers)? {
            // A weak one does not say that it is the same bytes.
            let etag = text(headers, ETAG).filter(|etag| etag.starts_with('"'));
            return Ok(Next::Compressed { etag: etag.map(str::to_owned) });
        }
        // What is here is not given up for something that cannot be it.
        match response.content_length() {
            Some(length) if length != self.digest.size => Err(ClientError::Answer(format!(
                "the package has {length} bytes rather than {}",
                self.digest.size
            ))),
            _ => Ok(Next::Plain),
        }
    }

    /// Refuses a part of something else.
    fn expect_part(&self, headers: &HeaderMap, from: u64) -> Result<()> {
        let wrong = |what: &str| ClientError::Answer(format!("a part that was not asked for: {what}"));
        let given = text(headers, CONTENT_RANGE).unwrap_or_default();
        let range = range::read(given).ok_or_else(|| wrong("it does not say which"))?;
        if range.from != from {
            return Err(wrong(&format!("it begins at {} rather than {from}", range.from)));
        }
        match &self.next {
            Next::All => Err(wrong("everything was")),
            Next::Plain if is_compressed(headers)? => Err(wrong("it is compressed")),
            Next::Plain if range.size != self.digest.size => {
                Err(wrong(&format!("it is one of {} bytes", range.size)))
            }
            Next::Compressed { .. } if !is_compressed(headers)? => Err(wrong("it is not compressed")),
            Next::Compressed { etag } if text(headers, ETAG) != etag.as_deref() => {
                Err(wrong("it is of another compressed form"))
            }
            _ => Ok(()),
        }
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn is_compressed(headers: &HeaderMap) -> Result<bool> {
    match text(headers, CONTENT_ENCODING) {
        None if !headers.contains_key(CONTENT_ENCODING) => Ok(false),
        Some("identity") => Ok(false),
        Some("zstd") => Ok(true),
        _ => Err(ClientError::Answer("the package is in an encoding that nobody asked for".into())),
    }
}

async fn blocking<T: Send + 'static>(act: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(act).await.map_err(|error| ClientError::Disk(std::io::Error::other(error)))?
}
