//! BEP 3, 15, 21, 23, 31, 48: what clients and trackers say to each other, whichever way it
//! travels.

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String, vec::Vec};
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::PeerId;

/// Torrents that are kept from one scrape reply, or taken from one scrape request.
pub const MAX_SCRAPED: usize = 1_000;

/// The longest tracker id that is kept, in bytes; a longer one is ignored.
pub const MAX_TRACKER_ID: usize = 512;

/// Why an announce is made; there is none for the regular ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AnnounceEvent {
    /// The first announce of a download.
    Started,
    /// The last piece has been got. Not sent by who started complete.
    Completed,
    /// The client leaves the swarm.
    Stopped,
    /// A regular announce of a partial seed (BEP 21). UDP trackers know no such event and are told
    /// none.
    Paused,
}

/// What a client tells an HTTP tracker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnounceQuery {
    /// The torrent.
    pub info_hash: [u8; 20],
    /// The client's peer-id.
    pub peer_id: PeerId,
    /// The port it takes connections on.
    pub port: u16,
    /// Bytes uploaded since `started`.
    pub uploaded: u64,
    /// Bytes downloaded since `started`.
    pub downloaded: u64,
    /// Bytes still missing.
    pub left: u64,
    /// Why the announce is made.
    pub event: Option<AnnounceEvent>,
    /// A compact reply (BEP 23) is welcome.
    pub compact: bool,
    /// A reply of dictionaries may leave out the peer-ids.
    pub no_peer_id: bool,
    /// How many peers are wanted; the tracker's default where absent.
    pub num_want: Option<u32>,
    /// Tells the tracker that it is the same client under another address (BEP 7).
    pub key: Option<u32>,
    /// What the tracker gave in an earlier reply, to be given back.
    pub tracker_id: Option<Bytes>,
    /// The client's address, where it is not that of the connection.
    pub ip: Option<IpAddr>,
}

/// A tracker's answer: what was asked for, or a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer<T> {
    /// What was asked for.
    Reply(T),
    /// The tracker refuses.
    Failure(Failure),
}

/// Why a tracker refuses, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Failure {
    /// The tracker's words, made fit to show.
    pub reason: String,
    /// When it may be asked again (BEP 31); the usual backoff where absent.
    pub retry: Option<Retry>,
    /// Seconds until the next announce, as in a reply.
    pub interval: Option<u32>,
    /// Seconds in which no announce is welcome, as in a reply.
    pub min_interval: Option<u32>,
}

/// When a tracker that refused may be asked again (BEP 31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retry {
    /// After this many minutes.
    Minutes(u32),
    /// Not again: it is no tracker, or never will be for this torrent.
    Never,
}

/// A tracker's reply to an announce. All numbers are as claimed: intervals may be absurd.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AnnounceReply {
    /// Seconds until the next regular announce.
    pub interval: Option<u32>,
    /// Seconds in which no announce but for an event is welcome.
    pub min_interval: Option<u32>,
    /// To be given back in further announces.
    pub tracker_id: Option<Bytes>,
    /// How many peers have everything.
    pub complete: Option<u32>,
    /// How many have not.
    pub incomplete: Option<u32>,
    /// How many downloads have been completed in all.
    pub downloaded: Option<u32>,
    /// The client's address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// The reply is good, but the tracker has something to say.
    pub warning: Option<String>,
    /// Peers to try, none with port 0, at most
    /// [`MAX_TRACKER_PEERS`](crate::limits::MAX_TRACKER_PEERS). Of more, neither address family
    /// loses what is within one half of that.
    pub peers: Vec<TrackerPeer>,
    /// Peers that are named by a host name, none twice and none with port 0, at most
    /// [`MAX_TRACKER_NAMES`](crate::limits::MAX_TRACKER_NAMES).
    pub names: Vec<PeerName>,
    /// Peers that the reply had but that can't be used: past a bound, with port 0, or nothing that
    /// names a peer.
    pub dropped: u32,
}

/// A peer as a tracker gives it that knows no address of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerName {
    /// Its host name, in ASCII and lower case.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// A peer as a tracker gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackerPeer {
    /// Where it takes connections.
    pub addr: SocketAddr,
    /// Its peer-id; only replies of dictionaries may tell.
    pub peer_id: Option<PeerId>,
}

/// A tracker's reply to a scrape (BEP 48): counts by info-hash.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ScrapeReply {
    /// At most [`MAX_SCRAPED`] torrents.
    pub files: BTreeMap<[u8; 20], ScrapeStats>,
}

/// What a tracker knows of one torrent's swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ScrapeStats {
    /// Peers that have everything.
    pub complete: u32,
    /// Peers that have not, partial seeds included.
    pub incomplete: u32,
    /// Downloads completed in all.
    pub downloaded: u32,
    /// Peers that really download: `incomplete` without the partial seeds (BEP 21). HTTP only.
    pub downloaders: Option<u32>,
}

impl AnnounceEvent {
    /// The event as HTTP trackers spell it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
        }
    }

    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Started, Self::Completed, Self::Stopped, Self::Paused]
            .into_iter()
            .find(|event| event.name().as_bytes() == name)
    }
}

/// Appends `bytes` as they stand in a query: unreserved characters (RFC 3986) plain, all else as
/// %XX.
pub(super) fn percent_encode(bytes: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// The bytes behind %XX. A percent sign that starts no such thing stands for itself, and so does a
/// plus: info-hashes are bytes, not form text.
pub(super) fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, tail @ ..] => hex(*high).zip(hex(*low)).map(|hex| (hex, tail)),
            _ => None,
        };
        if let Some(((high, low), tail)) = escaped {
            out.push(high << 4 | low);
            rest = tail;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// `url` with what is in `query` appended: behind a query that it has already, and without its
/// fragment.
pub(super) fn with_query(url: &str, query: &str) -> String {
    let url = url.split_once('#').map_or(url, |(before, _)| before);
    let joint = match url.split_once('?') {
        None => "?",
        Some((_, had)) if had.is_empty() || had.ends_with('&') => "",
        Some(_) => "&",
    };
    url.to_owned() + joint + query
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn escaping_is_undone(bytes: Vec<u8>) -> bool {
            let mut text = String::new();
            percent_encode(&bytes, &mut text);
            percent_decode(text.as_bytes()) == bytes
        }

        fn any_text_can_be_unescaped(text: Vec<u8>) -> bool {
            percent_decode(&text).len() <= text.len()
        }
    }

    #[test]
    fn broken_escapes_stand_for_themselves() {
        assert_eq!(percent_decode(b"%41%4%zz+%"), b"A%4%zz+%");
        assert_eq!(percent_decode(b"%c3%B6"), "ö".as_bytes());
    }

    #[test]
    fn queries_are_joined() {
        for (url, expected) in [
            ("http://t/a", "http://t/a?q=1"),
            ("http://t/a?", "http://t/a?q=1"),
            ("http://t/a?pass=k", "http://t/a?pass=k&q=1"),
            ("http://t/a?pass=k&", "http://t/a?pass=k&q=1"),
            ("http://t/a?pass=k#frag?", "http://t/a?pass=k&q=1"),
            ("http://t/a#frag", "http://t/a?q=1"),
        ] {
            assert_eq!(with_query(url, "q=1"), expected);
        }
    }
}
