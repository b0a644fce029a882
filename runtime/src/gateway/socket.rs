//! A page's WebSocket.
//!
//! A few messages are under way at a time: from when they are read until their answers are sent. While there are as
//! many nothing more is read, so a page that sends without reading fills its own buffers and nobody else's.

use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::stream::try_unfold;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use soketto::Incoming;
use soketto::connection::{Builder, Error, Mode};
use soketto::data::ByteSlice125;
use tokio::io::BufStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::calls::{Answer, Calls};

/// Messages of one connection that are read, and their answers not sent yet.
const UNDER_WAY: usize = 8;
/// A page that does not take what it is sent for this long is given up.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often something is sent, to learn whether anybody is left.
const BEAT: Duration = Duration::from_secs(20);

const NOTHING: &[u8] = &[];

type Io = Compat<BufStream<TokioIo<Upgraded>>>;
type Sender = soketto::Sender<Io>;
type Receiver = soketto::Receiver<Io>;

/// Why a socket was given up.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("it takes nothing")]
    Unread,
    #[error("it says something else in the midst of a message")]
    Midst,
    #[error("{0}")]
    Socket(#[from] Error),
}

enum Message {
    Whole(Vec<u8>),
    TooLong,
}

/// Serves a WebSocket until it is closed. Dropped, it closes at once.
pub(super) async fn serve(io: Upgraded, calls: Calls) {
    let io = BufStream::new(TokioIo::new(io)).compat();
    let mut builder = Builder::new(io, Mode::Server);
    builder.set_max_message_size(calls.longest());
    let (sender, receiver) = builder.finish();
    let sender = Mutex::new(sender);
    let (to, by) = (&sender, &calls);
    let answering = try_unfold(Some(receiver), read)
        .try_for_each_concurrent(UNDER_WAY, |message| answer(by, to, message));
    let ended = tokio::select! {
        ended = answering => ended,
        ended = beat(to) => ended,
    };
    match ended {
        // The page has closed it, or is to hear that it is closed.
        Ok(()) => drop(timeout(PATIENCE, sender.into_inner().close()).await),
        Err(error) => tracing::debug!(%error, "a page's WebSocket was given up"),
    }
}

/// The next message, and what to read the one after it from.
async fn read(receiver: Option<Receiver>) -> Result<Option<(Message, Option<Receiver>)>, Broken> {
    let Some(mut receiver) = receiver else { return Ok(None) };
    let mut message = Vec::new();
    loop {
        match receiver.receive(&mut message).await {
            Ok(Incoming::Data(_)) => break,
            Ok(Incoming::Pong(_)) if message.is_empty() => {}
            // In the midst of a message in parts soketto forgets how long that was by then.
            Ok(Incoming::Pong(_)) => return Err(Broken::Midst),
            Ok(Incoming::Closed(_)) | Err(Error::Closed) => return Ok(None),
            // Where the next message would begin is not known for sure.
            Err(Error::MessageTooLarge { .. }) => return Ok(Some((Message::TooLong, None))),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some((Message::Whole(message), Some(receiver))))
}

async fn answer(calls: &Calls, sender: &Mutex<Sender>, message: Message) -> Result<(), Broken> {
    let answer = match message {
        Message::Whole(message) => calls.answer(&message).await,
        Message::TooLong => Some(calls.too_long()),
    };
    match answer {
        Some(answer) => send(sender, Some(&answer)).await,
        None => Ok(()),
    }
}

async fn beat(sender: &Mutex<Sender>) -> Result<(), Broken> {
    loop {
        tokio::time::sleep(BEAT).await;
        send(sender, None).await?;
    }
}

/// Sends an answer; or else a pong that nobody asked for and nobody answers. A ping's answer could come in the midst of
/// a message in parts, which the receiver does not take.
async fn send(sender: &Mutex<Sender>, answer: Option<&Answer>) -> Result<(), Broken> {
    let mut sender = sender.lock().await;
    let sent = async {
        match (answer, ByteSlice125::try_from(NOTHING)) {
            (Some(answer), _) => sender.send_text(answer.text()).await?,
            (None, Ok(nothing)) => sender.send_pong(nothing).await?,
            (None, Err(_)) => {}
        }
        sender.flush().await
    };
    timeout(PATIENCE, sent).await.map_err(|_late| Broken::Unread)??;
    Ok(())
}
