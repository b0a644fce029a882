//! A session: JSON-RPC requests in, one on each line, replies out.

use miniapp_runtime::{Instance, Notification, Notifications};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{failure, tell};
use crate::error::{Failure, Outcome};
use crate::output::Printer;

/// Serves standard input until it ends or the app does. With `events`, what the app publishes goes to standard output
/// too, as notifications.
pub(super) async fn serve(instance: &Instance, events: bool, printer: Printer) -> Outcome {
    let mut notifications = instance.notifications();
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = Vec::new();
    if printer.can_ask() {
        printer.note("ready", "one JSON-RPC request a line; end with Ctrl-D");
    }
    loop {
        line.clear();
        let read = tokio::select! {
            read = input.read_until(b'\n', &mut line) => read,
            reason = instance.stopped() => {
                drain(&mut notifications, events, printer)?;
                return Err(failure::ended(&reason));
            }
        };
        let read = read.map_err(|error| Failure::read(std::path::Path::new("standard input"), &error))?;
        if read == 0 {
            return drain(&mut notifications, events, printer);
        }
        let request = String::from_utf8_lossy(&line);
        if request.trim().is_empty() {
            continue;
        }
        let reply = instance.rpc(request.trim()).await;
        drain(&mut notifications, events, printer)?;
        if let Some(reply) = reply {
            printer.line(&reply)?;
        }
        if let Some(reason) = instance.stop_reason() {
            return Err(failure::ended(&reason));
        }
    }
}

fn drain(notifications: &mut Notifications, events: bool, printer: Printer) -> Outcome {
    while let Some(notification) = notifications.try_recv() {
        match &*notification {
            Notification::Event { topic, data, id } if events => {
                let params = json!({ "topic": topic, "data": data, "id": id });
                printer
                    .json_line(&json!({ "jsonrpc": "2.0", "method": "events.publish", "params": params }))?;
            }
            other => tell(other, printer),
        }
    }
    Ok(())
}
