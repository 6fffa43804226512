//! What is beside the info dictionary of a torrent file: tiers of trackers (BEP 12), web seeds (BEP 17 and
//! 19), DHT nodes (BEP 5), and texts. None of it is needed.

use alloc::{collections::BTreeSet, string::String, vec::Vec};
use core::ops::Range;

use super::{Metainfo, Node};
use crate::bencode;
use crate::metainfo::{
    fields::{Field, Str, decode},
    limits,
    oddity::Oddities,
    path::safe_text,
};

impl Metainfo {
    /// What is beside the info dictionary. None of it is needed.
    pub(super) fn read_outer_fields(&mut self, torrent: &[u8], oddities: &mut Oddities) {
        let [
            announce,
            announce_list,
            comment,
            comment_utf8,
            created_by,
            creation_date,
            url_list,
            httpseeds,
            nodes,
        ] = Field::find(
            torrent,
            [
                "announce",
                "announce-list",
                "comment",
                "comment.utf-8",
                "created by",
                "creation date",
                "url-list",
                "httpseeds",
                "nodes",
            ],
        );
        let mut string = |field: &Field| {
            let string: Option<Str<'_>> = field.optional(torrent, None, "a string", oddities);
            string
        };
        let announce = string(&announce);
        let (comment, comment_utf8) = (string(&comment), string(&comment_utf8));
        self.comment = comment_utf8.and_then(text).or(comment.and_then(text));
        self.created_by = string(&created_by).and_then(text);
        let mut value = |field: &Field, starts: &[u8], expected| {
            let accepts = |span: Range<usize>| starts.contains(&torrent[span.start]);
            let span = field.optional_span(None, expected, oddities, accepts);
            span.map_or(&[][..], |span| &torrent[span])
        };
        let one_or_many = b"0123456789l";
        self.trackers = read_tiers(value(&announce_list, b"l", "a list"));
        self.web_seeds = read_urls(value(&url_list, one_or_many, "a string or a list"));
        self.http_seeds = read_urls(value(&httpseeds, one_or_many, "a string or a list"));
        self.nodes = read_nodes(value(&nodes, b"l", "a list"));
        let mut seconds = None;
        creation_date.optional_span(None, "a date since 1970", oddities, |span| {
            seconds = decode::<i128>(torrent, span).and_then(|date| u64::try_from(date).ok());
            seconds.is_some()
        });
        self.creation_date = seconds;
        if self.trackers.is_empty() {
            self.trackers = announce
                .and_then(|url| clean_url(url.0))
                .map_or_else(Vec::new, |url| [[url].into()].into());
        }
    }
}

/// Tiers of trackers: a list of lists of URLs, or, as some write it, of URLs.
fn read_tiers(list: &[u8]) -> Vec<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut tiers = Vec::new();
    for item in bencode::list_items(list) {
        let item = &list[item];
        let single = read_url(item).into_iter();
        let many = bencode::list_items(item).filter_map(|url| read_url(&item[url]));
        let mut tier = Vec::new();
        for url in single.chain(many) {
            if seen.len() == limits::MAX_TRACKERS {
                break;
            }
            if seen.insert(url.clone()) {
                tier.push(url);
            }
        }
        if !tier.is_empty() {
            tiers.push(tier);
        }
        if seen.len() == limits::MAX_TRACKERS {
            break;
        }
    }
    tiers
}

/// Web seeds: one URL, or a list of them.
fn read_urls(value: &[u8]) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    let many = bencode::list_items(value).filter_map(|url| read_url(&value[url]));
    for url in read_url(value).into_iter().chain(many) {
        if urls.len() == limits::MAX_WEB_SEEDS {
            break;
        }
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}

fn read_nodes(list: &[u8]) -> Vec<Node> {
    bencode::list_items(list)
        .filter_map(|node| {
            let (host, port) = decode::<(Str<'_>, u16)>(list, node)?;
            let host = clean_url(host.0)?;
            (port != 0).then_some(Node { host, port })
        })
        .take(limits::MAX_NODES)
        .collect()
}

fn read_url(value: &[u8]) -> Option<String> {
    clean_url(decode::<Str<'_>>(value, 0..value.len())?.0)
}

fn clean_url(url: &[u8]) -> Option<String> {
    let url = core::str::from_utf8(url).ok()?.trim();
    let usable =
        !url.is_empty() && url.len() <= limits::MAX_URL_LEN && !url.chars().any(char::is_control);
    usable.then(|| url.into())
}

pub(super) fn text(string: Str<'_>) -> Option<String> {
    let text = safe_text(string.0, limits::MAX_TEXT_LEN);
    (!text.is_empty()).then_some(text)
}
