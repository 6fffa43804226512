//! Events as JSON lines.

use serde::Serialize;

use super::{print, text::printable_json};
use crate::exit::Failure;

/// Writes one object and a line end to standard output.
pub(crate) fn tell(object: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(object)
        .map_err(|error| Failure::new(format!("cannot write JSON: {error}")))?;
    print(&(printable_json(json) + "\n"))
}

#[cfg(test)]
mod tests {
    use anabranch_core::TorrentState;
    use serde_json::{Value, json};

    use crate::output::{Event, Progress, Torrent};

    fn torrent() -> Torrent {
        Torrent {
            info_hash: "00".repeat(20),
            name: "x".into(),
        }
    }

    fn value(event: &Event) -> Value {
        serde_json::to_value(event).unwrap()
    }

    #[test]
    fn events_are_flat_objects_with_their_name() {
        assert_eq!(
            value(&Event::Listening {
                address: ([127, 0, 0, 1], 6881).into()
            }),
            json!({"event": "listening", "address": "127.0.0.1:6881"})
        );
        assert_eq!(value(&Event::Stopping), json!({"event": "stopping"}));
        assert_eq!(
            value(&Event::Tracker {
                torrent: torrent(),
                url: "http://t/announce".into(),
                peers: Some(3),
                warning: None,
                error: None,
                retry_in: None,
            }),
            json!({
                "event": "tracker", "info_hash": "00".repeat(20), "name": "x",
                "url": "http://t/announce", "peers": 3, "warning": null, "error": null,
                "retry_in": null,
            })
        );
    }

    #[test]
    fn progress_has_all_its_fields_beside_the_name() {
        let progress = value(&Event::Progress(Box::new(Progress {
            torrent: torrent(),
            state: TorrentState::Downloading,
            hindrance: None,
            metadata: None,
            wanted: 10,
            have: 5,
            pieces: 2,
            pieces_have: 1,
            pieces_unchecked: 0,
            downloaded: 5,
            uploaded: 0,
            wasted: 0,
            download_rate: 1,
            upload_rate: 0,
            eta: Some(5),
            peers: 1,
            seeds: 1,
        })));
        assert_eq!(progress["event"], "progress");
        assert_eq!(progress["state"], "downloading");
        assert_eq!(progress["name"], "x");
        assert_eq!(progress["eta"], 5);
        assert_eq!(progress["hindrance"], Value::Null);
    }
}
