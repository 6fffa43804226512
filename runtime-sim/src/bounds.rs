//! What an engine may hold at most, and whether it has anything to do.

use anabranch_core::action::{DiskJob, Segment};
use anabranch_core::limits::{MAX_CLOSING, READ_LEN, READ_WINDOW, SEND_WINDOW};
use anabranch_core::{Engine, Instant, TorrentState};

use crate::failure::FailureKind;
use crate::host::Running;
use crate::stream::Conns;

/// What an engine may have handed out for a connection beyond its window: messages that are no
/// payload.
const MESSAGES: u64 = 1 << 20;

/// Bytes that may wait to be sent on a connection.
pub(crate) const SEND_BOUND: u64 = SEND_WINDOW as u64 + MESSAGES;

/// Gauges of an engine, and what it has handed out, against their limits.
pub(crate) fn over_bound(running: &Running) -> Option<FailureKind> {
    let engine = &running.engine;
    let (stats, config) = (engine.stats(), engine.config());
    let connections = engine.connection_count();
    if connections > config.max_connections.saturating_add(MAX_CLOSING) {
        return Some(FailureKind::OverBound(format!("{connections} connections")));
    }
    // What was allowed to come before the disk fell behind still comes.
    let coming = u64::from(connections) * u64::from(READ_WINDOW);
    let most_written = u64::from(config.write_budget) + coming;
    let writes = stats.partial_backlog + stats.write_backlog;
    if writes > most_written {
        return Some(FailureKind::OverBound(format!("{writes} bytes to write")));
    }
    let most_read = u64::from(config.read_budget) + u64::from(READ_LEN);
    let reads = stats.read_backlog;
    if reads > most_read {
        return Some(FailureKind::OverBound(format!("{reads} bytes read")));
    }
    if stats.stale_ops > 0 || stats.stale_conns > 0 || stats.clock_went_back > 0 {
        return Some(FailureKind::Contract(format!(
            "ids forgotten before their last event: {} operations, {} connections",
            stats.stale_ops, stats.stale_conns
        )));
    }
    None
}

/// Payload that an engine holds or has others hold, counted from outside where that is possible,
/// against what its configuration says that it costs at worst.
pub(crate) fn over_memory(running: &Running, conns: &Conns) -> Option<FailureKind> {
    let engine = &running.engine;
    let config = engine.config();
    let mut streams = 0;
    let mut sending = 0;
    for attached in running.all_attached() {
        streams += 1;
        let conn = conns.get(attached.at);
        sending += conn.map_or(0, |conn| conn.end(attached.side).unaccepted());
    }
    let held = engine.stats().partial_backlog + running.job_bytes + sending;
    let most = u64::from(config.write_budget)
        + u64::from(config.read_budget.max(READ_LEN))
        + streams * (u64::from(READ_WINDOW) + SEND_BOUND);
    (held > most).then_some(FailureKind::OverMemory { held, most })
}

/// Payload that a disk job holds, or is going to.
pub(crate) fn payload_of(job: &DiskJob) -> u64 {
    match job {
        DiskJob::Store { data, .. } => data
            .iter()
            .map(|segment| match segment {
                Segment::Memory(data) => data.len() as u64,
                Segment::Stored { .. } => 0,
            })
            .sum(),
        DiskJob::Write { data, .. } => data.iter().map(|data| data.len() as u64).sum(),
        DiskJob::Read { len, .. } => u64::from(*len),
        DiskJob::Open(_)
        | DiskJob::Verify { .. }
        | DiskJob::Select { .. }
        | DiskJob::Trim { .. }
        | DiskJob::Checkpoint { .. }
        | DiskJob::Probe { .. }
        | DiskJob::Close
        | DiskJob::Remove { .. } => 0,
    }
}

/// Whether there is somebody to get on with: a torrent without peers and trackers may sleep.
pub(crate) fn has_work(engine: &Engine, now: Instant) -> bool {
    engine
        .torrents()
        .filter_map(|id| engine.torrent(id))
        .any(|torrent| {
            let status = torrent.status(now);
            let somebody = status.peers > 0 || status.candidates > 0;
            status.state == TorrentState::Downloading
                && (somebody || !torrent.trackers(now).is_empty())
        })
}
