//! What helps, and what is waited for, in words.

use anabranch_core::Config;
use anabranch_core::event::{DiskError, DiskErrorKind};

use super::NAMED_REASONS;
use crate::units;

/// What a client that ends is waiting for.
pub(super) fn farewell(trackers: &[String]) -> String {
    if trackers.is_empty() {
        return "waiting for the disk to take what is to be saved".to_owned();
    }
    let limit = Config::default().goodbye_timeout;
    // What identifies a user to a tracker is in the query, if it is anywhere.
    let names = trackers.iter().take(NAMED_REASONS);
    let names: Vec<&str> = names
        .map(|url| url.split('?').next().unwrap_or(url))
        .collect();
    let more = match trackers.len().saturating_sub(NAMED_REASONS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let verb = if trackers.len() == 1 { "knows" } else { "know" };
    format!(
        "waiting until {}{more} {verb} that this client leaves, for {} at most",
        names.join(", "),
        units::seconds(limit.as_secs())
    )
}

/// What to do about a failure of the disk while a torrent runs: one whose files were `opened`, or never could be.
pub(super) fn advice(error: &DiskError, opened: bool, seeds: bool) -> String {
    let remedy = remedy(error);
    // A folder that cannot be used from the start is a mistake, not a mishap: the run ends. And what was replaced is
    // not what was verified: who seeds must look at all of it again.
    let changed = matches!(
        error.kind,
        DiskErrorKind::NotFound | DiskErrorKind::Truncated | DiskErrorKind::Foreign
    );
    match opened && !(seeds && changed) {
        true => format!("{remedy}, and it goes on by itself"),
        false => format!("{remedy}, and start it again"),
    }
}

/// What helps against a failure of the disk.
pub(super) fn remedy(error: &DiskError) -> &'static str {
    match error.kind {
        DiskErrorKind::NoSpace => "make room on the disk",
        DiskErrorKind::NotFound => "put the folder back",
        DiskErrorKind::Permission => "give your user access to it (chmod, chown)",
        DiskErrorKind::ReadOnly => "mount the disk for writing",
        DiskErrorKind::TooManyFiles => "close other programs or raise the limit (ulimit -n)",
        DiskErrorKind::UnsafePath => {
            "remove the symbolic link or the file that is in the way, or add --follow-links if a link \
             leads to where the data is"
        }
        DiskErrorKind::Foreign => {
            "give another folder with --dir, move the file away, or add --overwrite if it may be \
             written over"
        }
        DiskErrorKind::Truncated => "put the whole file back",
        DiskErrorKind::InUse => "end the other one, or use another folder",
        DiskErrorKind::Io | _ => "check the disk and its cable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_at_the_end_is_named() {
        let urls = |count: usize| -> Vec<String> {
            (0..count)
                .map(|n| format!("http://t{n}/announce?key=secret"))
                .collect()
        };
        assert_eq!(
            farewell(&urls(1)),
            "waiting until http://t0/announce knows that this client leaves, for 3s at most"
        );
        let many = farewell(&urls(5));
        assert!(many.contains("t2/announce and 2 more know that"), "{many}");
        assert!(!many.contains("secret"));
        assert!(farewell(&[]).contains("disk"));
    }

    #[test]
    fn a_cut_file_and_one_without_access_are_no_broken_disk() {
        let remedy = |kind| {
            remedy(&DiskError {
                kind,
                file: "f".into(),
                message: "m".into(),
            })
        };
        assert!(remedy(DiskErrorKind::Truncated).contains("whole file"));
        assert!(remedy(DiskErrorKind::Permission).contains("access"));
        assert!(remedy(DiskErrorKind::Io).contains("cable"));
    }
}
