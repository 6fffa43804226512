//! BEP 3, 7, 21, 23, 24, 31, 48: what an HTTP tracker reads from its clients and writes to them.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use bytes::Bytes;
use serde::Serialize;

use super::{
    PeerId, WireError,
    guard::{self, Raw},
    tracker::{
        AnnounceEvent, AnnounceQuery, AnnounceReply, Failure, MAX_SCRAPED, MAX_TRACKER_ID, Retry,
        ScrapeReply, percent_decode,
    },
};

/// How a reply lists its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerFormat {
    /// Packed addresses (BEP 23, and BEP 7 for IPv6).
    Compact,
    /// Dictionaries.
    Dictionaries {
        /// With the peer-ids that are known.
        with_ids: bool,
    },
}

impl PeerFormat {
    /// The form that a client asks for.
    #[must_use]
    pub fn wanted_by(query: &AnnounceQuery) -> Self {
        if query.compact {
            Self::Compact
        } else {
            Self::Dictionaries {
                with_ids: !query.no_peer_id,
            }
        }
    }
}

/// Reads an announce from the query part of its URL (without the question mark). Keys that are not
/// known are ignored, and so are optional values that make no sense; of a key that stands twice the
/// first counts. Where `compact` does not stand, it is taken as wished, as BEP 23 suggests. Memory
/// grows with the query: the caller bounds its length.
///
/// # Errors
///
/// [`WireError::Missing`] or [`WireError::Invalid`] for `info_hash`, `peer_id`, `port` and `left`.
pub fn parse_announce(query: &str) -> Result<AnnounceQuery, WireError> {
    let fields = Fields::parse(query);
    Ok(AnnounceQuery {
        info_hash: fields.hash("info_hash")?,
        peer_id: PeerId(fields.hash("peer_id")?),
        port: fields.required("port")?,
        uploaded: fields.optional("uploaded").unwrap_or_default(),
        downloaded: fields.optional("downloaded").unwrap_or_default(),
        left: fields.required("left")?,
        event: fields
            .bytes("event")
            .and_then(|event| AnnounceEvent::from_name(&event)),
        compact: fields.bytes("compact").as_deref() != Some(b"0"),
        no_peer_id: fields.bytes("no_peer_id").as_deref() == Some(b"1"),
        num_want: fields.optional("numwant"),
        key: fields
            .text("key")
            .and_then(|key| u32::from_str_radix(&key, 16).ok()),
        tracker_id: fields
            .bytes("trackerid")
            .filter(|id| id.len() <= MAX_TRACKER_ID)
            .map(Bytes::from),
        ip: fields.optional("ip"),
    })
}

/// Reads the info-hashes of a scrape (BEP 48) from the query part of its URL, at most
/// [`MAX_SCRAPED`]. None of them asks for all torrents.
///
/// # Errors
///
/// [`WireError::Invalid`]: one has not 20 bytes.
pub fn parse_scrape(query: &str) -> Result<Vec<[u8; 20]>, WireError> {
    pairs(query)
        .filter(|(key, _)| *key == "info_hash")
        .take(MAX_SCRAPED)
        .map(|(_, value)| hash(value).ok_or(WireError::Invalid { key: "info_hash" }))
        .collect()
}

/// The body of a reply to an announce. [`AnnounceReply::dropped`] stays here, and in the compact format so do the
/// [names](AnnounceReply::names), for which it has no room.
#[must_use]
pub fn encode_announce(reply: &AnnounceReply, format: PeerFormat) -> Vec<u8> {
    let mut compact = Vec::new();
    let mut compact6 = Vec::new();
    let mut dictionaries = Vec::new();
    for peer in &reply.peers {
        match format {
            PeerFormat::Compact => match peer.addr {
                SocketAddr::V4(_) => put_compact(peer.addr, &mut compact),
                SocketAddr::V6(_) => put_compact(peer.addr, &mut compact6),
            },
            PeerFormat::Dictionaries { with_ids } => dictionaries.push(OutgoingPeer {
                ip: peer.addr.ip().to_string(),
                port: peer.addr.port(),
                peer_id: peer
                    .peer_id
                    .as_ref()
                    .filter(|_| with_ids)
                    .map(|id| Raw(&id.0)),
            }),
        }
    }
    // Only a dictionary has room for a name.
    if let PeerFormat::Dictionaries { .. } = format {
        dictionaries.extend(reply.names.iter().map(|name| OutgoingPeer {
            ip: name.host.clone(),
            port: name.port,
            peer_id: None,
        }));
    }
    let external_ip = reply.external_ip.map(|ip| match ip {
        IpAddr::V4(ip) => Vec::from(ip.octets()),
        IpAddr::V6(ip) => Vec::from(ip.octets()),
    });
    guard::encode(&OutgoingAnnounce {
        complete: reply.complete,
        downloaded: reply.downloaded,
        external_ip: external_ip.as_deref().map(Raw),
        incomplete: reply.incomplete,
        interval: reply.interval,
        min_interval: reply.min_interval,
        peers: match format {
            PeerFormat::Compact => OutgoingPeers::Compact(Raw(&compact)),
            PeerFormat::Dictionaries { .. } => OutgoingPeers::Dictionaries(dictionaries),
        },
        peers6: (!compact6.is_empty()).then_some(Raw(&compact6)),
        tracker_id: reply.tracker_id.as_deref().map(Raw),
        warning: reply.warning.as_deref(),
    })
}

/// The body of a reply to a scrape (BEP 48).
#[must_use]
pub fn encode_scrape(reply: &ScrapeReply) -> Vec<u8> {
    let files = reply
        .files
        .iter()
        .map(|(info_hash, stats)| {
            let stats = OutgoingStats {
                complete: stats.complete,
                downloaded: stats.downloaded,
                downloaders: stats.downloaders,
                incomplete: stats.incomplete,
            };
            (Raw(info_hash), stats)
        })
        .collect();
    guard::encode(&OutgoingScrape { files })
}

/// The body of a refusal, of an announce or of a scrape (BEP 31).
#[must_use]
pub fn encode_failure(failure: &Failure) -> Vec<u8> {
    guard::encode(&OutgoingFailure {
        reason: &failure.reason,
        interval: failure.interval,
        min_interval: failure.min_interval,
        retry: failure.retry.map(|retry| match retry {
            Retry::Minutes(minutes) => OutgoingRetry::Minutes(minutes),
            Retry::Never => OutgoingRetry::Never("never"),
        }),
    })
}

/// Appends an address and port in compact form.
pub(super) fn put_compact(addr: SocketAddr, out: &mut Vec<u8>) {
    match addr.ip() {
        IpAddr::V4(ip) => out.extend(ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets()),
    }
    out.extend(addr.port().to_be_bytes());
}

#[derive(Serialize)]
struct OutgoingAnnounce<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    downloaded: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "external ip")]
    external_ip: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "min interval")]
    min_interval: Option<u32>,
    peers: OutgoingPeers<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peers6: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "tracker id")]
    tracker_id: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "warning message")]
    warning: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OutgoingPeers<'a> {
    Compact(Raw<'a>),
    Dictionaries(Vec<OutgoingPeer<'a>>),
}

#[derive(Serialize)]
struct OutgoingPeer<'a> {
    ip: String,
    #[serde(skip_serializing_if = "Option::is_none", rename = "peer id")]
    peer_id: Option<Raw<'a>>,
    port: u16,
}

#[derive(Serialize)]
struct OutgoingScrape<'a> {
    files: BTreeMap<Raw<'a>, OutgoingStats>,
}

#[derive(Serialize)]
struct OutgoingStats {
    complete: u32,
    downloaded: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    downloaders: Option<u32>,
    incomplete: u32,
}

#[derive(Serialize)]
struct OutgoingFailure<'a> {
    #[serde(rename = "failure reason")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "min interval")]
    min_interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "retry in")]
    retry: Option<OutgoingRetry>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OutgoingRetry {
    Minutes(u32),
    Never(&'static str),
}

/// The fields of a query, unescaped only as they are asked for.
struct Fields<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn parse(query: &'a str) -> Self {
        let mut fields = BTreeMap::new();
        for (key, value) in pairs(query) {
            fields.entry(key).or_insert(value);
        }
        Self(fields)
    }

    fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        let value = self.0.get(key)?;
        Some(percent_decode(value.as_bytes()))
    }

    fn text(&self, key: &str) -> Option<String> {
        String::from_utf8(self.bytes(key)?).ok()
    }

    fn optional<T: FromStr>(&self, key: &str) -> Option<T> {
        self.text(key)?.parse().ok()
    }

    fn required<T: FromStr>(&self, key: &'static str) -> Result<T, WireError> {
        if !self.0.contains_key(key) {
            return Err(WireError::Missing { key });
        }
        self.optional(key).ok_or(WireError::Invalid { key })
    }

    fn hash(&self, key: &'static str) -> Result<[u8; 20], WireError> {
        let value = self.0.get(key).ok_or(WireError::Missing { key })?;
        hash(value).ok_or(WireError::Invalid { key })
    }
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn hash(value: &str) -> Option<[u8; 20]> {
    percent_decode(value.as_bytes()).try_into().ok()
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::{
        super::{
            text::printable,
            tracker::{Answer, ScrapeStats, TrackerPeer},
            tracker_http::{decode_announce, decode_scrape, scrape_url},
        },
        *,
    };
    use crate::limits::{MAX_FOREIGN_TEXT, MAX_TRACKER_PEERS};

    #[test]
    fn peers_with_names_are_written_where_there_is_room() {
        let body = b"d8:intervali1800e5:peersld2:ip12:peer.example4:porti6881eeee";
        let Ok(Answer::Reply(reply)) = decode_announce(body) else {
            panic!("a reply was understood as something else");
        };
        assert_eq!(reply.names.len(), 1);
        let whole = encode_announce(&reply, PeerFormat::Dictionaries { with_ids: true });
        assert_eq!(decode_announce(&whole), Ok(Answer::Reply(reply.clone())));
        let compact = decode_announce(&encode_announce(&reply, PeerFormat::Compact));
        assert!(matches!(compact, Ok(Answer::Reply(reply)) if reply.names.is_empty()));
    }

    fn hash(g: &mut Gen) -> [u8; 20] {
        core::array::from_fn(|_| u8::arbitrary(g))
    }

    fn text(g: &mut Gen) -> String {
        printable(String::arbitrary(g).as_bytes(), MAX_FOREIGN_TEXT)
    }

    fn tracker_id(g: &mut Gen) -> Option<Bytes> {
        Option::<Vec<u8>>::arbitrary(g)
            .filter(|id| id.len() <= MAX_TRACKER_ID)
            .map(Bytes::from)
    }

    impl Arbitrary for AnnounceQuery {
        fn arbitrary(g: &mut Gen) -> Self {
            let event = [
                None,
                Some(AnnounceEvent::Started),
                Some(AnnounceEvent::Completed),
                Some(AnnounceEvent::Stopped),
                Some(AnnounceEvent::Paused),
            ];
            Self {
                info_hash: hash(g),
                peer_id: PeerId(hash(g)),
                port: Arbitrary::arbitrary(g),
                uploaded: Arbitrary::arbitrary(g),
                downloaded: Arbitrary::arbitrary(g),
                left: Arbitrary::arbitrary(g),
                event: event[usize::arbitrary(g) % event.len()],
                compact: Arbitrary::arbitrary(g),
                no_peer_id: Arbitrary::arbitrary(g),
                num_want: Arbitrary::arbitrary(g),
                key: Arbitrary::arbitrary(g),
                tracker_id: tracker_id(g),
                ip: Arbitrary::arbitrary(g),
            }
        }
    }

    impl Arbitrary for TrackerPeer {
        fn arbitrary(g: &mut Gen) -> Self {
            let port = u16::arbitrary(g).max(1);
            Self {
                addr: SocketAddr::new(IpAddr::arbitrary(g), port),
                peer_id: bool::arbitrary(g).then(|| PeerId(hash(g))),
            }
        }
    }

    impl Arbitrary for AnnounceReply {
        fn arbitrary(g: &mut Gen) -> Self {
            Self {
                interval: Arbitrary::arbitrary(g),
                min_interval: Arbitrary::arbitrary(g),
                tracker_id: tracker_id(g),
                complete: Arbitrary::arbitrary(g),
                incomplete: Arbitrary::arbitrary(g),
                downloaded: Arbitrary::arbitrary(g),
                external_ip: Arbitrary::arbitrary(g),
                warning: bool::arbitrary(g).then(|| text(g)),
                peers: Vec::arbitrary(g)
                    .into_iter()
                    .take(MAX_TRACKER_PEERS)
                    .collect(),
                names: Vec::new(),
                dropped: 0,
            }
        }
    }

    impl Arbitrary for ScrapeReply {
        fn arbitrary(g: &mut Gen) -> Self {
            let files = Vec::<(u32, u32, u32, Option<u32>)>::arbitrary(g)
                .into_iter()
                .map(|(complete, incomplete, downloaded, downloaders)| {
                    let stats = ScrapeStats {
                        complete,
                        incomplete,
                        downloaded,
                        downloaders,
                    };
                    (hash(g), stats)
                })
                .collect();
            Self { files }
        }
    }

    quickcheck! {
        fn an_announce_is_read_as_it_was_asked(query: AnnounceQuery) -> bool {
            ["http://t/announce", "http://t/announce?passkey=1"].iter().all(|base| {
                let url = query.url(base);
                let (_, part) = url.split_once('?').unwrap();
                parse_announce(part).as_ref() == Ok(&query)
            })
        }

        fn a_reply_of_dictionaries_arrives_whole(reply: AnnounceReply) -> bool {
            let body = encode_announce(&reply, PeerFormat::Dictionaries { with_ids: true });
            decode_announce(&body) == Ok(Answer::Reply(reply))
        }

        fn a_compact_reply_loses_the_peer_ids_alone(reply: AnnounceReply) -> bool {
            let body = encode_announce(&reply, PeerFormat::Compact);
            let mut expected = reply;
            expected.peers.iter_mut().for_each(|peer| peer.peer_id = None);
            expected.peers.sort_by_key(|peer| peer.addr.is_ipv6());
            decode_announce(&body) == Ok(Answer::Reply(expected))
        }

        fn a_damaged_reply_never_panics(reply: AnnounceReply, at: usize, byte: u8) -> bool {
            let mut body = encode_announce(&reply, PeerFormat::Dictionaries { with_ids: false });
            let at = at % body.len();
            body[at] = byte;
            match decode_announce(&body) {
                Ok(Answer::Reply(reply)) => reply.peers.iter().all(|peer| peer.addr.port() != 0),
                Ok(Answer::Failure(_)) | Err(_) => true,
            }
        }

        fn a_scrape_arrives_whole(reply: ScrapeReply) -> bool {
            let hashes: Vec<_> = reply.files.keys().copied().collect();
            let url = scrape_url("http://t/announce", &hashes).unwrap();
            let (_, part) = url.split_once('?').unwrap();
            parse_scrape(part) == Ok(hashes)
                && decode_scrape(&encode_scrape(&reply)) == Ok(Answer::Reply(reply))
        }

        fn a_refusal_arrives_whole(reason: String, minutes: u32, kind: u8) -> bool {
            let failure = Failure {
                reason: printable(reason.as_bytes(), MAX_FOREIGN_TEXT),
                retry: match kind % 3 {
                    0 => None,
                    1 => Some(Retry::Never),
                    _ => Some(Retry::Minutes(minutes)),
                },
                interval: kind.is_multiple_of(5).then_some(minutes),
                min_interval: kind.is_multiple_of(7).then_some(minutes),
            };
            decode_announce(&encode_failure(&failure)) == Ok(Answer::Failure(failure))
        }

        fn any_query_is_answered(query: String) -> bool {
            let query = query.replace("info_hash", "");
            parse_scrape(&query) == Ok(Vec::new()) && parse_announce(&query).is_err()
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let hash = "a".repeat(20);
        let whole = format!("info_hash={hash}&peer_id={hash}&port=1&left=0");
        assert!(parse_announce(&whole).is_ok());
        for key in ["info_hash", "peer_id", "port", "left"] {
            let without = whole.replace(key, "x");
            assert_eq!(parse_announce(&without), Err(WireError::Missing { key }));
            let wrong = whole.replace(&format!("{key}="), &format!("{key}=-"));
            assert_eq!(parse_announce(&wrong), Err(WireError::Invalid { key }));
        }
    }

    #[test]
    fn the_format_follows_the_query() {
        let hash = "a".repeat(20);
        let of = |options: &str| {
            let query = format!("info_hash={hash}&peer_id={hash}&port=1&left=0{options}");
            PeerFormat::wanted_by(&parse_announce(&query).unwrap())
        };
        assert_eq!(of(""), PeerFormat::Compact);
        assert_eq!(of("&compact=1"), PeerFormat::Compact);
        let with_ids = true;
        assert_eq!(of("&compact=0"), PeerFormat::Dictionaries { with_ids });
        let with_ids = false;
        assert_eq!(
            of("&compact=0&no_peer_id=1"),
            PeerFormat::Dictionaries { with_ids }
        );
    }
}
