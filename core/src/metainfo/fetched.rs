//! BEP 3, 9: a .torrent file around an info dictionary that came from peers.

use alloc::{string::String, vec::Vec};

use bytes::Bytes;

use super::Metainfo;

impl Metainfo {
    /// The bytes of a .torrent file of this torrent: its info dictionary as it is, its trackers and its web seeds. What
    /// else stood in the file that it was read from, such as a comment, is left out. To have other trackers in it, see
    /// [`torrent_file`].
    #[must_use]
    pub fn torrent_file(&self) -> Bytes {
        torrent_file(self.info_bytes(), self.trackers(), self.web_seeds())
    }
}

/// The bytes of a .torrent file with this info dictionary, which is taken over as it is, and with these
/// trackers, tier by tier, and web seeds.
///
/// Whether it is one that can be used, [`Metainfo::parse`] tells.
#[must_use]
pub fn torrent_file(info: &[u8], trackers: &[Vec<String>], web_seeds: &[String]) -> Bytes {
    let mut out = Vec::with_capacity(info.len() + 64);
    out.push(b'd');
    // Keys in order.
    if let Some(first) = trackers.iter().flatten().next() {
        push_string(&mut out, "announce");
        push_string(&mut out, first);
        push_string(&mut out, "announce-list");
        out.push(b'l');
        for tier in trackers.iter().filter(|tier| !tier.is_empty()) {
            push_list(&mut out, tier);
        }
        out.push(b'e');
    }
    push_string(&mut out, "info");
    out.extend_from_slice(info);
    if !web_seeds.is_empty() {
        push_string(&mut out, "url-list");
        push_list(&mut out, web_seeds);
    }
    out.push(b'e');
    out.into()
}

fn push_list(out: &mut Vec<u8>, list: &[String]) {
    out.push(b'l');
    list.iter().for_each(|item| push_string(out, item));
    out.push(b'e');
}

fn push_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(alloc::format!("{}:", text.len()).as_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::metainfo::{Creator, Metainfo};

    #[test]
    fn what_was_fetched_becomes_the_torrent_that_it_was() {
        let original = Creator::single_file("name", 5)
            .with_tracker_tier(["http://a/", "udp://b:1"])
            .with_tracker_tier(["http://c/"])
            .with_web_seed("http://w/")
            .finish(&[0; 20])
            .unwrap()
            .metainfo;
        let info = original.info_bytes();
        let tiers = original.trackers();
        let made = torrent_file(info, tiers, original.web_seeds());
        assert_eq!(Metainfo::parse(made.clone()).unwrap().torrent_file(), made);
        let made = Metainfo::parse(made).unwrap();
        assert_eq!(made.info_hash(), original.info_hash());
        assert_eq!(made.trackers(), tiers);
        assert_eq!(made.web_seeds(), ["http://w/".to_string()]);
        let bare = Metainfo::parse(torrent_file(info, &[], &[])).unwrap();
        assert!(bare.trackers().is_empty());
    }
}
