//! Ctrl-C, and being asked to end.

use std::process;
use std::thread;

use async_signal::{Signal, Signals};
use smol::channel::{Receiver, bounded};
use smol::future::block_on;
use smol::stream::StreamExt;

use crate::exit::{Exit, Failure};

/// Starts to listen for signals. The first is handed over, so that the command can end in good order;
/// the second ends the process at once, whatever it waits for.
pub(crate) fn listen() -> Result<Receiver<Exit>, Failure> {
    let failed = |error| Failure::new(format!("cannot listen for signals: {error}"));
    // Not SIGHUP: nohup has it ignored, and listening to it would undo that.
    #[cfg(unix)]
    let wanted = [Signal::Int, Signal::Term];
    #[cfg(not(unix))]
    let wanted = [Signal::Int];
    let mut signals = Signals::new(wanted).map_err(failed)?;
    let (sender, receiver) = bounded(1);
    thread::Builder::new()
        .name("anabranch-signals".into())
        .spawn(move || {
            // Not `smol::block_on`, which takes part in waiting for sockets, and would hand what comes over
            // to the client's thread.
            block_on(async {
                let mut asked = false;
                while let Some(Ok(signal)) = signals.next().await {
                    let exit = if signal == Signal::Int {
                        Exit::Interrupted
                    } else {
                        Exit::Terminated
                    };
                    if asked {
                        process::exit(i32::from(exit.code()));
                    }
                    asked = true;
                    // If nobody listens any more, the process is about to end.
                    let _ = sender.try_send(exit);
                }
            });
        })
        .map_err(failed)?;
    Ok(receiver)
}
