//! The few WASI interfaces that some toolchains' guests import even when their source uses none of them.
//!
//! No file system, no sockets, no HTTP: those have no quota and no permission. Standard output and error go to the
//! app's log, the environment is empty, and time and randomness are the host's, as for `clock` and `random`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::component::{HasData, Linker};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::cli;
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use crate::account::nanos;
use crate::guest::Guest;
use crate::notify::Level;
use crate::session::Session;
use crate::stop::StopReason;
use crate::supervisor::Interrupt;

/// The most one call to WASI's random interfaces gives, in bytes.
const RANDOM: usize = 65_536;
/// The most that is printed at once, in bytes.
const WRITE: usize = 8192;

pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    use wasmtime_wasi::cli::{WasiCli, WasiCliView};

    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    // Among those is one that draws from its generator byte by byte, and cannot fail.
    linker.allow_shadowing(true);
    random::add_to_linker::<Guest, Chance>(linker, |guest| Chance(&guest.session))?;
    linker.allow_shadowing(false);
    insecure::add_to_linker::<Guest, Chance>(linker, |guest| Chance(&guest.session))?;
    insecure_seed::add_to_linker::<Guest, Chance>(linker, |guest| Chance(&guest.session))?;
    cli::exit::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::environment::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_input::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_output::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)
}

/// A context without arguments, environment, folders or network, and with nothing of the system's.
pub(crate) fn context(session: &Arc<Session>) -> WasiCtx {
    let mut builder = WasiCtx::builder();
    let of = session.clone();
    let log: Arc<Log> = Arc::new(move |level, line| of.log(level, line));
    builder
        .wall_clock(Clocks(session.clone()))
        .monotonic_clock(Clocks(session.clone()))
        .stdout(LogStream { log: log.clone(), level: Level::Info })
        .stderr(LogStream { log, level: Level::Warn })
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    builder.build()
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| Box::new(context(&self.session)));
        WasiCtxView { ctx, table: &mut self.resources }
    }
}

/// What its instance senses of time.
struct Clocks(Arc<Session>);

impl HostWallClock for Clocks {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.0.senses.unix()
    }
}

impl HostMonotonicClock for Clocks {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        nanos(self.0.senses.elapsed())
    }
}

/// And of chance.
struct Chance<'s>(&'s Session);

impl HasData for Chance<'static> {
    type Data<'a> = Chance<'a>;
}

impl Chance<'_> {
    /// WASI has no way to tell a guest that there is none. It must not go on with what can be foretold.
    fn fill(&self, bytes: &mut [u8]) -> wasmtime::Result<()> {
        self.0.senses.fill(bytes).map_err(|error| {
            self.0
                .life
                .stop(StopReason::Killed { why: format!("there are no random bytes for it: {error}") });
            Interrupt::Killed.into()
        })
    }

    fn bytes(&self, length: u64) -> wasmtime::Result<Vec<u8>> {
        let length = usize::try_from(length).ok().filter(|&length| length <= RANDOM);
        let length = length
            .ok_or_else(|| wasmtime::Error::msg(format!("a call gives up to {RANDOM} random bytes")))?;
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn number(&self) -> wasmtime::Result<u64> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl random::Host for Chance<'_> {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.number()
    }
}

impl insecure::Host for Chance<'_> {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.number()
    }
}

impl insecure_seed::Host for Chance<'_> {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.number()?, self.number()?))
    }
}

type Log = dyn Fn(Level, &str) + Send + Sync;

/// Writes what a guest prints to the app's log, under the log's own limits and at once: what another task did later would
/// be nobody's CPU time.
#[derive(Clone)]
struct LogStream {
    log: Arc<Log>,
    level: Level,
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    /// Asked for by versions of WASI that are not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // Nobody else has looked, and no kill comes between two lines.
        if bytes.len() > WRITE {
            return Err(StreamError::trap("more was printed at once than there was room for"));
        }
        for line in String::from_utf8_lossy(&bytes).lines().filter(|line| !line.is_empty()) {
            (self.log)(self.level, line);
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use wasmtime::component::Component;

    use super::*;

    /// Something of each interface that a package may import. A linker takes an instance of which nothing is wanted for
    /// there, whether it is or not.
    const ALL: &str = include_str!("wasi/all.wat");

    #[test]
    fn what_a_package_may_import_is_there() {
        for name in mpkg_package::wasm::WASI_INTERFACES {
            assert!(ALL.contains(&format!("(import \"wasi:{name}@0.2.0\" (instance")), "{name}");
        }
        let engine = crate::engine::engine(Default::default(), &Default::default()).unwrap();
        let component = Component::new(&engine, ALL).unwrap();
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker).unwrap();
        linker.instantiate_pre(&component).unwrap();
        let other = ALL.replacen("(component", "(component (import \"wasi:x/y@0.2.0\" (func))", 1);
        assert!(linker.instantiate_pre(&Component::new(&engine, other).unwrap()).is_err());
    }

    /// Where there is no runtime that could do it later.
    #[test]
    fn what_is_printed_is_in_the_log_before_the_guest_goes_on() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = lines.clone();
        let log: Arc<Log> = Arc::new(move |_, line| heard.lock().unwrap().push(line.to_owned()));
        let mut stream = LogStream { log, level: Level::Info }.p2_stream();
        assert_eq!(stream.check_write().unwrap(), WRITE);
        stream.write(Bytes::from_static(b"one\n\ntwo\n")).unwrap();
        assert_eq!(*lines.lock().unwrap(), ["one", "two"]);
        let long = Bytes::from(vec![b'\n'; WRITE + 1]);
        assert!(matches!(stream.write(long), Err(StreamError::Trap(_))));
    }
}
