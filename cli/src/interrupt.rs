//! Ctrl-C, being asked to end, and a terminal that changes its size.

use std::process;
use std::thread;

use async_signal::{Signal, Signals};
use smol::channel::{Receiver, bounded};
use smol::future::block_on;
use smol::stream::StreamExt;

use crate::exit::{Exit, Failure};
use crate::output::{Output, text::reason};

/// Starts to listen for signals. The first is handed over, so that the command can end in good order;
/// the second ends the process at once, whatever it waits for.
///
/// A terminal that goes away (SIGHUP) asks for the same as SIGTERM does, unless whoever started the command has
/// it ignored, as nohup does: listening to it would undo that.
pub(crate) fn listen() -> Result<Receiver<Exit>, Failure> {
    let failed = |error| Failure::new(format!("cannot listen for signals: {}", reason(&error)));
    #[cfg(unix)]
    let wanted = match hangup::is_ignored() {
        true => vec![Signal::Int, Signal::Term],
        false => vec![Signal::Int, Signal::Term, Signal::Hup],
    };
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
                    } else if signal == Signal::Hup {
                        Exit::HungUp
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

/// Tells when the terminal has got another size, if that matters: what is drawn there must be drawn anew, also
/// when there is nothing else to tell.
#[derive(Debug)]
pub(crate) struct Resizes(Option<Signals>);

impl Resizes {
    pub(crate) fn of(output: &Output) -> Self {
        #[cfg(unix)]
        let signals = match output.draws() {
            // Without them it is drawn anew a little later.
            true => Signals::new([Signal::Winch]).ok(),
            false => None,
        };
        #[cfg(not(unix))]
        let signals = {
            let _ = output;
            None
        };
        Self(signals)
    }

    pub(crate) async fn next(&mut self) {
        let next = match &mut self.0 {
            Some(signals) => signals.next().await,
            None => None,
        };
        if !matches!(next, Some(Ok(_))) {
            self.0 = None;
            std::future::pending::<()>().await;
        }
    }
}

/// Whether SIGHUP is ignored. The standard library does not say, and the call that does is not safe.
#[cfg(unix)]
mod hangup {
    use std::fs;
    use std::process::{Command, Stdio};

    /// SIGHUP among the bits of a set of signals, from the lowest.
    const BIT: u64 = 1;

    pub(super) fn is_ignored() -> bool {
        let known = fs::read_to_string("/proc/self/status").ok();
        known
            .and_then(|status| in_status(&status))
            .unwrap_or_else(by_a_child)
    }

    /// What Linux tells of a process.
    fn in_status(status: &str) -> Option<bool> {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))?;
        let set = u64::from_str_radix(line.trim(), 16).ok()?;
        Some(set & BIT != 0)
    }

    /// What is ignored, children ignore as well: one that sends itself the signal and lives to tell.
    fn by_a_child() -> bool {
        let status = Command::new("/bin/sh")
            .args(["-c", "kill -HUP $$; exit 0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_set_of_ignored_signals_is_read() {
            let status =
                |set: &str| format!("Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t{set}\n");
            assert_eq!(in_status(&status("0000000000001001")), Some(true));
            assert_eq!(in_status(&status("0000000000001000")), Some(false));
            assert_eq!(in_status(&status("?")), None);
            assert_eq!(in_status("Name:\tx\n"), None);
        }

        #[test]
        fn both_ways_of_asking_say_the_same() {
            // Of whatever the tests run under: nohup or not.
            assert_eq!(is_ignored(), by_a_child());
        }
    }
}
