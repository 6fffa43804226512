//! BEP 9, 53: magnet links.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, net::Ipv6Addr, ops::RangeInclusive, str::FromStr};

use data_encoding::BASE32;

use super::{FileIndex, InfoHash, Metainfo, Node, limits, path::safe_text};

/// The longest link, in bytes.
pub const MAX_MAGNET_LEN: usize = 64 << 10;

/// The longest display name that is kept, in bytes.
pub const MAX_NAME_LEN: usize = 1024;

/// The most peers; further ones are ignored.
pub const MAX_PEERS: usize = 64;

/// The most parameters that are kept without being understood; further ones are ignored.
pub const MAX_UNKNOWN: usize = 64;

/// The most ranges of files; further ones are ignored.
pub const MAX_RANGES: usize = 4096;

/// A magnet link: all that is needed to find a torrent's peers and to know the torrent when they send
/// it.
///
/// What is not understood is kept and written again. Text and addresses may come from anybody: they
/// are bounded, and the name is fit to be shown.
///
/// ```
/// use anabranch_core::metainfo::Magnet;
///
/// let link = "magnet:?xt=urn:btih:000102030405060708090A0B0C0D0E0F10111213&dn=a%20b&so=0,2-3";
/// let magnet: Magnet = link.parse()?;
/// assert_eq!(magnet.name.as_deref(), Some("a b"));
/// assert_eq!(
///     magnet.to_string(),
///     "magnet:?xt=urn:btih:000102030405060708090a0b0c0d0e0f10111213&dn=a%20b&so=0,2-3"
/// );
/// # Ok::<(), anabranch_core::metainfo::ParseMagnetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Magnet {
    /// `xt`: which torrent. Read in hexadecimal and in base 32, written in hexadecimal.
    pub info_hash: InfoHash,
    /// `dn`: what to call it until its metadata is there.
    pub name: Option<String>,
    /// `tr`: trackers' URLs, each a tier of its own. None is there twice; at most
    /// [`limits::MAX_TRACKERS`] are read.
    pub trackers: Vec<String>,
    /// `x.pe`: peers, by address or by name. At most [`MAX_PEERS`] are read.
    pub peers: Vec<Node>,
    /// `ws`: URLs of web seeds (BEP 19). At most [`limits::MAX_WEB_SEEDS`] are read.
    pub web_seeds: Vec<String>,
    /// `so`: the only files that are wanted, as ranges of their numbers from 0 (BEP 53); all of them
    /// when it is not there. At most [`MAX_RANGES`] are read.
    pub select: Option<Vec<RangeInclusive<u32>>>,
    /// Everything else, names and values as they are with their percent encoding undone. At most
    /// [`MAX_UNKNOWN`] are read.
    pub unknown: Vec<(String, String)>,
}

/// A magnet link that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseMagnetError {
    /// It does not begin with `magnet:?`.
    #[error("not a magnet link")]
    NotMagnet,
    /// It is longer than [`MAX_MAGNET_LEN`].
    #[error("longer than {MAX_MAGNET_LEN} bytes")]
    TooLong,
    /// It names no torrent of version 1: there is no `xt=urn:btih:`.
    #[error("it names no torrent (xt=urn:btih:)")]
    NoInfoHash,
    /// The info-hash is neither 40 hexadecimal digits nor 32 of base 32.
    #[error("its info-hash is neither 40 hexadecimal digits nor 32 of base 32")]
    BadInfoHash,
}

impl Magnet {
    /// A link with nothing but an info-hash.
    #[must_use]
    pub const fn new(info_hash: InfoHash) -> Self {
        Self {
            info_hash,
            name: None,
            trackers: Vec::new(),
            peers: Vec::new(),
            web_seeds: Vec::new(),
            select: None,
            unknown: Vec::new(),
        }
    }

    /// The link to a torrent, with its name, its trackers and its web seeds.
    #[must_use]
    pub fn of(metainfo: &Metainfo) -> Self {
        Self {
            name: Some(metainfo.name().to_string()),
            trackers: metainfo.trackers().iter().flatten().cloned().collect(),
            web_seeds: metainfo.web_seeds().to_vec(),
            ..Self::new(metainfo.info_hash())
        }
    }

    /// Whether a file is wanted, as far as the link says.
    #[must_use]
    pub fn selects(&self, file: FileIndex) -> bool {
        self.select
            .as_ref()
            .is_none_or(|ranges| ranges.iter().any(|range| range.contains(&file.get())))
    }

    fn read(&mut self, name: &str, value: &str) {
        // `tr.1` and the like are numbered where there are several.
        let key = match name.rsplit_once('.') {
            Some((key, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => key,
            Some(_) | None => name,
        };
        match key {
            "dn" if self.name.is_none() => {
                let text = safe_text(&decode(&value.replace('+', " ")), MAX_NAME_LEN);
                self.name = (!text.is_empty()).then_some(text);
            }
            "tr" => push_url(&mut self.trackers, value, limits::MAX_TRACKERS),
            "ws" => push_url(&mut self.web_seeds, value, limits::MAX_WEB_SEEDS),
            "x.pe" => {
                let peer = String::from_utf8(decode(value)).ok();
                if let Some(peer) = peer.as_deref().and_then(read_peer)
                    && self.peers.len() < MAX_PEERS
                    && !self.peers.contains(&peer)
                {
                    self.peers.push(peer);
                }
            }
            "so" if self.select.is_none() => self.select = Some(read_ranges(value)),
            _ if self.unknown.len() < MAX_UNKNOWN => {
                let text = |part| String::from_utf8_lossy(&decode(part)).into_owned();
                self.unknown.push((text(name), text(value)));
            }
            _ => {}
        }
    }
}

impl FromStr for Magnet {
    type Err = ParseMagnetError;

    fn from_str(link: &str) -> Result<Self, ParseMagnetError> {
        const SCHEME: &str = "magnet:?";
        if link.len() > MAX_MAGNET_LEN {
            return Err(ParseMagnetError::TooLong);
        }
        let link = link.trim();
        let query = link
            .split_at_checked(SCHEME.len())
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
            .ok_or(ParseMagnetError::NotMagnet)?
            .1;
        let mut magnet: Option<Self> = None;
        let mut wrong = false;
        let topics = parameters(query).filter(|(name, _)| is_topic(name));
        for (_, value) in topics {
            match read_topic(value) {
                Some(Ok(info_hash)) if magnet.is_none() => magnet = Some(Self::new(info_hash)),
                Some(Err(_)) => wrong = true,
                Some(Ok(_)) | None => {}
            }
        }
        let mut magnet = magnet.ok_or(if wrong {
            ParseMagnetError::BadInfoHash
        } else {
            ParseMagnetError::NoInfoHash
        })?;
        for (name, value) in parameters(query) {
            let ours = is_topic(name) && read_topic(value) == Some(Ok(magnet.info_hash));
            if !ours {
                magnet.read(name, value);
            }
        }
        Ok(magnet)
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "magnet:?xt=urn:btih:{}", self.info_hash)?;
        if let Some(name) = &self.name {
            write!(f, "&dn={}", Encoded(name))?;
        }
        for tracker in &self.trackers {
            write!(f, "&tr={}", Encoded(tracker))?;
        }
        for web_seed in &self.web_seeds {
            write!(f, "&ws={}", Encoded(web_seed))?;
        }
        for Node { host, port } in &self.peers {
            // Some readers expect it as it is.
            match host.contains(':') {
                true => write!(f, "&x.pe=[{host}]:{port}")?,
                false => write!(f, "&x.pe={}:{port}", Encoded(host))?,
            }
        }
        if let Some(ranges) = &self.select {
            f.write_str("&so=")?;
            for (index, range) in ranges.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                match range.start() == range.end() {
                    true => write!(f, "{comma}{}", range.start())?,
                    false => write!(f, "{comma}{}-{}", range.start(), range.end())?,
                }
            }
        }
        for (name, value) in &self.unknown {
            write!(f, "&{}={}", Encoded(name), Encoded(value))?;
        }
        Ok(())
    }
}

/// Names and values as they stand in the link.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        // As it stands in the source of a web page.
        .map(|parameter| parameter.strip_prefix("amp;").unwrap_or(parameter))
        .filter_map(|parameter| parameter.split_once('='))
}

fn is_topic(name: &str) -> bool {
    name == "xt" || name.starts_with("xt.")
}

/// The info-hash of an exact topic; none if it is a topic of another kind.
fn read_topic(value: &str) -> Option<Result<InfoHash, ParseMagnetError>> {
    const URN: &str = "urn:btih:";
    let value = String::from_utf8(decode(value)).ok()?;
    let (urn, hash) = value.split_at_checked(URN.len())?;
    if !urn.eq_ignore_ascii_case(URN) {
        return None;
    }
    let info_hash = hash.parse().ok().or_else(|| {
        let bytes = BASE32.decode(hash.to_ascii_uppercase().as_bytes()).ok()?;
        Some(InfoHash::new(bytes.try_into().ok()?))
    });
    Some(info_hash.ok_or(ParseMagnetError::BadInfoHash))
}

fn push_url(urls: &mut Vec<String>, value: &str, max: usize) {
    let Ok(url) = String::from_utf8(decode(value)) else {
        return;
    };
    let url = url.trim();
    let usable =
        !url.is_empty() && url.len() <= limits::MAX_URL_LEN && !url.chars().any(char::is_control);
    if usable && urls.len() < max && urls.iter().all(|known| known != url) {
        urls.push(url.into());
    }
}

/// A peer as `host:port`, `a.b.c.d:port` or `[IPv6]:port`.
fn read_peer(text: &str) -> Option<Node> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<Ipv6Addr>().ok()?.to_string(),
        None => {
            let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
            let usable = !host.is_empty() && host.len() <= 253 && host.chars().all(is_name);
            usable.then(|| host.to_string())?
        }
    };
    Some(Node { host, port })
}

/// `0,2,6-8`. What makes no sense is left out.
fn read_ranges(text: &str) -> Vec<RangeInclusive<u32>> {
    let decoded = decode(text);
    let text = String::from_utf8_lossy(&decoded);
    text.split(',')
        .filter_map(|range| {
            let (start, end) = range.split_once('-').unwrap_or((range, range));
            let start = start.trim().parse().ok()?;
            let end = end.trim().parse().ok()?;
            (start <= end).then_some(start..=end)
        })
        .take(MAX_RANGES)
        .collect()
}

/// Undoes percent encoding. A percent sign that encodes nothing stays.
fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                // Two digits are less than 256.
                bytes.push((high * 16 + low) as u8);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(byte);
                rest = behind;
            }
        }
    }
    bytes
}

/// Text with all but unreserved characters (RFC 3986) in percent encoding.
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    write!(f, "{}", char::from(byte))?;
                }
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    impl Arbitrary for Magnet {
        fn arbitrary(g: &mut Gen) -> Self {
            let text = |g: &mut Gen| safe_text(String::arbitrary(g).as_bytes(), MAX_NAME_LEN);
            let urls = |g: &mut Gen| {
                let mut urls = Vec::new();
                for _ in 0..u8::arbitrary(g) % 4 {
                    push_url(&mut urls, &Encoded(&text(g)).to_string(), 10);
                }
                urls
            };
            let mut peers: Vec<Node> = Vec::new();
            for _ in 0..u8::arbitrary(g) % 3 {
                let address = std::net::SocketAddr::arbitrary(g);
                let host = match address {
                    std::net::SocketAddr::V4(v4) => v4.ip().to_string(),
                    std::net::SocketAddr::V6(v6) => v6.ip().to_string(),
                };
                let port = address.port().max(1);
                if peers.iter().all(|peer| peer.host != host) {
                    peers.push(Node { host, port });
                }
            }
            let ranges = Vec::<(u32, u32)>::arbitrary(g);
            let ranges = ranges.into_iter().map(|(a, b)| a.min(b)..=a.max(b));
            let name = text(g);
            Self {
                info_hash: InfoHash::new(core::array::from_fn(|_| u8::arbitrary(g))),
                name: (!name.is_empty()).then_some(name),
                trackers: urls(g),
                peers,
                web_seeds: urls(g),
                select: bool::arbitrary(g).then(|| ranges.take(9).collect()),
                unknown: (0..u8::arbitrary(g) % 3)
                    .map(|number| (format!("x{number}"), String::arbitrary(g)))
                    .collect(),
            }
        }
    }

    quickcheck! {
        fn what_is_written_is_read(magnet: Magnet) -> bool {
            magnet.to_string().parse() == Ok(magnet)
        }

        fn any_text_is_survived_and_written_once_more(tail: String) -> bool {
            let link = format!("magnet:?xt=urn:btih:{}&{tail}", "0".repeat(40));
            match link.parse::<Magnet>() {
                Ok(magnet) => magnet.to_string().parse() == Ok(magnet),
                Err(error) => error == ParseMagnetError::TooLong,
            }
        }
    }

    const HASH: &str = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a";

    #[test]
    fn a_link_with_everything() {
        let link = format!(
            "MAGNET:?dn=Some+name%21&xt=urn:btih:{}&tr=http%3A%2F%2Ft.example%2Fa%3Fb%3Dc&tr.1=udp://u:1\
             &amp;x.pe=192.0.2.1:6881&x.pe=%5B2001:db8::1%5D:1&x.pe=host.example:7&x.pe=bad&x.pe=h:0\
             &ws=http://w/&so=0,2,6-8,x,9-1&xl=12&xt=urn:btmh:1220abcd",
            HASH.to_uppercase()
        );
        let magnet: Magnet = link.parse().unwrap();
        assert_eq!(magnet.info_hash.to_string(), HASH);
        assert_eq!(magnet.name.as_deref(), Some("Some name!"));
        assert_eq!(magnet.trackers, ["http://t.example/a?b=c", "udp://u:1"]);
        let peers: Vec<String> = magnet
            .peers
            .iter()
            .map(|peer| format!("{} {}", peer.host, peer.port))
            .collect();
        assert_eq!(peers, ["192.0.2.1 6881", "2001:db8::1 1", "host.example 7"]);
        assert_eq!(magnet.web_seeds, ["http://w/"]);
        let selected = (0..10).filter(|file| magnet.selects(FileIndex::new(*file)));
        assert_eq!(selected.collect::<Vec<_>>(), [0, 2, 6, 7, 8]);
        let unknown = [("xl", "12"), ("xt", "urn:btmh:1220abcd")]
            .map(|(name, value)| (name.to_string(), value.to_string()));
        assert_eq!(magnet.unknown, unknown);
    }

    #[test]
    fn base_32_is_read_in_either_case() {
        let hash: InfoHash = HASH.parse().unwrap();
        let base32 = BASE32.encode(hash.as_bytes());
        for text in [base32.clone(), base32.to_lowercase()] {
            let magnet: Magnet = format!("magnet:?xt=urn:btih:{text}").parse().unwrap();
            assert_eq!(magnet, Magnet::new(hash));
        }
    }

    #[test]
    fn what_is_no_link_is_refused_with_a_reason() {
        use ParseMagnetError as E;
        let long = format!(
            "magnet:?xt=urn:btih:{HASH}&dn={}",
            "x".repeat(MAX_MAGNET_LEN)
        );
        for (link, error) in [
            ("", E::NotMagnet),
            ("http://example.org", E::NotMagnet),
            ("magnet:xt=urn:btih:", E::NotMagnet),
            ("magnet:?", E::NoInfoHash),
            ("magnet:?dn=x&xt=urn:btmh:1220ab", E::NoInfoHash),
            ("magnet:?xt=urn:btih:abc", E::BadInfoHash),
            ("magnet:?xt=urn:btih:é", E::BadInfoHash),
            (long.as_str(), E::TooLong),
        ] {
            assert_eq!(link.parse::<Magnet>(), Err(error), "{link:.60}");
        }
    }

    #[test]
    fn lists_are_bounded() {
        let mut link = format!("magnet:?xt=urn:btih:{HASH}");
        for number in 0..2_000 {
            link += &format!("&tr=u{number}&x.pe=h{number}:1&y{number}=");
        }
        let magnet: Magnet = link.parse().unwrap();
        assert_eq!(magnet.trackers.len(), limits::MAX_TRACKERS);
        assert_eq!(magnet.peers.len(), MAX_PEERS);
        assert_eq!(magnet.unknown.len(), MAX_UNKNOWN);
    }
}
