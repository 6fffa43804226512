//! BEP 3, 7, 23, 24, 31, 48: what a tracker's answer comes to.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use crate::address::is_dialable;
use crate::event::HttpReply;
use crate::limits;
use crate::metainfo::InfoHash;
use crate::wire::tracker::{AnnounceReply, Answer, Failure, Retry, ScrapeStats};
use crate::wire::tracker_http::{decode_announce, decode_scrape};
use crate::wire::{BencodeFault, WireError};

/// What a tracker answered, over either protocol.
pub(super) enum Heard {
    Announced(AnnounceReply),
    Scraped(ScrapeStats),
}

/// Why a tracker is of no use for now.
pub(super) struct Refusal {
    pub(super) text: String,
    /// When it says that it may be asked again.
    pub(super) retry: Option<Comeback>,
}

/// When a tracker says that it may be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comeback {
    After(Duration),
    Never,
}

impl Refusal {
    pub(super) fn new(why: impl ToString) -> Self {
        // A driver's words may contain what a stranger sent, at any length.
        let text = why.to_string();
        Self {
            text: text.chars().take(limits::MAX_FOREIGN_TEXT).collect(),
            retry: None,
        }
    }
}

impl From<Failure> for Refusal {
    /// BEP 31 has the word. Trackers that do not know of it name an interval as in any reply; one of 0 says nothing.
    fn from(failure: Failure) -> Self {
        let named = |seconds: &u32| *seconds > 0;
        let seconds = failure.interval.filter(named);
        let seconds = seconds.or(failure.min_interval.filter(named));
        let interval = seconds.map(|seconds| Duration::from_secs(u64::from(seconds)));
        let retry = failure.retry.map(|retry| match retry {
            Retry::Minutes(minutes) => {
                Comeback::After(Duration::from_secs(u64::from(minutes) * 60))
            }
            Retry::Never => Comeback::Never,
        });
        // When it may be asked again is told beside the reason.
        let reason = match failure.reason.trim() {
            "" => "refused without a reason".into(),
            _ => failure.reason,
        };
        Self {
            retry: retry.or(interval.map(Comeback::After)),
            ..Self::new(reason)
        }
    }
}

/// A reply that cannot be read: where it breaks off if it begins as one, and else what it looks like.
fn unreadable(error: &WireError, body: &[u8]) -> Refusal {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = body.trim_ascii();
    let begins = text.first() == Some(&b'd');
    Refusal::new(match (text.first(), error) {
        (None, _) => "the reply is empty".to_owned(),
        (Some(b'<'), _) => "the reply is a web page, and no tracker's".to_owned(),
        (_, WireError::Bencode { at, fault }) if begins => match fault {
            BencodeFault::Truncated => format!("the reply ends too early, at byte {at}"),
            BencodeFault::Unexpected
            | BencodeFault::Length
            | BencodeFault::Depth
            | BencodeFault::Tokens => format!("the reply is damaged at byte {at}: {fault}"),
        },
        (_, WireError::Missing { key }) if begins => format!("the reply has no {key}"),
        _ => "the reply is no tracker's".to_owned(),
    })
}

/// A refusal whose reply had a `Retry-After`, which counts where the tracker's own words say nothing.
fn with_header(refusal: Refusal, reply: &HttpReply) -> Refusal {
    let seconds = reply.retry_after.map(u64::from).map(Duration::from_secs);
    Refusal {
        retry: refusal.retry.or(seconds.map(Comeback::After)),
        ..refusal
    }
}

/// A refusal counts whatever the status; anything else only with one of success.
pub(super) fn read_announce(reply: &HttpReply) -> Result<Heard, Refusal> {
    let heard = match (decode_announce(&reply.body), reply.status) {
        (Ok(Answer::Failure(failure)), _) => Err(failure.into()),
        (Ok(Answer::Reply(announced)), 200..=299) => Ok(Heard::Announced(announced)),
        (Err(error), 200..=299) => Err(unreadable(&error, &reply.body)),
        (Ok(Answer::Reply(_)) | Err(_), status) => {
            Err(Refusal::new(format!("HTTP status {status}")))
        }
    };
    heard.map_err(|refusal| with_header(refusal, reply))
}

pub(super) fn read_scrape(reply: &HttpReply, info_hash: &InfoHash) -> Result<Heard, Refusal> {
    match (decode_scrape(&reply.body), reply.status) {
        (Ok(Answer::Failure(failure)), _) => Err(failure.into()),
        (Ok(Answer::Reply(scraped)), 200..=299) => scraped
            .files
            .get(info_hash.as_bytes())
            .map(|stats| Heard::Scraped(*stats))
            .ok_or_else(|| Refusal::new("the torrent is not known")),
        (Err(error), 200..=299) => Err(unreadable(&error, &reply.body)),
        (Ok(Answer::Reply(_)) | Err(_), status) => {
            Err(Refusal::new(format!("HTTP status {status}")))
        }
    }
}

/// Peers that can be dialled and are not ourselves.
pub(super) fn usable_peers(reply: &AnnounceReply, listen: Option<SocketAddr>) -> Vec<SocketAddr> {
    reply
        .peers
        .iter()
        .filter_map(|peer| usable_peer(peer.addr, listen, reply.external_ip))
        .take(limits::MAX_TRACKER_PEERS)
        .collect()
}

/// A peer's address, if it can be dialled and is not our own.
pub(super) fn usable_peer(
    addr: SocketAddr,
    listen: Option<SocketAddr>,
    external: Option<IpAddr>,
) -> Option<SocketAddr> {
    let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
    (is_dialable(addr) && !is_own(addr, listen, external)).then_some(addr)
}

/// Our address as we know it, as a tracker on this machine sees it, or as this tracker says that it does (BEP 24).
fn is_own(addr: SocketAddr, listen: Option<SocketAddr>, external: Option<IpAddr>) -> bool {
    const LOCALHOST: [IpAddr; 2] = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let Some(listen) = listen else {
        return false;
    };
    let (ip, own) = (addr.ip(), listen.ip().to_canonical());
    addr.port() == listen.port()
        && (ip == own || Some(ip) == external || (own.is_unspecified() && LOCALHOST.contains(&ip)))
}
