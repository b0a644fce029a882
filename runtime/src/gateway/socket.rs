//! A page's WebSocket.
//!
//! A few messages are under way at a time: from when they are read until their answers are sent. While there are as
//! many nothing more is read, so a page that sends without reading fills its own buffers and nobody else's.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::stream::try_unfold;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use soketto::Incoming;
use soketto::connection::{Builder, Error, Mode};
use soketto::data::ByteSlice125;
use tokio::io::{BufStream, Join, ReadHalf, WriteHalf, join, split};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::calls::{Answer, Calls};
use super::incoming::{self, Announced, Frames};

/// Messages of one connection that are read, and their answers not sent yet.
const UNDER_WAY: usize = 8;
/// A page that does not take what it is sent for this long is given up.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often something is sent, to learn whether anybody is left.
const BEAT: Duration = Duration::from_secs(20);

const NOTHING: &[u8] = &[];

type Page = TokioIo<Upgraded>;
type Io = Compat<BufStream<Join<Frames<ReadHalf<Page>>, WriteHalf<Page>>>>;
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
    Whole(incoming::Message),
    TooLong,
    /// The app's memory has no room for it.
    NoRoom,
}

/// Serves a WebSocket until it is closed. Dropped, it closes at once.
pub(super) async fn serve(io: Upgraded, calls: Calls) {
    let Some(nothing) = calls.hold(0) else { return };
    let announced = Announced::new(nothing);
    let (page, to_page) = split(TokioIo::new(io));
    let page = Frames::new(page, announced.clone(), calls.longest());
    let io = BufStream::new(join(page, to_page)).compat();
    let mut builder = Builder::new(io, Mode::Server);
    builder.set_max_message_size(calls.longest());
    let (sender, receiver) = builder.finish();
    let sender = Mutex::new(sender);
    let (to, by) = (&sender, &calls);
    let answering = try_unfold(Some(receiver), |receiver| read(receiver, &announced))
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
async fn read(
    receiver: Option<Receiver>,
    announced: &Announced,
) -> Result<Option<(Message, Option<Receiver>)>, Broken> {
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
            Err(Error::Io(error)) if error.kind() == ErrorKind::OutOfMemory => {
                return Ok(Some((Message::NoRoom, None)));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some((Message::Whole(announced.message(message)), Some(receiver))))
}

async fn answer(calls: &Calls, sender: &Mutex<Sender>, message: Message) -> Result<(), Broken> {
    let answer = match message {
        Message::Whole(message) => calls.answer(message).await,
        Message::TooLong => Some(calls.too_long()),
        Message::NoRoom => Some(calls.no_room()),
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
