//! BEP 9, 53: magnet links.
//!
//! People copy links out of mails, web pages and chats, and programs write them in their own ways. What
//! is meant is taken: a link in quotes or angle brackets, in Markdown or HTML, behind a word, broken into
//! lines, percent-encoded as a whole, with slashes before or no question mark, with names in capitals, with
//! `&amp;` for `&`, with a fragment. What is too much is left out and counted, and where several torrents
//! are named, none is taken.

mod wrapped;

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, net::Ipv6Addr, ops::RangeInclusive, str::FromStr};

use data_encoding::BASE32;

use super::{FileIndex, InfoHash, Metainfo, Node, limits, path::safe_text};

/// How much of a link is read, in bytes. A parameter that reaches beyond is left out, and so are those
/// behind it. What is kept of a link takes no more than that, but for 32 bytes for each of its lists' items.
pub const MAX_MAGNET_LEN: usize = 1 << 20;

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
    /// when it is not there, or nothing in it makes sense. At most [`MAX_RANGES`] are read. An empty list
    /// selects nothing, and cannot be written.
    pub select: Option<Vec<RangeInclusive<u32>>>,
    /// Everything else, names and values as they are with their percent encoding undone. At most
    /// [`MAX_UNKNOWN`] are read.
    pub unknown: Vec<(String, String)>,
}

/// A magnet link that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseMagnetError {
    /// It does not begin with `magnet:`.
    #[error("not a magnet link")]
    NotMagnet,
    /// In the first [`MAX_MAGNET_LEN`] bytes there is no `xt=urn:btih:`, and there are more.
    #[error("it names no torrent (xt=urn:btih:) in its first {MAX_MAGNET_LEN} bytes")]
    TooLong,
    /// It names a torrent of version 2 (BEP 52) alone: there is an `xt=urn:btmh:`, and no
    /// `xt=urn:btih:`.
    #[error("it names a torrent of version 2 alone (xt=urn:btmh:), which is not supported yet")]
    Version2,
    /// It names no torrent: there is no `xt=urn:btih:`.
    #[error("it names no torrent (xt=urn:btih:)")]
    NoInfoHash,
    /// The info-hash is neither 40 hexadecimal digits nor 32 of base 32.
    #[error("its info-hash is neither 40 hexadecimal digits nor 32 of base 32")]
    BadInfoHash,
    /// There are several links, to different torrents.
    #[error("there are several links in it; give one at a time")]
    Several,
}

/// How many things of a kind a link has that were left out, as there are too many of them. What could not
/// be used anyway does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Surplus {
    /// Trackers beyond [`limits::MAX_TRACKERS`].
    pub trackers: usize,
    /// Web seeds beyond [`limits::MAX_WEB_SEEDS`].
    pub web_seeds: usize,
    /// Peers beyond [`MAX_PEERS`].
    pub peers: usize,
    /// Bytes beyond [`MAX_MAGNET_LEN`], from the last whole parameter on.
    pub bytes: usize,
}

/// Whether this is meant to be a magnet link, if perhaps one that cannot be used.
#[must_use]
pub fn is_magnet(text: &str) -> bool {
    wrapped::queries(wrapped::cut(text).0).next().is_some()
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

    /// Reads a link as [`FromStr`] does, and tells how much of it was left out.
    ///
    /// # Errors
    ///
    /// What is no link, or names no torrent of version 1.
    pub fn parse_counted(link: &str) -> Result<(Self, Surplus), ParseMagnetError> {
        let (link, bytes) = wrapped::cut(link);
        let mut found: Option<(Self, Surplus)> = None;
        let mut error = None;
        for query in wrapped::queries(link) {
            match (Self::parse_query(&query, bytes), &found) {
                (Ok(this), None) => found = Some(this),
                // A page's text and its address, or the same twice.
                (Ok(this), Some(known)) if this.0.info_hash == known.0.info_hash => {}
                (Ok(_), Some(_)) => return Err(ParseMagnetError::Several),
                (Err(why), _) => error = error.or(Some(why)),
            }
        }
        found.ok_or(error.unwrap_or(ParseMagnetError::NotMagnet))
    }

    /// Reads what follows the question mark of a link of which so many bytes were left out.
    fn parse_query(query: &str, bytes: usize) -> Result<(Self, Surplus), ParseMagnetError> {
        let mut magnet: Option<Self> = None;
        let mut error = match bytes {
            0 => ParseMagnetError::NoInfoHash,
            _ => ParseMagnetError::TooLong,
        };
        for parameter in parameters(query).filter(Parameter::is_topic) {
            match read_topic(parameter.value) {
                Topic::Torrent(info_hash) if magnet.is_none() => {
                    magnet = Some(Self::new(info_hash));
                }
                Topic::Malformed => error = ParseMagnetError::BadInfoHash,
                Topic::Version2 if error != ParseMagnetError::BadInfoHash => {
                    error = ParseMagnetError::Version2;
                }
                Topic::Torrent(_) | Topic::Version2 | Topic::Other => {}
            }
        }
        let mut magnet = magnet.ok_or(error)?;
        let mut surplus = Surplus {
            bytes,
            ..Surplus::default()
        };
        for parameter in parameters(query) {
            let ours = parameter.is_topic()
                && read_topic(parameter.value) == Topic::Torrent(magnet.info_hash);
            if !ours {
                magnet.read(&parameter, &mut surplus);
            }
        }
        Ok((magnet, surplus))
    }

    fn read(&mut self, parameter: &Parameter<'_>, surplus: &mut Surplus) {
        let value = parameter.value;
        match parameter.key.as_str() {
            "dn" if self.name.is_none() => {
                let text = safe_text(&decode(&value.replace('+', " ")), MAX_NAME_LEN);
                self.name = (!text.is_empty()).then_some(text);
            }
            "tr" => {
                let more = push_url(&mut self.trackers, value, limits::MAX_TRACKERS);
                surplus.trackers += usize::from(more);
            }
            "ws" => {
                let more = push_url(&mut self.web_seeds, value, limits::MAX_WEB_SEEDS);
                surplus.web_seeds += usize::from(more);
            }
            "x.pe" => {
                let peer = String::from_utf8(decode(value)).ok();
                if let Some(peer) = peer.as_deref().and_then(read_peer) {
                    if self.peers.len() >= MAX_PEERS {
                        surplus.peers += 1;
                    } else if !self.peers.contains(&peer) {
                        self.peers.push(peer);
                    }
                }
            }
            "so" if self.select.is_none() => {
                let ranges = read_ranges(value);
                self.select = (!ranges.is_empty()).then_some(ranges);
            }
            _ if self.unknown.len() < MAX_UNKNOWN => {
                let value = String::from_utf8_lossy(&decode(value)).into_owned();
                self.unknown.push((parameter.name.clone(), value));
            }
            _ => {}
        }
    }
}

impl FromStr for Magnet {
    type Err = ParseMagnetError;

    fn from_str(link: &str) -> Result<Self, ParseMagnetError> {
        Self::parse_counted(link).map(|(magnet, _)| magnet)
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
        if let Some(ranges) = self.select.as_ref().filter(|ranges| !ranges.is_empty()) {
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

/// A parameter of a link.
struct Parameter<'a> {
    /// Its name, with percent encoding undone.
    name: String,
    /// The name without the number that tells several of a kind apart, in lower case.
    key: String,
    /// Its value as it stands in the link.
    value: &'a str,
}

impl Parameter<'_> {
    fn is_topic(&self) -> bool {
        self.key == "xt"
    }
}

/// A `#` begins a fragment, which is for nobody; so it ends the parameter that it is in. In a name that is
/// followed by others, it is meant to be a part of the name.
fn parameters(query: &str) -> impl Iterator<Item = Parameter<'_>> {
    let mut parts = query.split('&').peekable();
    core::iter::from_fn(move || {
        let mut part = parts.next()?;
        // As it stands in the source of a web page.
        while let Some(rest) = part
            .strip_prefix("amp;")
            .or_else(|| part.strip_prefix("#38;"))
            .or_else(|| part.strip_prefix("#x26;"))
        {
            part = rest;
        }
        let is_last = parts.peek().is_none();
        Some(part.split_once('=').map(|(name, value)| {
            let name = String::from_utf8_lossy(&decode(name)).into_owned();
            // `tr.1` and the like are numbered where there are several.
            let key = match name.rsplit_once('.') {
                Some((key, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => key,
                Some(_) | None => &name,
            };
            let key = key.to_ascii_lowercase();
            let value = match value.split_once('#') {
                Some((value, _)) if is_last || key != "dn" => value,
                Some(_) | None => value,
            };
            Parameter { name, key, value }
        }))
    })
    .flatten()
}

/// What an exact topic says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topic {
    Torrent(InfoHash),
    /// A torrent of version 1, whose info-hash is none.
    Malformed,
    /// A torrent of version 2.
    Version2,
    /// Something else.
    Other,
}

fn read_topic(value: &str) -> Topic {
    let Ok(value) = String::from_utf8(decode(value)) else {
        return Topic::Other;
    };
    let value = value.trim();
    if wrapped::strip_scheme(value, "urn:btmh:").is_some() {
        return Topic::Version2;
    }
    let Some(hash) = wrapped::strip_scheme(value, "urn:btih:") else {
        return Topic::Other;
    };
    // A text may go on behind it.
    let hash = hash.split(char::is_whitespace).next().unwrap_or_default();
    let hash = hash.trim_end_matches(|c: char| c.is_ascii_punctuation());
    let from_base32 = |hash: &str| {
        let bytes = BASE32.decode(hash.to_ascii_uppercase().as_bytes()).ok()?;
        Some(InfoHash::new(bytes.try_into().ok()?))
    };
    let info_hash = hash.parse().ok().or_else(|| from_base32(hash));
    info_hash.map_or(Topic::Malformed, Topic::Torrent)
}

/// Keeps a URL that can be used, and is not there yet. Says whether there is no room for it.
fn push_url(urls: &mut Vec<String>, value: &str, max: usize) -> bool {
    let Ok(url) = String::from_utf8(decode(value)) else {
        return false;
    };
    let url = url.trim();
    let usable =
        !url.is_empty() && url.len() <= limits::MAX_URL_LEN && !url.chars().any(char::is_control);
    if urls.len() >= max {
        return usable;
    }
    if usable && urls.iter().all(|known| known != url) {
        urls.push(url.into());
    }
    false
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

/// `0,2,6-8`. What makes no sense is left out. A number that is too large stays, as the largest there is: without
/// it, a link that selects what is not there would select everything.
fn read_ranges(text: &str) -> Vec<RangeInclusive<u32>> {
    let decoded = decode(text);
    let text = String::from_utf8_lossy(&decoded);
    text.split(',')
        .filter_map(|range| {
            let (start, end) = range.split_once('-').unwrap_or((range, range));
            let (start, end) = (read_index(start.trim())?, read_index(end.trim())?);
            (start <= end).then_some(start..=end)
        })
        .take(MAX_RANGES)
        .collect()
}

/// The number of a file, or the largest number in place of a larger one.
fn read_index(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
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
    use alloc::vec;
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
            let ranges: Vec<_> = ranges.take(9).collect();
            let name = text(g);
            Self {
                info_hash: InfoHash::new(core::array::from_fn(|_| u8::arbitrary(g))),
                name: (!name.is_empty()).then_some(name),
                trackers: urls(g),
                peers,
                web_seeds: urls(g),
                select: (!ranges.is_empty()).then_some(ranges),
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
            let magnet: Magnet = link.parse().unwrap();
            magnet.to_string().parse() == Ok(magnet)
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
            "magnet:?dn={}&xt=urn:btih:{HASH}",
            "x".repeat(MAX_MAGNET_LEN)
        );
        for (link, error) in [
            ("", E::NotMagnet),
            ("http://example.org", E::NotMagnet),
            ("magnet", E::NotMagnet),
            ("magnets:?xt=urn:btih:", E::NotMagnet),
            ("./magnet:?xt=urn:btih:", E::NotMagnet),
            ("magnet:", E::NoInfoHash),
            ("magnet:?", E::NoInfoHash),
            ("magnet:?dn=x&xt=urn:sha1:1220ab", E::NoInfoHash),
            ("magnet:?dn=x&xt=urn:btmh:1220ab", E::Version2),
            ("magnet:?xt=urn:btmh:1220ab&xt=urn:btih:x", E::BadInfoHash),
            ("magnet:xt=urn:btih:", E::BadInfoHash),
            ("magnet:?xt=urn:btih:abc", E::BadInfoHash),
            ("magnet:?xt=urn:btih:é", E::BadInfoHash),
            (long.as_str(), E::TooLong),
        ] {
            assert_eq!(link.parse::<Magnet>(), Err(error), "{link:.60}");
            assert_eq!(is_magnet(link), error != E::NotMagnet, "{link:.60}");
        }
    }

    /// A link with a name and two trackers.
    fn plain() -> (String, Magnet) {
        let link = format!(
            "magnet:?xt=urn:btih:{HASH}&dn=a%20b&tr=http%3A%2F%2Ft%2Fannounce%3Fk%3D1&tr=udp%3A%2F%2Fu:1"
        );
        let magnet: Magnet = link.parse().unwrap();
        assert_eq!(magnet.name.as_deref(), Some("a b"));
        assert_eq!(magnet.trackers, ["http://t/announce?k=1", "udp://u:1"]);
        (link, magnet)
    }

    #[test]
    fn names_in_capitals_and_web_pages_separators_are_understood() {
        let (link, magnet) = plain();
        for link in [
            link.replace("xt=", "XT=")
                .replace("tr=", "TR=")
                .replace("dn=", "Dn="),
            link.replace("tr=", "%74%72="),
            link.replace("tr=", "TR.1="),
            link.replace('&', "&amp;"),
            link.replace('&', "&#38;"),
            link.replace('&', "&amp;amp;"),
            link.replace('&', "&#x26;"),
            link.replacen("&tr", "\r\n &tr", 1).replace(' ', ""),
        ] {
            assert_eq!(link.parse(), Ok(magnet.clone()), "{link}");
        }
    }

    #[test]
    fn a_fragment_ends_the_parameter_that_it_is_in() {
        let (link, magnet) = plain();
        for link in [
            format!("{link}#fragment"),
            format!("{link}#"),
            link.replace("&dn", "#fragment&dn"),
            link.replace("&tr=udp", "#f&tr=udp"),
        ] {
            assert_eq!(link.parse(), Ok(magnet.clone()), "{link}");
        }
        let named = |tail: &str| -> Magnet {
            let link = format!("magnet:?xt=urn:btih:{HASH}&dn={tail}");
            link.parse().unwrap()
        };
        let magnet = named("Song #1&tr=http://t/");
        assert_eq!(magnet.name.as_deref(), Some("Song #1"));
        assert_eq!(magnet.trackers, ["http://t/"]);
        assert_eq!(named("Song#1").name.as_deref(), Some("Song"));
    }

    #[test]
    fn a_name_of_control_characters_is_written_as_it_was_read() {
        for (part, times) in [
            ("%07", 300),
            ("%C2%85", 300),
            ("%FF", 1000),
            ("%0D%0A", 600),
        ] {
            let link = format!("magnet:?xt=urn:btih:{HASH}&dn={}", part.repeat(times));
            let magnet: Magnet = link.parse().unwrap();
            assert!(magnet.name.as_ref().unwrap().len() <= MAX_NAME_LEN);
            assert_eq!(magnet.to_string().parse(), Ok(magnet));
        }
    }

    #[test]
    fn a_selection_of_nothing_that_makes_sense_selects_everything() {
        for so in ["", "x", "3-1", ",", "-1"] {
            let magnet: Magnet = format!("magnet:?xt=urn:btih:{HASH}&so={so}")
                .parse()
                .unwrap();
            assert_eq!(magnet.select, None, "{so}");
        }
    }

    #[test]
    fn a_number_that_is_too_large_does_not_select_everything() {
        for (so, select) in [
            ("4294967296", u32::MAX..=u32::MAX),
            ("99999999999999999999", u32::MAX..=u32::MAX),
            ("4294967296-99999999999", u32::MAX..=u32::MAX),
            ("7-4294967296", 7..=u32::MAX),
        ] {
            let magnet: Magnet = format!("magnet:?xt=urn:btih:{HASH}&so={so}")
                .parse()
                .unwrap();
            assert_eq!(magnet.select, Some(vec![select]), "{so}");
        }
    }

    #[test]
    fn a_link_of_any_length_is_read_as_far_as_it_goes() {
        let mut link = format!("magnet:?xt=urn:btih:{HASH}&dn=x");
        let url = "u".repeat(4000);
        while link.len() < 2 * MAX_MAGNET_LEN {
            link += &format!("&tr={}{url}", link.len());
        }
        let (magnet, surplus) = Magnet::parse_counted(&link).unwrap();
        assert_eq!(magnet.name.as_deref(), Some("x"));
        assert_eq!(magnet.trackers.len(), MAX_MAGNET_LEN / 4011);
        assert!(magnet.trackers.iter().all(|url| url.len() > 4000));
        assert!(surplus.bytes >= link.len() - MAX_MAGNET_LEN);
    }

    #[test]
    fn lists_are_bounded() {
        let mut link = format!("magnet:?xt=urn:btih:{HASH}");
        for number in 0..2_000 {
            link += &format!("&tr=u{number}&x.pe=h{number}:1&y{number}=");
        }
        let (magnet, surplus) = Magnet::parse_counted(&link).unwrap();
        assert_eq!(magnet.trackers.len(), limits::MAX_TRACKERS);
        assert_eq!(surplus.trackers, 2_000 - limits::MAX_TRACKERS);
        assert_eq!(surplus.peers, 2_000 - MAX_PEERS);
        assert_eq!((surplus.web_seeds, surplus.bytes), (0, 0));
        assert_eq!(magnet.peers.len(), MAX_PEERS);
        assert_eq!(magnet.unknown.len(), MAX_UNKNOWN);
    }
}
