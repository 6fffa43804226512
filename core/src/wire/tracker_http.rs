//! BEP 3, 7, 21, 23, 24, 31, 48: what a client writes to an HTTP tracker and reads from it.

use alloc::{
    borrow::ToOwned,
    collections::BTreeMap,
    format,
    string::{String, ToString},
};
use core::fmt;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use super::{
    WireError,
    extended::packed_ip,
    guard::{self, Scalar},
    mend::mended,
    text::printable,
    tracker::{
        AnnounceQuery, AnnounceReply, Answer, Failure, MAX_SCRAPED, MAX_TRACKER_ID, Retry,
        ScrapeReply, ScrapeStats, percent_encode, with_query,
    },
    tracker_peers::Peers,
};
use crate::limits::{MAX_FOREIGN_TEXT, MAX_TRACKER_NAMES, MAX_TRACKER_PEERS};

impl AnnounceQuery {
    /// The URL to ask: `announce` with the query appended. A query that is there already, such as a
    /// passkey, stays in front; a fragment goes.
    #[must_use]
    pub fn url(&self, announce: &str) -> String {
        let mut query = String::from("info_hash=");
        percent_encode(&self.info_hash, &mut query);
        query += "&peer_id=";
        percent_encode(&self.peer_id.0, &mut query);
        query += &format!(
            "&port={}&uploaded={}&downloaded={}&left={}&compact={}",
            self.port,
            self.uploaded,
            self.downloaded,
            self.left,
            u8::from(self.compact),
        );
        if self.no_peer_id {
            query += "&no_peer_id=1";
        }
        if let Some(event) = self.event {
            query += "&event=";
            query += event.name();
        }
        if let Some(num_want) = self.num_want {
            query += &format!("&numwant={num_want}");
        }
        if let Some(key) = self.key {
            query += &format!("&key={key:08X}");
        }
        if let Some(id) = &self.tracker_id {
            query += "&trackerid=";
            percent_encode(id, &mut query);
        }
        if let Some(ip) = self.ip {
            query += "&ip=";
            percent_encode(ip.to_string().as_bytes(), &mut query);
        }
        with_query(announce, &query)
    }
}

/// The URL to scrape these torrents at (BEP 48), from the URL to announce at: the last part of its
/// path must begin with `announce`, which becomes `scrape`. `None` where it does not, and the
/// tracker can't be scraped.
#[must_use]
pub fn scrape_url(announce: &str, info_hashes: &[[u8; 20]]) -> Option<String> {
    let path_end = announce.find(['?', '#']).unwrap_or(announce.len());
    let (path, behind) = announce.split_at(path_end);
    let (front, last) = path.rsplit_once('/')?;
    let rest = last.strip_prefix("announce")?;
    // Otherwise the last part is the host.
    if !front.contains("://") {
        return None;
    }
    let mut query = String::new();
    for info_hash in info_hashes {
        query += if query.is_empty() {
            "info_hash="
        } else {
            "&info_hash="
        };
        percent_encode(info_hash, &mut query);
    }
    let url = front.to_owned() + "/scrape" + rest + behind;
    Some(with_query(&url, &query))
}

/// Reads the body of a reply to an announce, unpacked already. A byte order mark and white space in
/// front of the bencoding and whatever is behind it are ignored; of a key that is there twice the first
/// counts; numbers out of range are the largest or the smallest there are, and those that are none
/// count as absent.
///
/// # Errors
///
/// [`WireError::Bencode`] or [`WireError::Shape`]: the body is not a bencoded dictionary, or goes
/// over a limit of nesting or count.
pub fn decode_announce(body: &[u8]) -> Result<Answer<AnnounceReply>, WireError> {
    let body = mended(body);
    let scanned = guard::scan(&body)?;
    let reply: IncomingAnnounce<'_> = scanned.decode()?;
    if let Some(failure) = failure(reply.failure, reply.retry) {
        return Ok(Answer::Failure(Failure {
            interval: reply.interval.count(),
            min_interval: reply.min_interval.count(),
            ..failure
        }));
    }
    let (mut peers, mut peers6) = (reply.peers, reply.peers6);
    // Neither family crowds the other out of its half.
    peers.cut(MAX_TRACKER_PEERS - peers6.list.len().min(MAX_TRACKER_PEERS / 2));
    peers6.cut(MAX_TRACKER_PEERS - peers.list.len());
    peers.list.append(&mut peers6.list);
    let mut names = peers.names;
    for name in peers6.names {
        if names.len() < MAX_TRACKER_NAMES && !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(Answer::Reply(AnnounceReply {
        interval: reply.interval.count(),
        min_interval: reply.min_interval.count(),
        tracker_id: reply
            .tracker_id
            .bytes()
            .filter(|id| id.len() <= MAX_TRACKER_ID)
            .map(Bytes::copy_from_slice),
        complete: reply.complete.count(),
        incomplete: reply.incomplete.count(),
        downloaded: reply.downloaded.count(),
        external_ip: reply.external_ip.bytes().and_then(packed_ip),
        warning: reply
            .warning
            .bytes()
            .map(|text| printable(text, MAX_FOREIGN_TEXT)),
        peers: peers.list,
        names,
        dropped: peers.dropped.saturating_add(peers6.dropped),
    }))
}

/// Reads the body of a reply to a scrape, as leniently as [`decode_announce`].
///
/// # Errors
///
/// As [`decode_announce`], and [`WireError::Missing`] where there are neither `files` nor a
/// failure.
pub fn decode_scrape(body: &[u8]) -> Result<Answer<ScrapeReply>, WireError> {
    let body = mended(body);
    let scanned = guard::scan(&body)?;
    let reply: IncomingScrape<'_> = scanned.decode()?;
    if let Some(failure) = failure(reply.failure, reply.retry) {
        return Ok(Answer::Failure(failure));
    }
    match reply.files {
        Some(Files(files)) => Ok(Answer::Reply(ScrapeReply { files })),
        None => Err(WireError::Missing { key: "files" }),
    }
}

fn failure(reason: Scalar<'_>, retry: Scalar<'_>) -> Option<Failure> {
    let reason = match reason {
        Scalar::Bytes(text) => printable(text, MAX_FOREIGN_TEXT),
        // A script's way to say that there is none.
        Scalar::Int(_) | Scalar::Other => return None,
    };
    // The examples of BEP 31 give the number as a string.
    let retry = match retry {
        Scalar::Bytes(b"never") => Some(Retry::Never),
        Scalar::Bytes(text) => core::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .map(Retry::Minutes),
        Scalar::Int(_) => retry.count().map(Retry::Minutes),
        Scalar::Other => None,
    };
    Some(Failure {
        reason,
        retry,
        ..Failure::default()
    })
}

#[derive(Deserialize)]
struct IncomingAnnounce<'a> {
    #[serde(default, borrow, rename = "failure reason")]
    failure: Scalar<'a>,
    #[serde(default, borrow, rename = "retry in")]
    retry: Scalar<'a>,
    #[serde(default, borrow, rename = "warning message")]
    warning: Scalar<'a>,
    #[serde(default, borrow)]
    interval: Scalar<'a>,
    #[serde(default, borrow, rename = "min interval")]
    min_interval: Scalar<'a>,
    #[serde(default, borrow, rename = "tracker id")]
    tracker_id: Scalar<'a>,
    #[serde(default, borrow)]
    complete: Scalar<'a>,
    #[serde(default, borrow)]
    incomplete: Scalar<'a>,
    #[serde(default, borrow)]
    downloaded: Scalar<'a>,
    #[serde(default, borrow, rename = "external ip")]
    external_ip: Scalar<'a>,
    #[serde(default)]
    peers: Peers<4>,
    #[serde(default)]
    peers6: Peers<16>,
}

#[derive(Deserialize)]
struct IncomingScrape<'a> {
    #[serde(default, borrow, rename = "failure reason")]
    failure: Scalar<'a>,
    #[serde(default, borrow, rename = "retry in")]
    retry: Scalar<'a>,
    files: Option<Files>,
}

/// The `files` of a scrape, within their bound.
struct Files(BTreeMap<[u8; 20], ScrapeStats>);

#[derive(Deserialize)]
struct IncomingStats<'a> {
    #[serde(default, borrow)]
    complete: Scalar<'a>,
    #[serde(default, borrow)]
    incomplete: Scalar<'a>,
    #[serde(default, borrow)]
    downloaded: Scalar<'a>,
    #[serde(default, borrow)]
    downloaders: Scalar<'a>,
}

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FilesVisitor)
    }
}

struct FilesVisitor;

impl<'de> Visitor<'de> for FilesVisitor {
    type Value = Files;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a dictionary")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Files, A::Error> {
        let mut files = BTreeMap::new();
        while let Some((info_hash, stats)) = map.next_entry::<Scalar<'de>, IncomingStats<'de>>()? {
            let info_hash = info_hash.bytes().and_then(|hash| hash.try_into().ok());
            let Some(info_hash) = info_hash.filter(|_| files.len() < MAX_SCRAPED) else {
                continue;
            };
            files.insert(
                info_hash,
                ScrapeStats {
                    complete: stats.complete.count().unwrap_or_default(),
                    incomplete: stats.incomplete.count().unwrap_or_default(),
                    downloaded: stats.downloaded.count().unwrap_or_default(),
                    downloaders: stats.downloaders.count(),
                },
            );
        }
        Ok(Files(files))
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;
    use crate::wire::PeerId;
    use crate::wire::tracker::{AnnounceEvent, TrackerPeer};

    fn query() -> AnnounceQuery {
        AnnounceQuery {
            info_hash:
                *b"\x12\x34\x56\x78\x9a\xbc\xde\xf1\x23\x45\x67\x89\xab\xcd\xef\x12\x34\x56\x78\x9a",
            peer_id: PeerId(*b"-AB0100-abc.def_~*+ "),
            port: 6881,
            uploaded: 1,
            downloaded: 2,
            left: u64::MAX,
            event: None,
            compact: true,
            no_peer_id: false,
            num_want: None,
            key: None,
            tracker_id: None,
            ip: None,
        }
    }

    fn reply(body: &[u8]) -> AnnounceReply {
        match decode_announce(body) {
            Ok(Answer::Reply(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn peer(addr: &str) -> TrackerPeer {
        TrackerPeer {
            addr: addr.parse().unwrap(),
            peer_id: None,
        }
    }

    #[test]
    fn an_announce_is_asked_for_in_the_known_form() {
        assert_eq!(
            query().url("http://t.example/announce"),
            "http://t.example/announce?info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A\
             &peer_id=-AB0100-abc.def_~%2A%2B%20&port=6881&uploaded=1&downloaded=2\
             &left=18446744073709551615&compact=1"
        );
    }

    #[test]
    fn a_passkey_stays_and_options_follow() {
        let query = AnnounceQuery {
            event: Some(AnnounceEvent::Stopped),
            compact: false,
            no_peer_id: true,
            num_want: Some(0),
            key: Some(0xbeef),
            tracker_id: Some(Bytes::from_static(b"a&b")),
            ip: Some("::1".parse().unwrap()),
            ..query()
        };
        let url = query.url("http://t/announce?passkey=s3cret#x");
        assert!(url.starts_with("http://t/announce?passkey=s3cret&info_hash=%124"));
        assert!(url.ends_with(
            "&compact=0&no_peer_id=1&event=stopped&numwant=0&key=0000BEEF&trackerid=a%26b&ip=%3A%3A1"
        ));
    }

    #[test]
    fn scraping_replaces_announce_where_it_can() {
        let hash = [b'a'; 20];
        for (announce, scrape) in [
            ("http://t/announce", Some("http://t/scrape?info_hash=")),
            (
                "http://t/x/announce.php",
                Some("http://t/x/scrape.php?info_hash="),
            ),
            (
                "http://t/announce?p=2%0644",
                Some("http://t/scrape?p=2%0644&info_hash="),
            ),
            (
                "http://t/announce?p=/a",
                Some("http://t/scrape?p=/a&info_hash="),
            ),
            ("http://t/a", None),
            ("http://t/x%064announce", None),
            ("http://announce.t/", None),
            ("http://announce.t", None),
            ("announce", None),
        ] {
            let url = scrape_url(announce, &[hash]);
            let expected = scrape.map(|scrape| scrape.to_owned() + &"a".repeat(20));
            assert_eq!(url, expected, "{announce}");
        }
        let two = scrape_url("http://t/announce", &[hash, [b'b'; 20]]).unwrap();
        assert!(two.ends_with("?info_hash=aaaaaaaaaaaaaaaaaaaa&info_hash=bbbbbbbbbbbbbbbbbbbb"));
    }

    #[test]
    fn compact_peers_of_both_families_are_read() {
        let body = b"d8:intervali1800e5:peers12:\x7f\0\0\x01\x1a\xe1\x0a\0\0\x02\0\x506:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe1e\r\n";
        let reply = reply(body);
        assert_eq!(reply.interval, Some(1800));
        let expected = ["127.0.0.1:6881", "10.0.0.2:80", "[2001:db8::1]:6881"].map(peer);
        assert_eq!(reply.peers, expected);
        assert_eq!(reply.dropped, 0);
    }

    #[test]
    fn all_the_rest_of_a_reply_is_read() {
        let body = b"d8:completei3e10:downloadedi7e11:external ip4:\x01\x02\x03\x0410:incompletei-1e8:intervali99999999999e12:min intervali60e5:peersle10:tracker id3:a\0b15:warning message5:slow\x07e";
        let expected = AnnounceReply {
            interval: Some(u32::MAX),
            min_interval: Some(60),
            tracker_id: Some(Bytes::from_static(b"a\0b")),
            complete: Some(3),
            incomplete: None,
            downloaded: Some(7),
            external_ip: Some("1.2.3.4".parse().unwrap()),
            warning: Some("slow\u{fffd}".into()),
            peers: vec![],
            names: vec![],
            dropped: 0,
        };
        assert_eq!(reply(body), expected);
    }

    #[test]
    fn refusals_say_when_to_come_back() {
        for (retry, expected) in [
            ("", None),
            ("8:retry ini5e", Some(Retry::Minutes(5))),
            ("8:retry in1:5", Some(Retry::Minutes(5))),
            ("8:retry in5:never", Some(Retry::Never)),
            ("8:retry ini-5e", None),
            ("8:retry in3:who", None),
        ] {
            let body = format!("d14:failure reason4:full{retry}e");
            let failure = Failure {
                reason: "full".into(),
                retry: expected,
                ..Failure::default()
            };
            assert_eq!(
                decode_announce(body.as_bytes()),
                Ok(Answer::Failure(failure.clone())),
                "{retry}"
            );
            assert_eq!(decode_scrape(body.as_bytes()), Ok(Answer::Failure(failure)));
        }
    }

    #[test]
    fn peers_are_bounded_and_useless_ones_dropped() {
        let mut body = Vec::from(*b"d5:peers");
        body.extend(format!("{}:", 6 * (MAX_TRACKER_PEERS + 5) + 3).into_bytes());
        for _ in 0..MAX_TRACKER_PEERS + 4 {
            body.extend([10, 0, 0, 1, 0, 1]);
        }
        body.extend([10, 0, 0, 1, 0, 0]);
        body.extend(*b"cute");
        let reply = reply(&body);
        assert_eq!(reply.peers.len(), MAX_TRACKER_PEERS);
        assert_eq!(reply.dropped, 4 + 1 + 1);

        for (v4, v6, kept4, kept6) in [
            (1500, 1500, 1000, 1000),
            (10, 3000, 10, 1990),
            (3000, 10, 1990, 10),
        ] {
            let mut body = format!("d5:peers{}:", 6 * v4).into_bytes();
            body.extend([1; 6].repeat(v4));
            body.extend(format!("6:peers6{}:", 18 * v6).into_bytes());
            body.extend([1; 18].repeat(v6));
            body.push(b'e');
            let reply = self::reply(&body);
            let four = reply
                .peers
                .iter()
                .filter(|peer| peer.addr.is_ipv4())
                .count();
            assert_eq!((four, reply.peers.len() - four), (kept4, kept6));
            assert_eq!(reply.dropped as usize, v4 + v6 - MAX_TRACKER_PEERS);
        }

        let list = format!(
            "d5:peersl{}ee",
            "d2:ip7:1.1.1.14:porti1ee".repeat(MAX_TRACKER_PEERS + 1)
        );
        let reply = self::reply(list.as_bytes());
        assert_eq!((reply.peers.len(), reply.dropped), (MAX_TRACKER_PEERS, 1));
    }

    #[test]
    fn a_reply_is_understood_whatever_stands_in_front_of_it() {
        let whole = "d8:intervali1800e5:peers6:\x7f\0\0\x01\x1a\x51e";
        for front in ["\u{feff}", "\r\n", " \t\n", "\u{feff}\r\n", "\r\n\u{feff}"] {
            let reply = reply([front, whole].concat().as_bytes());
            assert_eq!(reply.interval, Some(1800), "{front:?}");
            assert_eq!(reply.peers.len(), 1, "{front:?}");
        }
        let scrape = "\u{feff}d5:filesd20:xxxxxxxxxxxxxxxxxxxxd8:completei11eeee";
        assert!(decode_scrape(scrape.as_bytes()).is_ok());
    }

    #[test]
    fn of_a_key_that_is_there_twice_the_first_counts() {
        let body = b"d8:intervali60e8:intervali70e5:peers6:\x7f\0\0\x01\0\x505:peersd1:al1:bee8:completei3e8:completei4ee";
        let twice = reply(body);
        assert_eq!((twice.interval, twice.complete), (Some(60), Some(3)));
        assert_eq!(twice.peers, [peer("127.0.0.1:80")]);
        let body = b"d5:peersld2:ip9:127.0.0.12:ip9:127.0.0.24:porti80e4:porti81eeee";
        assert_eq!(reply(body).peers, [peer("127.0.0.1:80")]);
        let body = b"d5:filesd20:xxxxxxxxxxxxxxxxxxxxd8:completei1e8:completei2ee20:xxxxxxxxxxxxxxxxxxxxd8:completei3eeee";
        let Ok(Answer::Reply(ScrapeReply { files })) = decode_scrape(body) else {
            panic!("no reply");
        };
        assert_eq!(files[&[b'x'; 20]].complete, 1);
    }

    #[test]
    fn a_number_that_is_odd_does_not_spoil_the_rest() {
        for (number, expected) in [
            ("1800", Some(1800)),
            ("007", Some(7)),
            ("99999999999999999999999999", Some(u32::MAX)),
            ("18446744073709551616", Some(u32::MAX)),
            ("-99999999999999999999999999", None),
            ("-9223372036854775808", None),
            ("-9223372036854775809", None),
            ("1800.0", None),
            ("1.8E+3", None),
            ("", None),
            ("-", None),
            (" 60", None),
        ] {
            let body = format!("d8:completei{number}e10:incompletei5ee");
            let reply = reply(body.as_bytes());
            assert_eq!(reply.complete, expected, "{number}");
            assert_eq!(reply.incomplete, Some(5), "{number}");
        }
    }

    #[test]
    fn a_reason_that_is_no_text_is_no_refusal() {
        for reason in ["i0e", "i1e", "le", "de"] {
            let body = format!("d14:failure reason{reason}8:intervali60ee");
            assert_eq!(reply(body.as_bytes()).interval, Some(60), "{reason}");
            let body = format!("d14:failure reason{reason}5:filesdee");
            let scrape = decode_scrape(body.as_bytes());
            assert!(matches!(scrape, Ok(Answer::Reply(_))), "{reason}");
        }
    }

    #[test]
    fn a_peer_that_is_nested_deeply_does_not_cost_the_rest() {
        for depth in [31, 90] {
            let (open, close) = ("l".repeat(depth), "e".repeat(depth));
            let body = format!("d5:peersld2:ip7:1.1.1.14:porti80ee{open}{close}ee");
            assert_eq!(
                reply(body.as_bytes()).peers,
                [peer("1.1.1.1:80")],
                "{depth}"
            );
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for body in ["", "<html>", "le", "d5:peersd"] {
            assert!(decode_announce(body.as_bytes()).is_err(), "{body}");
        }
        let missing = WireError::Missing { key: "files" };
        assert_eq!(decode_scrape(b"de"), Err(missing));
        assert_eq!(decode_scrape(b"d5:filesi1ee"), Err(WireError::Shape));
    }

    #[test]
    fn the_scrape_example_of_the_specification_is_understood() {
        let body = b"d5:filesd20:xxxxxxxxxxxxxxxxxxxxd8:completei11e10:downloadedi13772e10:incompletei19ee20:yyyyyyyyyyyyyyyyyyyyd8:completei21e10:downloadedi206e10:incompletei20e11:downloadersi3ee3:badd8:completei1eeee";
        let Ok(Answer::Reply(ScrapeReply { files })) = decode_scrape(body) else {
            panic!("no reply");
        };
        let expected = [
            (
                [b'x'; 20],
                ScrapeStats {
                    complete: 11,
                    incomplete: 19,
                    downloaded: 13772,
                    downloaders: None,
                },
            ),
            (
                [b'y'; 20],
                ScrapeStats {
                    complete: 21,
                    incomplete: 20,
                    downloaded: 206,
                    downloaders: Some(3),
                },
            ),
        ];
        assert_eq!(files, BTreeMap::from(expected));
    }
}
