//! BEP 3, 15, 41: the URLs of trackers.

use alloc::string::{String, ToString};
use core::net::IpAddr;

use thiserror::Error;
use url::{Host, Url};

use crate::limits;

/// The longest URL that is used, in bytes. Passkeys and paths of real trackers stay far below.
const MAX_URL_LEN: usize = 2_048;

/// The longest host name of the DNS, in bytes.
const MAX_HOST_LEN: usize = 253;

/// How a tracker is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// By an HTTP exchange with this URL.
    Http(String),
    /// By datagrams.
    Udp(UdpEndpoint),
}

/// A tracker that is reached by datagrams.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UdpEndpoint {
    /// Its name, or its address in text (without brackets).
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// Path and query of its URL (BEP 41); empty where there are none.
    pub(crate) url_data: String,
}

/// Why a tracker is never asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum UrlFault {
    #[error("not a URL")]
    Malformed,
    #[error("a URL of more than {MAX_URL_LEN} bytes")]
    TooLong,
    #[error("neither an http, https nor udp tracker")]
    Scheme,
    #[error("a URL without a usable host and port")]
    Host,
    #[error(
        "a path on this machine that is not one of a tracker (--allow-local-trackers permits it)"
    )]
    LocalPath,
}

/// Reads a tracker's URL. `text` has been trimmed.
///
/// A torrent must not make us press buttons on services of this machine, which trust whoever reaches them, or fetch a
/// cloud's secrets from its link-local address: over HTTP, only paths of trackers are asked there, unless
/// `allow_local` says otherwise. What a name turns out to lead to, or a redirect, is the driver's to hold against the
/// same rule ([`LocalPaths`](crate::action::LocalPaths)). Private networks are another matter. All of a torrent's trackers come from the user,
/// with a file, a link or a command (peers have no say in them), and trackers of a house or a company have any path.
pub(super) fn parse(text: &str, allow_local: bool) -> Result<Endpoint, UrlFault> {
    if text.len() > MAX_URL_LEN {
        return Err(UrlFault::TooLong);
    }
    let url = Url::parse(text).map_err(|_| UrlFault::Malformed)?;
    let host = url.host().ok_or(UrlFault::Host)?;
    match url.scheme() {
        "http" | "https" => {
            if names_this_machine(&host) && !allow_local && !is_tracker_path(url.path()) {
                return Err(UrlFault::LocalPath);
            }
            Ok(Endpoint::Http(url.to_string()))
        }
        "udp" => {
            let host = match host {
                Host::Domain(name) => String::from(name),
                Host::Ipv4(ip) => ip.to_string(),
                Host::Ipv6(ip) => ip.to_string(),
            };
            // Who names no port means that of HTTP, as the field has it.
            let port = url.port().unwrap_or(80);
            if port == 0 || host.is_empty() || host.len() > MAX_HOST_LEN {
                return Err(UrlFault::Host);
            }
            let mut url_data = String::from(url.path());
            if let Some(query) = url.query() {
                url_data.push('?');
                url_data.push_str(query);
            }
            Ok(Endpoint::Udp(UdpEndpoint {
                host,
                port,
                url_data,
            }))
        }
        _ => Err(UrlFault::Scheme),
    }
}

/// A tracker's URL for users and logs: without query, fragment, user name and password, which are where secrets
/// are kept, and without what drives a terminal.
pub(super) fn shown(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let without_user = text.split_once("://").and_then(|(scheme, rest)| {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (_, host) = authority.rsplit_once('@')?;
        Some([scheme, "://", host, path].concat())
    });
    without_user
        .as_deref()
        .unwrap_or(text)
        .chars()
        .take(limits::MAX_FOREIGN_TEXT)
        .map(|c| {
            if c.is_control() || !c.is_ascii() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// Whether a host is this machine by its name or address.
fn names_this_machine(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Host::Ipv4(ip) => is_this_machine(IpAddr::V4(*ip)),
        Host::Ipv6(ip) => is_this_machine(IpAddr::V6(*ip)),
    }
}

/// Whether an address is this machine's own, or speaks for it: link-local addresses have services for machines, and
/// no trackers.
pub(crate) fn is_this_machine(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified(),
    }
}

/// `/announce`, `/passkey/announce`, `/announce.php`, and the same with `scrape`.
pub(crate) fn is_tracker_path(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .is_some_and(|last| last.starts_with("announce") || last.starts_with("scrape"))
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    fn parse(text: &str) -> Result<Endpoint, UrlFault> {
        super::parse(text, false)
    }

    fn udp(host: &str, port: u16, url_data: &str) -> Result<Endpoint, UrlFault> {
        Ok(Endpoint::Udp(UdpEndpoint {
            host: host.into(),
            port,
            url_data: url_data.into(),
        }))
    }

    #[test]
    fn three_schemes_are_known() {
        for url in [
            "http://t.example/announce",
            "https://t.example:8443/a?passkey=1",
        ] {
            assert_eq!(parse(url), Ok(Endpoint::Http(url.into())));
        }
        assert_eq!(
            parse("udp://t.example:6969/announce"),
            udp("t.example", 6969, "/announce")
        );
        for url in ["wss://t.example/", "file:///etc/passwd", "ftp://t.example/"] {
            assert!(matches!(parse(url), Err(UrlFault::Scheme | UrlFault::Host)));
        }
        assert_eq!(parse("announce"), Err(UrlFault::Malformed));
        assert_eq!(
            parse(&("http://t.example/".to_string() + &"x".repeat(MAX_URL_LEN))),
            Err(UrlFault::TooLong)
        );
    }

    #[test]
    fn addresses_and_missing_ports_of_udp_trackers_are_understood() {
        assert_eq!(parse("udp://[::1]:80"), udp("::1", 80, ""));
        assert_eq!(parse("udp://10.0.0.1:99"), udp("10.0.0.1", 99, ""));
        assert_eq!(parse("udp://t.example"), udp("t.example", 80, ""));
        assert_eq!(
            parse("udp://t.example:1/a?b=c"),
            udp("t.example", 1, "/a?b=c")
        );
        assert_eq!(parse("udp://t.example:0"), Err(UrlFault::Host));
        assert_eq!(parse("udp:/nothing"), Err(UrlFault::Host));
    }

    #[test]
    fn this_machine_is_only_asked_on_paths_of_trackers() {
        for host in [
            "127.0.0.1:9091",
            "localhost",
            "tracker.localhost.",
            "[::1]",
            "[fe80::1]",
            "169.254.169.254",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "2130706433",
        ] {
            let url = ["http://", host, "/shutdown?now=1"].concat();
            assert_eq!(parse(&url), Err(UrlFault::LocalPath), "{url}");
            assert!(super::parse(&url, true).is_ok(), "{url}");
            let url = ["http://", host, "/key/announce"].concat();
            assert!(parse(&url).is_ok(), "{url}");
        }
        assert!(parse("http://t.example/shutdown").is_ok());
        assert!(
            UrlFault::LocalPath
                .to_string()
                .contains("--allow-local-trackers")
        );
    }

    #[test]
    fn trackers_of_private_networks_have_any_path() {
        for host in [
            "192.168.1.1",
            "10.0.0.1:80",
            "172.16.0.1",
            "[fd00::1]",
            "box.local",
        ] {
            let url = ["http://", host, "/tracker.php?key=1"].concat();
            assert!(parse(&url).is_ok(), "{url}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        for (url, expected) in [
            ("http://t/announce?passkey=1", "http://t/announce"),
            ("http://u:p@t/announce#x", "http://t/announce"),
            ("udp://t:80", "udp://t:80"),
            ("\x1b[2J", "\u{fffd}[2J"),
        ] {
            assert_eq!(shown(url), expected);
        }
        assert!(shown(&"x".repeat(10_000)).len() <= limits::MAX_FOREIGN_TEXT);
    }

    quickcheck! {
        fn any_text_is_judged(text: String) -> bool {
            let _ = parse(&text);
            let _ = parse(&("udp://".to_string() + &text));
            shown(&text).chars().count() <= limits::MAX_FOREIGN_TEXT
        }
    }
}
