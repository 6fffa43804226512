//! BEP 15, 41: datagrams between a client and a UDP tracker, in both directions.

use alloc::{string::String, vec::Vec};
use core::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{
    PeerId, WireError,
    text::printable,
    tracker::{AnnounceEvent, ScrapeStats},
    tracker_http_server::put_compact,
    tracker_peers::compact_peer,
};
use crate::limits::{MAX_FOREIGN_TEXT, MAX_TRACKER_PEERS};

/// Torrents that fit one scrape.
pub const MAX_SCRAPE_HASHES: usize = 74;

/// The longest path and query that is sent along (BEP 41), in bytes.
pub const MAX_URL_DATA: usize = 1_024;

/// What a connect request begins with.
const PROTOCOL_ID: u64 = 0x0417_2710_1980;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

/// Length of an announce request without options.
const ANNOUNCE_LEN: usize = 98;

/// The address family of a datagram: it decides how peers are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// Peers take 6 bytes.
    V4,
    /// Peers take 18 bytes.
    V6,
}

impl Family {
    /// The family of the address a datagram comes from or goes to. An IPv4 address mapped into IPv6
    /// travels as IPv4.
    #[must_use]
    pub fn of(addr: SocketAddr) -> Self {
        if addr.ip().to_canonical().is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }

    fn stride(self) -> usize {
        match self {
            Self::V4 => 6,
            Self::V6 => 18,
        }
    }
}

/// From client to tracker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Asks for a connection id.
    Connect {
        /// Chosen at random by the client, given back in the response.
        transaction: u32,
    },
    /// Announces.
    Announce {
        /// From a connect response of the last minute.
        connection: u64,
        /// Chosen at random by the client, given back in the response.
        transaction: u32,
        /// What is announced.
        announce: Announce,
    },
    /// Asks for counts.
    Scrape {
        /// From a connect response of the last minute.
        connection: u64,
        /// Chosen at random by the client, given back in the response.
        transaction: u32,
        /// The torrents, at most [`MAX_SCRAPE_HASHES`]; those past it are not sent, or not read.
        info_hashes: Vec<[u8; 20]>,
    },
}

/// What a client tells a UDP tracker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// The torrent.
    pub info_hash: [u8; 20],
    /// The client's peer-id.
    pub peer_id: PeerId,
    /// Bytes downloaded since `started`.
    pub downloaded: u64,
    /// Bytes still missing.
    pub left: u64,
    /// Bytes uploaded since `started`.
    pub uploaded: u64,
    /// Why the announce is made. [`AnnounceEvent::Paused`] is sent as none.
    pub event: Option<AnnounceEvent>,
    /// The client's address where it is not that of the datagram; mostly ignored by trackers. Never
    /// over IPv6.
    pub ip: Option<Ipv4Addr>,
    /// Tells the tracker that it is the same client under another address.
    pub key: u32,
    /// How many peers are wanted, below 2³¹; the tracker's default where absent.
    pub num_want: Option<u32>,
    /// The port the client takes connections on.
    pub port: u16,
    /// Path and query of the tracker's URL (BEP 41), at most [`MAX_URL_DATA`] bytes; what is longer
    /// is not sent, as half a passkey is none. Empty where there is none.
    pub url_data: Vec<u8>,
}

/// From tracker to client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// Gives a connection id.
    Connect {
        /// From the request.
        transaction: u32,
        /// To be used for a minute.
        connection: u64,
    },
    /// Answers an announce. Numbers are as claimed.
    Announce {
        /// From the request.
        transaction: u32,
        /// Seconds until the next regular announce.
        interval: u32,
        /// Peers that do not have everything.
        leechers: u32,
        /// Peers that have.
        seeders: u32,
        /// Peers to try: at most [`MAX_TRACKER_PEERS`], none with port 0.
        peers: Vec<SocketAddr>,
    },
    /// Answers a scrape, in the order of the request's info-hashes. [`ScrapeStats::downloaders`]
    /// does not travel.
    Scrape {
        /// From the request.
        transaction: u32,
        /// At most [`MAX_SCRAPE_HASHES`].
        torrents: Vec<ScrapeStats>,
    },
    /// Refuses whatever was asked.
    Error {
        /// From the request.
        transaction: u32,
        /// The tracker's words, made fit to show.
        message: String,
    },
}

impl Request {
    /// The number by which the response is matched.
    #[must_use]
    pub fn transaction(&self) -> u32 {
        match self {
            Self::Connect { transaction }
            | Self::Announce { transaction, .. }
            | Self::Scrape { transaction, .. } => *transaction,
        }
    }

    /// Appends the datagram.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Connect { transaction } => put_head(out, PROTOCOL_ID, CONNECT, *transaction),
            Self::Announce {
                connection,
                transaction,
                announce,
            } => {
                put_head(out, *connection, ANNOUNCE, *transaction);
                announce.encode(out);
            }
            Self::Scrape {
                connection,
                transaction,
                info_hashes,
            } => {
                put_head(out, *connection, SCRAPE, *transaction);
                for info_hash in info_hashes.iter().take(MAX_SCRAPE_HASHES) {
                    out.extend(info_hash);
                }
            }
        }
    }

    /// Reads a datagram, as a tracker does. Bytes past what BEP 15 and 41 know are ignored.
    ///
    /// # Errors
    ///
    /// [`WireError::ShortDatagram`], [`WireError::UnknownAction`], or [`WireError::Invalid`] for a
    /// connect request without the protocol's number.
    pub fn decode(datagram: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(datagram, 16)?;
        let connection = reader.u64();
        let action = reader.u32();
        let transaction = reader.u32();
        match action {
            CONNECT if connection == PROTOCOL_ID => Ok(Self::Connect { transaction }),
            CONNECT => Err(WireError::Invalid { key: "protocol id" }),
            ANNOUNCE => Ok(Self::Announce {
                connection,
                transaction,
                announce: Announce::decode(Reader::new(datagram, ANNOUNCE_LEN)?.skip(16)),
            }),
            SCRAPE => {
                let info_hashes: Vec<[u8; 20]> =
                    chunks(reader.rest).take(MAX_SCRAPE_HASHES).collect();
                if info_hashes.is_empty() {
                    let len = datagram.len();
                    return Err(WireError::ShortDatagram { len, min: 36 });
                }
                Ok(Self::Scrape {
                    connection,
                    transaction,
                    info_hashes,
                })
            }
            action => Err(WireError::UnknownAction { action }),
        }
    }
}

impl Announce {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.info_hash);
        out.extend(self.peer_id.0);
        out.extend(self.downloaded.to_be_bytes());
        out.extend(self.left.to_be_bytes());
        out.extend(self.uploaded.to_be_bytes());
        let event = match self.event {
            None | Some(AnnounceEvent::Paused) => 0_u32,
            Some(AnnounceEvent::Completed) => 1,
            Some(AnnounceEvent::Started) => 2,
            Some(AnnounceEvent::Stopped) => 3,
        };
        out.extend(event.to_be_bytes());
        out.extend(self.ip.map_or([0; 4], |ip| ip.octets()));
        out.extend(self.key.to_be_bytes());
        let num_want = self
            .num_want
            .map_or(-1, |n| i32::try_from(n).unwrap_or(i32::MAX));
        out.extend(num_want.to_be_bytes());
        out.extend(self.port.to_be_bytes());
        if self.url_data.len() <= MAX_URL_DATA {
            for part in self.url_data.chunks(usize::from(u8::MAX)) {
                // A part is no longer than a byte can say, so the cast fits.
                out.extend([option::URL_DATA, part.len() as u8]);
                out.extend(part);
            }
        }
    }

    /// Reads what is behind the head of a datagram of at least [`ANNOUNCE_LEN`] bytes.
    fn decode(mut reader: Reader<'_>) -> Self {
        Self {
            info_hash: reader.array(),
            peer_id: PeerId(reader.array()),
            downloaded: reader.u64(),
            left: reader.u64(),
            uploaded: reader.u64(),
            event: match reader.u32() {
                1 => Some(AnnounceEvent::Completed),
                2 => Some(AnnounceEvent::Started),
                3 => Some(AnnounceEvent::Stopped),
                _ => None,
            },
            ip: Some(Ipv4Addr::from(reader.u32())).filter(|ip| !ip.is_unspecified()),
            key: reader.u32(),
            // All numbers with the highest bit set stand for the tracker's choice, -1 in
            // particular.
            num_want: Some(reader.u32()).filter(|&n| n <= i32::MAX as u32),
            port: u16::from_be_bytes(reader.array()),
            url_data: url_data(reader.rest),
        }
    }
}

/// Types of options behind an announce (BEP 41).
mod option {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const URL_DATA: u8 = 2;
}

/// Joins the URL data among the options, up to its bound. An option that is cut off ends them.
fn url_data(mut options: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        match options {
            [] | [option::END, ..] => return data,
            [option::NOP, rest @ ..] => options = rest,
            [kind, len, rest @ ..] => {
                let Some((value, rest)) = rest.split_at_checked(usize::from(*len)) else {
                    return data;
                };
                if *kind == option::URL_DATA && data.len() + value.len() <= MAX_URL_DATA {
                    data.extend(value);
                }
                options = rest;
            }
            [_] => return data,
        }
    }
}

impl Response {
    /// The number by which it is matched with its request.
    #[must_use]
    pub fn transaction(&self) -> u32 {
        match self {
            Self::Connect { transaction, .. }
            | Self::Announce { transaction, .. }
            | Self::Scrape { transaction, .. }
            | Self::Error { transaction, .. } => *transaction,
        }
    }

    /// Appends the datagram, for a client of that address family: peers of the other one are left
    /// out.
    pub fn encode(&self, family: Family, out: &mut Vec<u8>) {
        let mut put = |number: u32| out.extend(number.to_be_bytes());
        match self {
            Self::Connect {
                transaction,
                connection,
            } => {
                put(CONNECT);
                put(*transaction);
                out.extend(connection.to_be_bytes());
            }
            Self::Announce {
                transaction,
                interval,
                leechers,
                seeders,
                peers,
            } => {
                put(ANNOUNCE);
                put(*transaction);
                put(*interval);
                put(*leechers);
                put(*seeders);
                for &peer in peers {
                    let fits = match family {
                        Family::V4 => peer.is_ipv4(),
                        Family::V6 => peer.is_ipv6(),
                    };
                    if fits {
                        put_compact(peer, out);
                    }
                }
            }
            Self::Scrape {
                transaction,
                torrents,
            } => {
                put(SCRAPE);
                put(*transaction);
                for torrent in torrents {
                    put(torrent.complete);
                    put(torrent.downloaded);
                    put(torrent.incomplete);
                }
            }
            Self::Error {
                transaction,
                message,
            } => {
                put(ERROR);
                put(*transaction);
                out.extend(message.as_bytes());
            }
        }
    }

    /// Reads a datagram, as a client does; `family` is that of its source. Bytes past what BEP 15
    /// knows are ignored.
    ///
    /// # Errors
    ///
    /// [`WireError::ShortDatagram`] or [`WireError::UnknownAction`].
    pub fn decode(datagram: &[u8], family: Family) -> Result<Self, WireError> {
        let mut reader = Reader::new(datagram, 8)?;
        let action = reader.u32();
        let transaction = reader.u32();
        match action {
            CONNECT => Ok(Self::Connect {
                transaction,
                connection: Reader::new(datagram, 16)?.skip(8).u64(),
            }),
            ANNOUNCE => {
                let mut reader = Reader::new(datagram, 20)?.skip(8);
                Ok(Self::Announce {
                    transaction,
                    interval: reader.u32(),
                    leechers: reader.u32(),
                    seeders: reader.u32(),
                    peers: reader
                        .rest
                        .chunks_exact(family.stride())
                        .filter_map(compact_peer)
                        .filter(|peer| peer.port() != 0)
                        .take(MAX_TRACKER_PEERS)
                        .collect(),
                })
            }
            SCRAPE => Ok(Self::Scrape {
                transaction,
                torrents: chunks::<12>(reader.rest)
                    .take(MAX_SCRAPE_HASHES)
                    .map(|torrent| {
                        let mut reader = Reader { rest: &torrent };
                        ScrapeStats {
                            complete: reader.u32(),
                            downloaded: reader.u32(),
                            incomplete: reader.u32(),
                            downloaders: None,
                        }
                    })
                    .collect(),
            }),
            ERROR => Ok(Self::Error {
                transaction,
                message: printable(reader.rest, MAX_FOREIGN_TEXT),
            }),
            action => Err(WireError::UnknownAction { action }),
        }
    }
}

fn put_head(out: &mut Vec<u8>, connection: u64, action: u32, transaction: u32) {
    out.extend(connection.to_be_bytes());
    out.extend(action.to_be_bytes());
    out.extend(transaction.to_be_bytes());
}

/// Whole chunks of `N` bytes; a rest is left out.
fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes
        .chunks_exact(N)
        .filter_map(|chunk| chunk.try_into().ok())
}

/// Reads numbers from a datagram whose length has been checked; past the end it reads zeros.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(datagram: &'a [u8], min: usize) -> Result<Self, WireError> {
        let len = datagram.len();
        if len < min {
            return Err(WireError::ShortDatagram { len, min });
        }
        Ok(Self { rest: datagram })
    }

    fn skip(self, bytes: usize) -> Self {
        let rest = self.rest.get(bytes..).unwrap_or_default();
        Self { rest }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        match self.rest.split_first_chunk() {
            Some((array, rest)) => {
                self.rest = rest;
                *array
            }
            None => [0; N],
        }
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    fn hash(g: &mut Gen) -> [u8; 20] {
        core::array::from_fn(|_| u8::arbitrary(g))
    }

    impl Arbitrary for Request {
        fn arbitrary(g: &mut Gen) -> Self {
            let transaction = u32::arbitrary(g);
            let connection = u64::arbitrary(g);
            match u8::arbitrary(g) % 3 {
                0 => Self::Connect { transaction },
                1 => Self::Announce {
                    connection,
                    transaction,
                    announce: Announce {
                        info_hash: hash(g),
                        peer_id: PeerId(hash(g)),
                        downloaded: Arbitrary::arbitrary(g),
                        left: Arbitrary::arbitrary(g),
                        uploaded: Arbitrary::arbitrary(g),
                        event: [
                            None,
                            Some(AnnounceEvent::Started),
                            Some(AnnounceEvent::Completed),
                            Some(AnnounceEvent::Stopped),
                        ][usize::arbitrary(g) % 4],
                        ip: Option::<Ipv4Addr>::arbitrary(g).filter(|ip| !ip.is_unspecified()),
                        key: Arbitrary::arbitrary(g),
                        num_want: Option::<u32>::arbitrary(g).map(|n| n >> 1),
                        port: Arbitrary::arbitrary(g),
                        url_data: (0..usize::arbitrary(g) % (MAX_URL_DATA + 1))
                            .map(|_| u8::arbitrary(g))
                            .collect(),
                    },
                },
                _ => Self::Scrape {
                    connection,
                    transaction,
                    info_hashes: (0..1 + usize::arbitrary(g) % MAX_SCRAPE_HASHES)
                        .map(|_| hash(g))
                        .collect(),
                },
            }
        }
    }

    #[derive(Debug, Clone)]
    struct Drawn(Response, Family);

    impl Arbitrary for Drawn {
        fn arbitrary(g: &mut Gen) -> Self {
            let transaction = u32::arbitrary(g);
            let family = [Family::V4, Family::V6][usize::arbitrary(g) % 2];
            let response = match u8::arbitrary(g) % 4 {
                0 => Response::Connect {
                    transaction,
                    connection: u64::arbitrary(g),
                },
                1 => Response::Announce {
                    transaction,
                    interval: Arbitrary::arbitrary(g),
                    leechers: Arbitrary::arbitrary(g),
                    seeders: Arbitrary::arbitrary(g),
                    peers: Vec::<u16>::arbitrary(g)
                        .into_iter()
                        .map(|port| {
                            let port = port.max(1);
                            match family {
                                Family::V4 => (Ipv4Addr::arbitrary(g), port).into(),
                                Family::V6 => (core::net::Ipv6Addr::arbitrary(g), port).into(),
                            }
                        })
                        .collect(),
                },
                2 => Response::Scrape {
                    transaction,
                    torrents: (0..usize::arbitrary(g) % MAX_SCRAPE_HASHES)
                        .map(|_| ScrapeStats {
                            complete: Arbitrary::arbitrary(g),
                            incomplete: Arbitrary::arbitrary(g),
                            downloaded: Arbitrary::arbitrary(g),
                            downloaders: None,
                        })
                        .collect(),
                },
                _ => Response::Error {
                    transaction,
                    message: printable(String::arbitrary(g).as_bytes(), MAX_FOREIGN_TEXT),
                },
            };
            Self(response, family)
        }
    }

    fn encoded(request: &Request) -> Vec<u8> {
        let mut out = Vec::new();
        request.encode(&mut out);
        out
    }

    fn announce(url_data: Vec<u8>) -> Request {
        Request::Announce {
            connection: 1,
            transaction: 2,
            announce: Announce {
                info_hash: [3; 20],
                peer_id: PeerId([4; 20]),
                downloaded: 5,
                left: 6,
                uploaded: 7,
                event: Some(AnnounceEvent::Started),
                ip: None,
                key: 8,
                num_want: None,
                port: 9,
                url_data,
            },
        }
    }

    quickcheck! {
        fn a_request_arrives_as_it_was_sent(request: Request, behind: Vec<u8>) -> bool {
            let mut datagram = encoded(&request);
            let exact = Request::decode(&datagram).as_ref() == Ok(&request);
            // A scrape has no end but the datagram's; elsewhere there may be more.
            if !matches!(request, Request::Scrape { .. }) {
                datagram.push(option::END);
                datagram.extend(behind);
            }
            exact && Request::decode(&datagram) == Ok(request)
        }

        fn a_response_arrives_as_it_was_sent(drawn: Drawn) -> bool {
            let Drawn(response, family) = drawn;
            let mut datagram = Vec::new();
            response.encode(family, &mut datagram);
            let decoded = Response::decode(&datagram, family);
            decoded.as_ref().map(Response::transaction) == Ok(response.transaction())
                && decoded == Ok(response)
        }

        fn garbage_never_panics(action: u8, transaction: u32, body: Vec<u8>) -> bool {
            let mut datagram = vec![0, 0, 0, action % 5];
            datagram.extend(transaction.to_be_bytes());
            datagram.extend(&body);
            let known = action % 5 < 4;
            [Family::V4, Family::V6].iter().all(|&family| {
                match Response::decode(&datagram, family) {
                    Ok(response) => known && response.transaction() == transaction,
                    Err(WireError::UnknownAction { .. }) => !known,
                    Err(_) => datagram.len() < 20,
                }
            })
        }

        fn garbage_from_clients_never_panics(action: u8, body: Vec<u8>) -> bool {
            let mut datagram = vec![0; 11];
            datagram.push(action % 5);
            datagram.extend(&body);
            match Request::decode(&datagram) {
                Ok(Request::Announce { .. }) => datagram.len() >= ANNOUNCE_LEN,
                Ok(Request::Scrape { info_hashes, .. }) => {
                    info_hashes.len() == ((datagram.len() - 16) / 20).min(MAX_SCRAPE_HASHES)
                }
                // The protocol's number is not zero.
                Ok(Request::Connect { .. }) => false,
                Err(_) => true,
            }
        }
    }

    #[test]
    fn a_connect_request_is_as_the_specification_shows_it() {
        let transaction = 0xdead_beef;
        assert_eq!(
            encoded(&Request::Connect { transaction }),
            [
                0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef
            ]
        );
    }

    #[test]
    fn an_announce_has_its_fields_where_they_belong() {
        let datagram = encoded(&announce(vec![]));
        assert_eq!(datagram.len(), ANNOUNCE_LEN);
        assert_eq!(datagram[56..64], 5_u64.to_be_bytes());
        assert_eq!(datagram[64..72], 6_u64.to_be_bytes());
        assert_eq!(datagram[72..80], 7_u64.to_be_bytes());
        assert_eq!(datagram[80..84], [0, 0, 0, 2]);
        assert_eq!(datagram[88..92], [0, 0, 0, 8]);
        assert_eq!(datagram[92..96], [0xff; 4]);
        assert_eq!(datagram[96..], [0, 9]);
    }

    #[test]
    fn url_data_is_sent_in_parts_and_joined() {
        assert_eq!(
            encoded(&announce(b"/dir?a=b&c=d".to_vec()))[ANNOUNCE_LEN..],
            *b"\x02\x0c/dir?a=b&c=d"
        );
        let long = encoded(&announce(vec![b'x'; 300]));
        assert_eq!(long.len(), ANNOUNCE_LEN + 2 + 255 + 2 + 45);
        let too_long = encoded(&announce(vec![b'x'; MAX_URL_DATA + 1]));
        assert_eq!(too_long.len(), ANNOUNCE_LEN);
    }

    #[test]
    fn options_are_read_as_bep_41_has_them() {
        for (options, data) in [
            (&b""[..], &b""[..]),
            (b"\x02\x00", b""),
            (b"\x02\x02ab\x01\x01\x00\x02\x01c", b"ab"),
            (b"\x02\x01a\x09\x03xyz\x02\x01b", b"ab"),
            (b"\x02\x01a\x02", b"a"),
            (b"\x02\x01a\x02\x09b", b"a"),
        ] {
            assert_eq!(url_data(options), data, "{options:?}");
        }
    }

    #[test]
    fn datagrams_shorter_than_their_kind_are_refused() {
        for (action, min) in [(0, 16), (1, 20), (2, 8), (3, 8)] {
            let mut datagram = vec![0; min];
            datagram[3] = action;
            assert!(Response::decode(&datagram, Family::V4).is_ok());
            let len = min - 1;
            let error = Response::decode(&datagram[..len], Family::V4);
            assert!(matches!(error, Err(WireError::ShortDatagram { len: l, .. }) if l == len));
        }
        for (action, min) in [(1, ANNOUNCE_LEN), (2, 36)] {
            let mut datagram = vec![0; min];
            datagram[11] = action;
            assert!(Request::decode(&datagram).is_ok());
            let len = min - 1;
            let error = Err(WireError::ShortDatagram { len, min });
            assert_eq!(Request::decode(&datagram[..len]), error);
        }
    }

    #[test]
    fn peers_with_port_0_and_cut_off_ones_are_left_out() {
        let mut datagram = vec![0; 20];
        datagram[3] = 1;
        datagram.extend([10, 0, 0, 1, 0, 0]);
        datagram.extend([10, 0, 0, 2, 0, 1]);
        datagram.extend([10, 0, 0, 3, 0]);
        let Ok(Response::Announce { peers, .. }) = Response::decode(&datagram, Family::V4) else {
            panic!("no announce");
        };
        assert_eq!(peers, ["10.0.0.2:1".parse().unwrap()]);
    }

    #[test]
    fn peers_of_the_other_family_do_not_travel() {
        let peers = vec!["10.0.0.2:1".parse().unwrap(), "[::1]:2".parse().unwrap()];
        let response = Response::Announce {
            transaction: 1,
            interval: 2,
            leechers: 3,
            seeders: 4,
            peers,
        };
        for (family, len) in [(Family::V4, 26), (Family::V6, 38)] {
            let mut out = Vec::new();
            response.encode(family, &mut out);
            assert_eq!(out.len(), len);
        }
    }

    #[test]
    fn a_mapped_address_is_of_ipv4() {
        assert_eq!(
            Family::of("[::ffff:1.2.3.4]:1".parse().unwrap()),
            Family::V4
        );
        assert_eq!(Family::of("[::1]:1".parse().unwrap()), Family::V6);
    }
}
