//! BEP 14: announcements to the local network.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::WireError;
use crate::metainfo::InfoHash;

/// Where announcements over IPv4 go.
pub const GROUP_V4: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 192, 152, 143)), 6771);

/// Where announcements over IPv6 go.
pub const GROUP_V6: SocketAddr = SocketAddr::new(
    IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f)),
    6771,
);

/// Torrents in one announcement: what fits into a packet of 1,400 bytes, which no network cuts up.
pub const MAX_INFO_HASHES: usize = 24;

/// Bytes of a cookie that are kept of those that others send.
pub const MAX_COOKIE: usize = 64;

/// Who takes part in which torrents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LsdAnnounce {
    /// The TCP port that the sender listens on, not 0.
    pub port: u16,
    /// Its torrents: at least one and at most [`MAX_INFO_HASHES`], further ones are not read.
    pub info_hashes: Vec<InfoHash>,
    /// What the sender knows its own announcements by.
    pub cookie: Option<String>,
}

impl LsdAnnounce {
    /// Decodes a packet.
    ///
    /// # Errors
    ///
    /// [`WireError::Shape`] for what is no announcement, [`WireError::Missing`] for one without port or
    /// torrent, [`WireError::Invalid`] for a port that is none.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        let text = core::str::from_utf8(packet).map_err(|_| WireError::Shape)?;
        let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
        if lines.next() != Some("BT-SEARCH * HTTP/1.1") {
            return Err(WireError::Shape);
        }
        let mut port = None;
        let mut info_hashes = Vec::new();
        let mut cookie = None;
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let (name, value) = (name.trim(), value.trim());
            if name.eq_ignore_ascii_case("port") {
                let number: u16 = value.parse().unwrap_or(0);
                if number == 0 {
                    return Err(WireError::Invalid { key: "Port" });
                }
                port = Some(number);
            } else if name.eq_ignore_ascii_case("infohash") {
                if let Ok(info_hash) = value.parse::<InfoHash>()
                    && info_hashes.len() < MAX_INFO_HASHES
                {
                    info_hashes.push(info_hash);
                }
            } else if name.eq_ignore_ascii_case("cookie") && value.len() <= MAX_COOKIE {
                cookie = Some(value.into());
            }
        }
        if info_hashes.is_empty() {
            return Err(WireError::Missing { key: "Infohash" });
        }
        Ok(Self {
            port: port.ok_or(WireError::Missing { key: "Port" })?,
            info_hashes,
            cookie,
        })
    }

    /// The packet that goes to a group.
    #[must_use]
    pub fn encode(&self, group: SocketAddr) -> Vec<u8> {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write!(text, "BT-SEARCH * HTTP/1.1\r\nHost: {group}\r\n");
        let _ = write!(text, "Port: {}\r\n", self.port);
        for info_hash in self.info_hashes.iter().take(MAX_INFO_HASHES) {
            let _ = write!(text, "Infohash: {info_hash}\r\n");
        }
        if let Some(cookie) = &self.cookie {
            let _ = write!(text, "cookie: {cookie}\r\n");
        }
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString;

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    impl Arbitrary for LsdAnnounce {
        fn arbitrary(g: &mut Gen) -> Self {
            let count = 1 + usize::arbitrary(g) % MAX_INFO_HASHES;
            let hash = |_| InfoHash::new(core::array::from_fn(|_| u8::arbitrary(g)));
            let info_hashes = (0..count).map(hash).collect();
            Self {
                port: u16::arbitrary(g).max(1),
                info_hashes,
                cookie: Option::<u32>::arbitrary(g).map(|cookie| format!("{cookie:x}")),
            }
        }
    }

    quickcheck! {
        fn what_is_encoded_is_decoded(announce: LsdAnnounce) -> bool {
            [GROUP_V4, GROUP_V6].into_iter().all(|group| {
                let packet = announce.encode(group);
                packet.len() <= 1_400 && LsdAnnounce::decode(&packet).as_ref() == Ok(&announce)
            })
        }

        fn a_flipped_byte_never_panics(announce: LsdAnnounce, at: usize, byte: u8) -> bool {
            let mut packet = announce.encode(GROUP_V4);
            let at = at % packet.len();
            packet[at] = byte;
            LsdAnnounce::decode(&packet).is_ok_and(|other| !other.info_hashes.is_empty())
                || LsdAnnounce::decode(&packet).is_err()
        }
    }

    #[test]
    fn an_announcement_looks_as_the_specification_has_it() {
        let announce = LsdAnnounce {
            port: 6881,
            info_hashes: [InfoHash::new([0xab; 20])].into(),
            cookie: Some("c0".to_string()),
        };
        let hash = "ab".repeat(20);
        assert_eq!(
            announce.encode(GROUP_V6),
            format!(
                "BT-SEARCH * HTTP/1.1\r\nHost: [ff15::efc0:988f]:6771\r\nPort: 6881\r\n\
                 Infohash: {hash}\r\ncookie: c0\r\n\r\n\r\n"
            )
            .as_bytes()
        );
    }

    #[test]
    fn headers_in_any_case_and_order_are_read_and_strange_ones_ignored() {
        let hash = "AB".repeat(20);
        let packet = format!(
            "BT-SEARCH * HTTP/1.1\r\nX: y\r\nnonsense\r\nINFOHASH:{hash}\r\nInfohash: 12\r\n\
             port:  1 \r\n\r\nport: 2\r\n"
        );
        let announce = LsdAnnounce::decode(packet.as_bytes()).unwrap();
        assert_eq!((announce.port, announce.info_hashes.len()), (1, 1));
        for broken in [
            "",
            "BT-SEARCH * HTTP/1.0\r\n",
            "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\n\r\n",
            &packet.replace("  1 ", "0"),
            &packet.replace("  1 ", "65536"),
            &packet.replace("port", "pont"),
        ] {
            assert!(LsdAnnounce::decode(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
