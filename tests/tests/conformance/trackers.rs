//! Peers by way of trackers.

use anabranch_driver::engine::Notice;

use crate::ground::{AnyClient, AnyNotices, AnyTorrent, AnyTracker, Ground};
use crate::stage::{Ear, Stage, client};

pub(crate) async fn a_tracker_of_a_later_tier_takes_over<G: Ground>() {
    let stage = Stage::file(500_000);
    let tracker = G::tracker();
    let (http, udp, dead) = (tracker.http(), tracker.udp(), tracker.dead());
    let seeder = client::<G>();
    let mut seen = Ear::new(seeder.hear());
    let options = stage.below("origin").trackers(vec![vec![http.clone()]]);
    seeder.take(&stage, options).await.expect("added");
    seen.until(|notice| matches!(notice, Notice::TrackerReplied { .. }).then_some(()))
        .await;
    let tiers = [
        ("over http", vec![vec![dead.clone()], vec![http.clone()]]),
        ("over udp", vec![vec![dead.clone()], vec![udp.clone()]]),
    ];
    for (way, tiers) in tiers {
        let alive = tiers[1][0].clone();
        let leecher = client::<G>();
        let mut heard = Ear::new(leecher.hear());
        let options = stage.below(way).trackers(tiers);
        let torrent = leecher.take(&stage, options).await.expect("added");
        torrent.wait_complete().await.expect("downloaded");
        let told: Vec<String> = heard_of_trackers(&mut heard).await;
        assert_eq!(
            told,
            [format!("failed {dead}"), format!("replied {alive}")],
            "{way}"
        );
        let trackers = torrent.trackers().await.expect("there");
        assert_eq!(trackers.len(), 2);
        assert_eq!((trackers[0].tier, trackers[0].working), (0, false));
        assert!(trackers[0].message.is_some(), "it says why");
        assert_eq!((trackers[1].tier, trackers[1].working), (1, true));
        leecher.end().await.expect("a good end");
        G::assert_copied(&stage, way);
    }
    // Within a tier the one that works is found whichever is asked first.
    let leecher = client::<G>();
    let options = stage.below("same tier").trackers(vec![vec![dead, http]]);
    let torrent = leecher.take(&stage, options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    leecher.end().await.expect("a good end");
    G::assert_copied(&stage, "same tier");
    seeder.end().await.expect("a good end");
}

/// What was told of trackers up to the first answer.
async fn heard_of_trackers(heard: &mut Ear<impl AnyNotices>) -> Vec<String> {
    heard
        .times(1, |notice| matches!(notice, Notice::TrackerReplied { .. }))
        .await;
    let mut told = Vec::new();
    for notice in &heard.heard {
        if let Notice::TrackerFailed { url, .. } = notice {
            told.push(format!("failed {url}"));
        } else if let Notice::TrackerReplied { url, peers, .. } = notice {
            told.push(format!("replied {url}"));
            assert!(*peers >= 1, "the seed, at least");
            break;
        }
    }
    told
}
