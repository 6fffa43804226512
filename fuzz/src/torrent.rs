//! What says which torrent is meant: bencoding, torrent files and magnet links.

use anabranch_core::bencode::{self, Limits, Scanner};
use anabranch_core::metainfo::magnet::MAX_MAGNET_LEN;
use anabranch_core::metainfo::{
    FileIndex, InfoHash, Layout, Magnet, Metainfo, PieceIndex, torrent_file,
};
use bt_bencode::Value;
use bytes::Bytes;

/// The longest input that is scanned byte by byte.
const MAX_DRIBBLED: usize = 4 << 10;

/// Parts of a selection that is compared.
const MAX_PARTS: usize = 32;

/// A scan comes to the same at once and byte by byte; what it lets pass is decoded as another decoder does, and what is
/// written of that passes again.
pub fn bencode(data: &[u8]) {
    for leading_zeros in [false, true] {
        let limits = Limits {
            leading_zeros,
            ..Limits::MESSAGE
        };
        let whole = bencode::scan(data, limits);
        let mut scanner = Scanner::new(limits);
        let dribbled = &data[..data.len().min(MAX_DRIBBLED)];
        let by_and_by = (0..=dribbled.len())
            .map(|end| scanner.scan(&dribbled[..end]))
            .find(|result| !result.is_err_and(bencode::Error::is_incomplete));
        match by_and_by {
            Some(result) => assert_eq!(result, whole),
            None if dribbled.len() == data.len() => {
                assert!(whole.is_err_and(bencode::Error::is_incomplete));
            }
            None => {}
        }
        if bencode::scan_all(data, limits).is_ok()
            && let Ok(value) = bt_bencode::from_slice::<Value>(data)
        {
            let written = bt_bencode::to_vec(&value).expect("a value is written");
            assert_eq!(bencode::scan_all(&written, limits), Ok(()));
            assert!(written.len() <= data.len());
            assert_eq!(bencode::decode::<Value>(data, limits), Some(value));
        }
    }
}

/// A torrent's parts fit together, whatever the file says of them.
pub fn metainfo(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    if let Ok(torrent) = Metainfo::parse(data.clone()) {
        holds_together(&torrent, data.len());
        let file = torrent_file(
            torrent.info_bytes(),
            torrent.trackers(),
            torrent.web_seeds(),
        );
        let again = Metainfo::parse(file).expect("it was read before");
        assert_eq!(again.info_hash(), torrent.info_hash());
        assert_eq!(again.trackers(), torrent.trackers());
    }
    if let Ok(torrent) = Metainfo::from_info(data.clone()) {
        assert_eq!(torrent.info_bytes(), &data);
        holds_together(&torrent, data.len());
    }
}

fn holds_together(torrent: &Metainfo, len: usize) {
    assert_eq!(InfoHash::of_info(torrent.info_bytes()), torrent.info_hash());
    assert!(torrent.piece_hashes().len() <= len / 20);
    assert!(torrent.files().len() <= len);
    assert!(!torrent.name().chars().any(char::is_control));
    let layout = Layout::new(torrent);
    assert_eq!(layout.piece_count(), torrent.piece_count());
    let mut end = 0;
    for index in 0..layout.file_count() {
        let file = FileIndex::new(index);
        let range = layout.file_range(file).expect("a file of it");
        assert_eq!(range.start, end);
        end = range.end;
        let pieces = layout.pieces_of_file(file).expect("a file of it");
        assert!(pieces.end <= layout.piece_count());
        assert!(torrent.download_path(file).is_some());
    }
    assert_eq!(end, torrent.total_length());
    let mut covered = 0;
    for index in 0..layout.piece_count() {
        let piece = PieceIndex::new(index);
        let size = layout.piece_size(piece).expect("a piece of it");
        let spans = layout.spans(piece, 0, size).expect("within the piece");
        let end = spans.fold(0, |end, span| {
            assert_eq!(span.range.start, end);
            span.range.end
        });
        assert_eq!(end, size);
        covered += u64::from(size);
    }
    assert_eq!(covered, end);
    let link = Magnet::of(torrent).to_string();
    if link.len() <= MAX_MAGNET_LEN {
        let magnet: Magnet = link.parse().expect("our own link");
        assert_eq!(magnet.info_hash, torrent.info_hash());
    }
}

/// What is understood of a magnet link survives being written and read again.
pub fn magnet(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(magnet) = text.parse::<Magnet>() {
        let written = magnet.to_string();
        // Percent encoding takes three times the space.
        if written.len() <= MAX_MAGNET_LEN {
            assert_eq!(written.parse(), Ok(magnet));
        }
    }
}

/// Files are selected (BEP 53) as the numbers and ranges say, each looked at by itself.
pub fn selection(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let number = |text: &str| -> Option<u32> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten()
    };
    let range = |part: &str| -> Option<(u32, u32)> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some((first, last))
    };
    let link = format!("magnet:?xt=urn:btih:{}&so={text}", "7a".repeat(20));
    let magnet = link.parse::<Magnet>();
    let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
    let Some(ranges) = ranges.filter(|ranges| ranges.len() <= MAX_PARTS) else {
        return;
    };
    let magnet = magnet.expect("a link with an info-hash");
    let ends = ranges
        .iter()
        .flat_map(|&(first, last)| [first.saturating_sub(1), first, last, last.saturating_add(1)]);
    for file in ends.chain(0..64) {
        let is_in = ranges
            .iter()
            .any(|&(first, last)| (first..=last).contains(&file));
        assert_eq!(magnet.selects(FileIndex::new(file)), is_in, "file {file}");
    }
    assert_eq!(magnet.to_string().parse(), Ok(magnet));
}
