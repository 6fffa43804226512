//! Trackers: whom to ask for peers, when, and what to make of the answer; and a small tracker that answers.
//!
//! | module | what | BEPs |
//! |---|---|---|
//! | `announcer` | one a torrent: tiers, schedule, events | 3, 12, 31, 48 |
//! | `udp` | one an engine: connection ids, retransmission, name lookups | 15, 41 |
//! | `url` | which trackers can be asked, and how they are shown | 3, 15, 41 |
//! | `server` | the other side, for demonstrations and simulations | 3, 7, 15, 23, 48 |

mod announcer;
mod server;
#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it expects and fails at the rest"
)]
mod testing;
mod udp;
pub(crate) mod url;

pub use self::server::TrackerServer;

/// What an announcer is lent: what every part is, and the client of UDP trackers that all torrents share.
pub(crate) struct Means<'a> {
    pub(crate) ctx: crate::ctx::Ctx<'a>,
    pub(crate) udp: &'a mut UdpTrackers,
}

pub(crate) use self::{
    announcer::{Announcer, Facts},
    udp::{UdpOutcome, UdpTrackers},
};
