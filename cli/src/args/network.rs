//! How peers are found and reached: addresses, trackers' URLs, and what has to do with them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use anabranch_driver::engine::Transports;
use clap::{Args, ValueEnum, ValueHint};

use super::path::path;
use crate::runtime::Choice;
use crate::units::parse_rate;

/// What `download` and `seed` have in common.
#[derive(Debug, Args)]
pub(crate) struct Network {
    #[command(flatten)]
    pub(crate) contacts: Contacts,

    /// Limit the download rate, in bytes a second, such as 2MiB.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) limit_down: Option<u64>,

    /// Limit the upload rate, in bytes a second, such as 500k.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) limit_up: Option<u64>,
}

/// How peers are found, by whatever has to do with them.
#[derive(Debug, Args)]
pub(crate) struct Contacts {
    /// A peer to connect to, beside those that the trackers know; may be given several times.
    #[arg(long = "peer", short = 'p', value_name = "HOST:PORT")]
    pub(crate) peers: Vec<PeerAddress>,

    /// A tracker's URL (http, https or udp) to ask beside those that the torrents name; may be given
    /// several times. Not for private torrents.
    #[arg(long = "tracker", short = 't', value_name = "URL", value_parser = parse_trackers)]
    pub(crate) trackers: Vec<Urls>,

    #[command(flatten)]
    pub(crate) listening: Listening,

    /// Connect to at most N peers for each torrent. Default: 100.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) max_peers: Option<u32>,

    /// By what peers are reached, and reach us. With both, a peer that does not answer by one is tried by the other as
    /// well. Default: both, but TCP with --record, which keeps packets whole.
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) transport: Option<Transport>,

    /// Do not tell peers of each other, nor ask them. Private torrents never do.
    #[arg(long)]
    pub(crate) no_pex: bool,

    /// Do not look for peers in the local network. Private torrents never do.
    #[arg(long)]
    pub(crate) no_lsd: bool,

    /// Ask HTTP trackers on this machine whatever the path in their URL. Without this, only paths that end in `announce`
    /// or the like are asked here, so that no torrent can use other services of this machine.
    #[arg(long)]
    pub(crate) allow_local_trackers: bool,

    /// Take no part in the distributed hash table. Private torrents never do.
    #[arg(long, conflicts_with_all = ["dht_nodes", "dht_state"])]
    pub(crate) no_dht: bool,

    #[command(flatten)]
    pub(crate) dht: DhtNetwork,

    /// What the engine runs on.
    #[arg(long, value_name = "NAME", value_enum, default_value_t)]
    pub(crate) runtime: Choice,

    /// Record the run to a new file, without payload, for `anabranch replay`. It holds the addresses of
    /// peers and what trackers said; and payload after all if peers are reached by uTP.
    #[arg(long, value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub(crate) record: Option<PathBuf>,
}

impl Contacts {
    /// By what peers are reached.
    pub(crate) fn transports(&self) -> Transports {
        let chosen = self.transport.unwrap_or(match self.record {
            Some(_) => Transport::Tcp,
            None => Transport::Both,
        });
        chosen.into()
    }

    /// The trackers to ask beside those that the torrents name.
    pub(crate) fn trackers(&self) -> Vec<String> {
        let urls = self.trackers.iter().flat_map(|urls| urls.0.iter());
        urls.cloned().collect()
    }
}

/// By what peers are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// TCP alone.
    Tcp,
    /// uTP alone, which gives way to everything else on the same link.
    Utp,
    /// TCP and uTP.
    Both,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Utp => "utp",
            Self::Both => "both",
        })
    }
}

impl From<Transport> for Transports {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp,
            Transport::Utp => Self::Utp,
            Transport::Both => Self::Both,
        }
    }
}

/// Where others can reach us.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Listening {
    /// An address of this machine to listen on, such as `0.0.0.0:6881`, `[::]:6881` or `127.0.0.1:0`; port 0 is
    /// any free one. May be given several times; the port of the first is the one that others are told.
    #[arg(long, short = 'l', value_name = "ADDR:PORT", value_parser = parse_listen)]
    pub(crate) listen: Vec<SocketAddr>,

    /// The port to listen on, on all addresses of both families; 0 is any free one. Default for
    /// torrents: 6881, or another port if that one is taken.
    #[arg(long, value_name = "N", conflicts_with = "listen")]
    pub(crate) port: Option<u16>,
}

impl Listening {
    /// Whether only this machine can reach us.
    pub(crate) fn is_inside(&self) -> bool {
        !self.listen.is_empty() && self.listen.iter().all(|address| address.ip().is_loopback())
    }
}

/// How the distributed hash table is joined.
#[derive(Debug, Args)]
pub(crate) struct DhtNetwork {
    /// A node of the distributed hash table to get to know others by; may be given several times. Default:
    /// well-known nodes of the public network, unless --listen has an address of this machine alone.
    #[arg(long = "dht-node", value_name = "HOST:PORT")]
    pub(crate) dht_nodes: Vec<PeerAddress>,

    /// Where to keep the nodes that are known from run to run. Default, in the public network:
    /// $XDG_STATE_HOME/anabranch/dht, or ~/.local/state/anabranch/dht.
    #[arg(long, value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub(crate) dht_state: Option<PathBuf>,
}

/// URLs, as typed with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Urls(pub(crate) Vec<String>);

/// A peer's address as typed: a name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PeerAddress {
    Socket(SocketAddr),
    Name { host: String, port: u16 },
}

impl PeerAddress {
    /// The address, if no name has to be looked up.
    pub(crate) fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(address) => Some(*address),
            Self::Name { .. } => None,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl FromStr for PeerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "not a HOST:PORT; write for example 192.0.2.7:6881, [2001:db8::7]:6881 or \
             example.org:6881"
                .to_owned()
        };
        let address = match text.parse::<SocketAddr>() {
            Ok(address) => Self::Socket(address),
            Err(_) => {
                let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
                let named = !host.is_empty()
                    && host.len() <= 253
                    && host
                        .chars()
                        .all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'));
                if !named {
                    return Err(wrong());
                }
                Self::Name {
                    host: host.to_owned(),
                    port: port.parse().map_err(|_| wrong())?,
                }
            }
        };
        match address {
            Self::Socket(address) if address.port() == 0 => Err(wrong()),
            Self::Name { port: 0, .. } => Err(wrong()),
            Self::Socket(_) | Self::Name { .. } => Ok(address),
        }
    }
}

/// Reads where to listen: `ADDR:PORT`, or a port alone for all IPv4 addresses.
pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    const EXAMPLES: &str = "write for example 0.0.0.0:6881, [::]:6881 or 127.0.0.1:0";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = port.parse() {
        return Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let ip: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    let zoned = host.starts_with('[') && host.contains('%');
    Err(if zoned {
        "the zone of an IPv6 address is given by its number, as in [fe80::1%2]:6881; `ip link` shows the \
         numbers"
            .to_owned()
    } else if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        format!("the port is missing; {EXAMPLES}")
    } else if ip.is_ok() {
        format!("not a port, or an IPv6 address without its brackets; {EXAMPLES}")
    } else if port.parse::<u16>().is_ok() {
        format!("names are not looked up here: give an address of this machine; {EXAMPLES}")
    } else {
        format!("not an ADDR:PORT; {EXAMPLES}")
    })
}

pub(super) fn parse_trackers(text: &str) -> Result<Urls, String> {
    parse_urls(text, &["http", "https", "udp"])
}

pub(super) fn parse_web_seeds(text: &str) -> Result<Urls, String> {
    parse_urls(text, &["http", "https", "ftp"])
}

/// Reads URLs of these schemes. A comma is between two of them if another one follows, of whatever scheme, or
/// nothing; else it is in one.
pub(super) fn parse_urls(text: &str, schemes: &[&str]) -> Result<Urls, String> {
    let begins = |text: &str| {
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        let of_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        !scheme.is_empty() && scheme.chars().all(of_scheme)
    };
    let mut urls: Vec<String> = Vec::new();
    for part in text.split(',') {
        match urls.last_mut() {
            Some(last) if !begins(part.trim_start()) => {
                last.push(',');
                last.push_str(part);
            }
            None if part.trim().is_empty() => {}
            Some(_) | None => urls.push(part.trim_start().to_owned()),
        }
    }
    if urls.is_empty() {
        // The refusal says what a URL is.
        urls.push(String::new());
    }
    let urls = urls.iter().map(|url| {
        let of_list = |c: char| c == ',' || c.is_whitespace();
        parse_url(url.trim_end_matches(of_list), schemes)
    });
    let urls: Result<Vec<String>, String> = urls.collect();
    urls.map(Urls)
}

/// Accepts a URL of one of these schemes with a host; what is typed is kept as it is.
pub(super) fn parse_url(text: &str, schemes: &[&str]) -> Result<String, String> {
    let usable = text.split_once("://").is_some_and(|(scheme, rest)| {
        schemes
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
            && !rest.is_empty()
            && !rest.starts_with(['/', ':', '?', '#'])
    }) && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if usable {
        return Ok(text.to_owned());
    }
    Err(format!(
        "not a URL that can be used; it starts with {}, as in {}://example.org:6969/announce",
        schemes.join(":// or ") + "://",
        schemes[0]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_have_a_host_and_a_port() {
        for text in ["1.2.3.4:5", "[::1]:5", "localhost:5", "a-b.example:65535"] {
            assert!(text.parse::<PeerAddress>().is_ok(), "{text}");
        }
        for text in [
            "",
            "1.2.3.4",
            "host:",
            ":5",
            "host:0",
            "1.2.3.4:0",
            "::1:5",
            "a b:5",
            "h:65536",
        ] {
            assert!(text.parse::<PeerAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_alone_listens_everywhere() {
        assert_eq!(parse_listen("6881"), Ok(([0, 0, 0, 0], 6881).into()));
        assert_eq!(parse_listen(":0"), Ok(([0, 0, 0, 0], 0).into()));
        assert_eq!(parse_listen("127.0.0.1:1"), Ok(([127, 0, 0, 1], 1).into()));
        assert!(parse_listen("70000").is_err());
    }

    #[test]
    fn what_is_not_listened_on_is_told_with_what_to_write() {
        for (text, word) in [
            ("localhost:6881", "names"),
            ("localhost", "ADDR:PORT"),
            ("[fe80::1%eth0]:6881", "number"),
            ("127.0.0.1", "port is missing"),
            ("::1", "port is missing"),
            ("[::1]", "port is missing"),
            ("127.0.0.1:70000", "not a port"),
        ] {
            let error = parse_listen(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(parse_listen("[fe80::1%2]:6881").is_ok());
    }

    #[test]
    fn urls_need_a_known_scheme_and_a_host() {
        for text in [
            "http://t/announce",
            "udp://t:1",
            "HTTPS://t",
            "http://t/a?b=1,2",
        ] {
            assert_eq!(parse_trackers(text), Ok(Urls(vec![text.to_owned()])));
        }
        for text in [
            "",
            "t",
            "ftp://t",
            "http://",
            "http:///a",
            "http://a b",
            "udp:t",
        ] {
            assert!(parse_trackers(text).is_err(), "{text}");
        }
        assert!(parse_web_seeds("ftp://t/").is_ok());
    }

    #[test]
    fn urls_with_commas_between_them_are_several() {
        let several = "http://a/x,y, udp://b:1,HTTPS://c";
        assert_eq!(
            parse_trackers(several),
            Ok(Urls(
                ["http://a/x,y", "udp://b:1", "HTTPS://c"]
                    .map(str::to_owned)
                    .into()
            ))
        );
        for text in ["http://a,udp://", "http://a, b", ",", "b,http://a"] {
            assert!(parse_trackers(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_of_another_scheme_in_a_list_is_refused() {
        for text in [
            "http://a/x,wss://b:1",
            "wss://b:1,http://a/x",
            "udp://a:1, ws+x://b",
        ] {
            assert!(parse_trackers(text).is_err(), "{text}");
        }
    }

    #[test]
    fn empty_parts_of_a_list_of_urls_are_left_out() {
        let two = Ok(Urls(["http://a/x", "udp://b:1"].map(str::to_owned).into()));
        for text in [
            "http://a/x,,udp://b:1",
            ",http://a/x, ,udp://b:1, ,",
            "http://a/x,udp://b:1,",
        ] {
            assert_eq!(parse_trackers(text), two, "{text}");
        }
        let inside = "http://a/x?b=1,,2";
        assert_eq!(parse_trackers(inside), Ok(Urls(vec![inside.to_owned()])));
    }
}
