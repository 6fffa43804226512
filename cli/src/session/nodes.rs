//! Whether the nodes of the distributed hash table that the user named are there.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use anabranch_core::error::CommandError;
use anabranch_driver::{Client, Error};
use smol::Timer;
use smol::future::or;

use crate::args::PeerAddress;
use crate::output::{Event, text::reason};
use crate::units;

/// How long a node may take to answer before that is worth a word.
const PATIENCE: Duration = Duration::from_secs(2);

/// That nobody listens where a node should be.
pub(crate) const REFUSED: &str = "refused, nobody listens there (port unreachable)";

/// Addresses of one name that are asked.
const ADDRESSES: usize = 4;

/// Questions to nodes that are under way.
#[derive(Default)]
pub(crate) struct Checks(Vec<Pin<Box<dyn Future<Output = Option<Event>> + Send>>>);

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Checks").field(&self.0.len()).finish()
    }
}

impl Checks {
    /// Asks each of them once whether it is there.
    pub(crate) fn new(client: &Client, nodes: &[PeerAddress]) -> Self {
        let check = |node: &PeerAddress| -> Pin<Box<dyn Future<Output = _> + Send>> {
            Box::pin(check(client.clone(), node.clone()))
        };
        Self(nodes.iter().map(check).collect())
    }

    /// The next node that is not to be had. Waits for ever when all have been heard of.
    pub(crate) async fn next(&mut self) -> Event {
        poll_fn(|context| {
            let mut at = 0;
            while let Some(check) = self.0.get_mut(at) {
                match check.as_mut().poll(context) {
                    Poll::Pending => at += 1,
                    Poll::Ready(told) => {
                        drop(self.0.swap_remove(at));
                        if let Some(event) = told {
                            return Poll::Ready(event);
                        }
                    }
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Nothing if the node answers.
async fn check(client: Client, node: PeerAddress) -> Option<Event> {
    let failed = |error: String| {
        let node = node.to_string();
        Some(Event::DhtNodeFailed { node, error })
    };
    let addresses = match &node {
        PeerAddress::Socket(address) => vec![*address],
        PeerAddress::Name { host, port } => {
            match smol::net::resolve((host.as_str(), *port)).await {
                Ok(addresses) => addresses,
                Err(error) => {
                    return failed(format!("the name cannot be found: {}", reason(&error)));
                }
            }
        }
    };
    let mut last = None;
    for address in addresses.into_iter().take(ADDRESSES) {
        let late = async {
            Timer::after(PATIENCE).await;
            Err(Error::Command(CommandError::NoDhtAnswer))
        };
        match or(client.dht_ping(address), late).await {
            // Whoever ends does not want to know any more.
            Ok(_) | Err(Error::Stopped) => return None,
            Err(error) => last = Some(error),
        }
    }
    match last {
        None => failed("the name has no address".to_owned()),
        Some(Error::Command(CommandError::NoDhtAnswer)) => {
            failed(format!("no answer in {}", units::limit(PATIENCE)))
        }
        Some(Error::Command(CommandError::DhtRefused)) => failed(REFUSED.to_owned()),
        // There is nothing to ask it from: no socket of its family.
        Some(Error::Command(CommandError::NoDhtNodes)) => {
            failed("not reached from the address that is listened on".to_owned())
        }
        Some(error) => failed(reason(&error)),
    }
}
