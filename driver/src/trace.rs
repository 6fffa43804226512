//! What a running client tells those who look into it: spans and events of [`tracing`].
//!
//! Everything that the machine is told and wants passes here, so that the rest of the driver need not speak of it. While
//! nobody listens that costs a look at one number for each.
//!
//! Of URLs only scheme, host and port are told, since their paths hold the keys of private trackers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anabranch_core::action::DiskJob;
use anabranch_core::datagram::Outbound;
use anabranch_core::event::{CloseReason, OpResult};
use anabranch_core::id::{ConnId, OpId, Ticket, TorrentId};
use anabranch_core::{Action, Event, Notice};
use anabranch_replay::Narrator;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span, debug, debug_span, enabled, info, info_span, trace, trace_span, warn};
use url::Url;

/// The spans that are open, and who reads along. Empty while nobody listens.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    torrents: BTreeMap<TorrentId, Span>,
    peers: BTreeMap<ConnId, Span>,
    operations: BTreeMap<OpId, Span>,
    /// Connections that came in and were not answered for yet.
    callers: BTreeMap<Ticket, SocketAddr>,
    /// Knows the messages in what is sent and received.
    narrator: Option<Narrator>,
}

impl Trace {
    /// The machine is about to be told this.
    pub(crate) fn event(&mut self, event: &Event) {
        if self.is_off() {
            return;
        }
        let line = self.read_along(|narrator| match event {
            // What users ask for may hold URLs, and is no message.
            Event::Command { .. } | Event::Tick | Event::Wall(_) | Event::Done { .. } => None,
            Event::Incoming { .. }
            | Event::Connected { .. }
            | Event::Received { .. }
            | Event::Sent { .. }
            | Event::Closed { .. }
            | Event::Undelivered { .. }
            | Event::Multicast { .. }
            | Event::Flushed { .. }
            | Event::Datagram(_) => Some(narrator.event(event)),
        });
        match event {
            Event::Incoming { ticket, from } => {
                debug!(%from, "a connection came in");
                if enabled!(Level::DEBUG) {
                    self.callers.insert(*ticket, *from);
                }
            }
            Event::Connected { conn } => debug!(parent: self.peer(*conn), "connected"),
            Event::Received { conn, .. } | Event::Sent { conn, .. } => {
                if let Some(line) = line {
                    trace!(parent: self.peer(*conn), "{line}");
                }
            }
            Event::Closed { conn, reason } => {
                let span = self.peers.remove(conn);
                let parent = span.as_ref().and_then(Span::id);
                if *reason == CloseReason::Exhausted {
                    // This machine's fault, and that of all that come after.
                    warn!(parent: parent, %reason, "closed");
                } else {
                    debug!(parent: parent, %reason, "closed");
                }
            }
            Event::Undelivered { to, reason } => debug!(%to, %reason, "a packet did not arrive"),
            Event::Multicast { .. } | Event::Flushed { .. } | Event::Datagram(_) => {
                if let Some(line) = line {
                    trace!("{line}");
                }
            }
            Event::Done { op, result } => self.done(*op, result),
            Event::Command { .. } | Event::Tick | Event::Wall(_) => {}
        }
    }

    /// This is about to be done for the machine.
    pub(crate) fn action(&mut self, action: &Action) {
        if self.is_off() {
            return;
        }
        let line = self.read_along(|narrator| match action {
            Action::Connect { .. }
            | Action::Accept { .. }
            | Action::Refuse { .. }
            | Action::Send { .. }
            | Action::Close { .. }
            | Action::Datagram(_) => Some(narrator.action(action)),
            Action::Read { .. }
            | Action::Disk { .. }
            | Action::Resolve { .. }
            | Action::Http { .. }
            | Action::Cancel { .. }
            | Action::Reply { .. }
            | Action::Notify(_) => None,
        });
        match action {
            Action::Connect { conn, to, torrent } => {
                let parent = self.torrent(*torrent);
                let span = debug_span!(parent: parent, "peer", %conn, address = %to);
                debug!(parent: &span, "connecting");
                keep(&mut self.peers, *conn, span);
            }
            Action::Accept { ticket, conn } => {
                // Whose peer it is shows with its handshake.
                let address = self.callers.remove(ticket).map(tracing::field::display);
                let span = debug_span!("peer", %conn, address, incoming = true);
                debug!(parent: &span, "accepted");
                keep(&mut self.peers, *conn, span);
            }
            Action::Refuse { ticket } => {
                if let Some(from) = self.callers.remove(ticket) {
                    debug!(%from, "refused");
                }
            }
            Action::Send { conn, .. } => {
                if let Some(line) = line {
                    trace!(parent: self.peer(*conn), "{line}");
                }
            }
            Action::Datagram(Outbound { torrent, .. }) => {
                if let Some(line) = line {
                    let parent = torrent.and_then(|torrent| self.torrent(torrent));
                    trace!(parent: parent, "{line}");
                }
            }
            Action::Disk { op, torrent, job } => {
                let parent = self.torrent(*torrent);
                let kind = disk(job);
                let span = match job {
                    // Some of these for each piece.
                    DiskJob::Verify { .. }
                    | DiskJob::Store { .. }
                    | DiskJob::Write { .. }
                    | DiskJob::Read { .. } => {
                        trace_span!(parent: parent, "operation", %op, kind)
                    }
                    DiskJob::Open(_)
                    | DiskJob::Select { .. }
                    | DiskJob::Trim { .. }
                    | DiskJob::Checkpoint { .. }
                    | DiskJob::Probe { .. }
                    | DiskJob::Close
                    | DiskJob::Remove { .. } => debug_span!(parent: parent, "operation", %op, kind),
                };
                keep(&mut self.operations, *op, span);
            }
            Action::Resolve { op, host, torrent } => {
                let parent = torrent.and_then(|torrent| self.torrent(torrent));
                let span = debug_span!(
                    parent: parent, "operation", %op, kind = "resolve", host = host.as_str()
                );
                keep(&mut self.operations, *op, span);
            }
            Action::Http {
                op,
                request,
                torrent,
            } => {
                if enabled!(Level::DEBUG) {
                    let parent = torrent.and_then(|torrent| self.torrent(torrent));
                    let to = origin(&request.url);
                    let to = to.as_str();
                    let span = debug_span!(parent: parent, "operation", %op, kind = "http", to);
                    keep(&mut self.operations, *op, span);
                }
            }
            Action::Notify(notice) => self.notice(notice),
            Action::Read { .. }
            | Action::Close { .. }
            | Action::Cancel { .. }
            | Action::Reply { .. } => {}
        }
    }

    fn done(&mut self, op: OpId, result: &OpResult) {
        let span = self.operations.remove(&op);
        let parent = span.as_ref().and_then(Span::id);
        match result {
            OpResult::Disk(Ok(_)) => trace!(parent: parent, %op, "done"),
            OpResult::Disk(Err(error)) => warn!(parent: parent, %op, %error, "failed"),
            OpResult::Resolved(Ok(found)) => {
                debug!(parent: parent, %op, addresses = found.len(), "done");
            }
            OpResult::Http(Ok(reply)) => {
                let (status, bytes) = (reply.status, reply.body.len());
                debug!(parent: parent, %op, status, bytes, "done");
            }
            OpResult::Resolved(Err(error)) | OpResult::Http(Err(error)) => {
                debug!(parent: parent, %op, %error, "failed");
            }
            OpResult::Cancelled => debug!(parent: parent, %op, "cancelled"),
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "what is told of a torrent may grow"
    )]
    fn notice(&mut self, notice: &Notice) {
        let id = notice.torrent();
        if let Notice::Added { info_hash, .. } = notice {
            let span = info_span!(parent: None, "torrent", %id, %info_hash);
            keep(&mut self.torrents, id, span);
        }
        let parent = self.torrent(id);
        match notice {
            Notice::Added { .. } => info!(parent: parent, "added"),
            Notice::State { state, .. } => info!(parent: parent, ?state, "its state changed"),
            Notice::MetadataReceived { .. } => info!(parent: parent, "its metadata is there"),
            Notice::MetadataUnusable { error, .. } => {
                warn!(parent: parent, error = error.as_str(), "its metadata is of no use");
            }
            Notice::Checked { have, pieces, .. } => info!(parent: parent, have, pieces, "checked"),
            Notice::Completed { .. } => info!(parent: parent, "complete"),
            Notice::GoalReached { .. } => info!(parent: parent, "its goal is reached"),
            Notice::Piece { piece, .. } => trace!(parent: parent, piece = piece.get(), "a piece"),
            Notice::PieceFailed { piece, .. } => {
                let piece = piece.get();
                debug!(parent: parent, piece, "a piece does not match its digest");
            }
            Notice::PeerConnected {
                address, incoming, ..
            } => debug!(parent: parent, %address, incoming, "a peer"),
            Notice::PeerDisconnected {
                address, reason, ..
            } => debug!(parent: parent, %address, %reason, "a peer is gone"),
            Notice::PeerBanned { address, blame, .. } => {
                info!(parent: parent, %address, %blame, "a peer is banned");
            }
            Notice::TrackerReplied { url, peers, .. } => {
                debug!(parent: parent, tracker = origin(url).as_str(), peers, "a tracker answered");
            }
            Notice::TrackerFailed { url, error, .. } => {
                info!(parent: parent, tracker = origin(url).as_str(), error = error.as_str(), "a tracker failed");
            }
            // The operation has told what failed.
            Notice::StorageFailed { .. } => {
                warn!(parent: parent, "stopped until the disk works again");
            }
            Notice::StorageRecovered { .. } => info!(parent: parent, "the disk works again"),
            Notice::Removed { .. } => info!(parent: parent, "removed"),
            other => debug!(parent: parent, "{other:?}"),
        }
        if matches!(notice, Notice::Removed { .. }) {
            self.torrents.remove(&id);
        }
    }

    /// Nobody listens, and nothing is left of when somebody did.
    fn is_off(&mut self) -> bool {
        if LevelFilter::current() != LevelFilter::OFF {
            return false;
        }
        if !self.torrents.is_empty() || !self.peers.is_empty() || !self.operations.is_empty() {
            *self = Self::default();
        }
        true
    }

    /// What there is to read in messages; nothing unless somebody wants that much.
    fn read_along(&mut self, line: impl FnOnce(&mut Narrator) -> Option<String>) -> Option<String> {
        if !enabled!(Level::TRACE) {
            self.narrator = None;
            return None;
        }
        line(self.narrator.get_or_insert_default())
    }

    fn torrent(&self, id: TorrentId) -> Option<tracing::Id> {
        self.torrents.get(&id).and_then(Span::id)
    }

    fn peer(&self, id: ConnId) -> Option<tracing::Id> {
        self.peers.get(&id).and_then(Span::id)
    }
}

/// Keeps a span that somebody wants.
fn keep<K: Ord>(spans: &mut BTreeMap<K, Span>, key: K, span: Span) {
    if !span.is_disabled() {
        spans.insert(key, span);
    }
}

fn disk(job: &DiskJob) -> &'static str {
    match job {
        DiskJob::Open(_) => "open",
        DiskJob::Verify { .. } => "verify",
        DiskJob::Store { .. } => "store",
        DiskJob::Write { .. } => "write",
        DiskJob::Read { .. } => "read",
        DiskJob::Select { .. } => "select",
        DiskJob::Trim { .. } => "trim",
        DiskJob::Checkpoint { .. } => "checkpoint",
        DiskJob::Probe { .. } => "probe",
        DiskJob::Close => "close",
        DiskJob::Remove { .. } => "remove",
    }
}

/// What of a URL is no secret.
fn origin(url: &str) -> String {
    let parts = Url::parse(url).ok().and_then(|url| {
        let host = url.host_str()?.to_owned();
        let port = url.port().map(|port| format!(":{port}"));
        Some(format!(
            "{}://{host}{}",
            url.scheme(),
            port.unwrap_or_default()
        ))
    });
    parts.unwrap_or_else(|| "a URL that is none".to_owned())
}

#[cfg(test)]
mod tests {
    use std::fmt::{self, Write as _};
    use std::sync::{Arc, Mutex};

    use anabranch_core::action::{HttpRequest, LocalPaths};
    use anabranch_core::event::{ContactError, DiskError, DiskErrorKind};
    use anabranch_core::metainfo::InfoHash;
    use anabranch_core::wire::{Handshake, PeerId, Reserved};
    use bytes::Bytes;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Record};
    use tracing::{Metadata, Subscriber};

    use super::*;

    /// Writes down what it hears, a line an event, with the spans that it is in.
    #[derive(Clone)]
    struct Ear {
        level: Level,
        heard: Arc<Mutex<Heard>>,
    }

    #[derive(Default)]
    struct Heard {
        spans: Vec<String>,
        lines: Vec<String>,
    }

    struct Words<'a>(&'a mut String);

    impl Visit for Words<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            write!(self.0, " {field}={value:?}").expect("a string takes everything");
        }
    }

    impl Subscriber for Ear {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= self.level && metadata.target().starts_with("anabranch")
        }

        fn max_level_hint(&self) -> Option<LevelFilter> {
            Some(self.level.into())
        }

        fn new_span(&self, span: &Attributes<'_>) -> tracing::Id {
            let mut heard = self.heard.lock().expect("no panic");
            let mut text = match span.parent() {
                Some(parent) => heard.spans[parent.into_u64() as usize - 1].clone() + " > ",
                None => String::new(),
            };
            text += span.metadata().name();
            span.record(&mut Words(&mut text));
            heard.spans.push(text);
            tracing::Id::from_u64(heard.spans.len() as u64)
        }

        fn event(&self, event: &tracing::Event<'_>) {
            let mut heard = self.heard.lock().expect("no panic");
            let mut line = format!("{}", event.metadata().level());
            if let Some(parent) = event.parent() {
                let span = heard.spans[parent.into_u64() as usize - 1].clone();
                line += &format!(" [{span}]");
            }
            event.record(&mut Words(&mut line));
            heard.lines.push(line);
        }

        fn record(&self, _: &tracing::Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}
        fn enter(&self, _: &tracing::Id) {}
        fn exit(&self, _: &tracing::Id) {}
    }

    const TORRENT: TorrentId = TorrentId::new(0, 1);
    const CONN: ConnId = ConnId::new(4, 1);

    fn op(slot: u32) -> OpId {
        OpId::new(slot, 1)
    }

    /// A life of a torrent, as it is heard at a level, and what is left of it.
    fn heard(level: Level) -> (Vec<String>, Trace) {
        let ear = Ear {
            level,
            heard: Arc::default(),
        };
        let heard = Arc::clone(&ear.heard);
        let mut trace = Trace::default();
        tracing::subscriber::with_default(ear, || {
            let torrent = TORRENT;
            trace.action(&Action::Notify(Notice::Added {
                torrent,
                info_hash: InfoHash::new([7; 20]),
            }));
            let request = HttpRequest {
                url: "https://tracker.example:8443/secret-key/announce?key=secret".into(),
                body_limit: 1,
                redirects: 0,
                timeout_ms: 1,
                local_paths: LocalPaths::Any,
            };
            trace.action(&Action::Http {
                op: op(0),
                request: Box::new(request),
                torrent: Some(torrent),
            });
            let result = OpResult::Http(Err(ContactError::NoSuchHost));
            trace.event(&Event::Done { op: op(0), result });
            let to = ([192, 0, 2, 1], 6881).into();
            trace.action(&Action::Connect {
                conn: CONN,
                to,
                torrent,
            });
            trace.event(&Event::Connected { conn: CONN });
            let greeting = Handshake {
                reserved: Reserved::default(),
                info_hash: [7; 20],
                peer_id: PeerId([b'x'; 20]),
            };
            let data = Bytes::copy_from_slice(&greeting.encode());
            trace.action(&Action::Send { conn: CONN, data });
            let data = Bytes::from_static(&[0, 0, 0, 1, 2]);
            trace.action(&Action::Send { conn: CONN, data });
            let reason = CloseReason::Remote;
            trace.event(&Event::Closed { conn: CONN, reason });
            let job = DiskJob::Close;
            trace.action(&Action::Disk {
                op: op(1),
                torrent,
                job,
            });
            let error = DiskError {
                kind: DiskErrorKind::NotFound,
                file: "a".into(),
                message: "gone".into(),
            };
            let result = OpResult::Disk(Err(error));
            trace.event(&Event::Done { op: op(1), result });
            trace.action(&Action::Notify(Notice::Removed { torrent }));
        });
        let lines = std::mem::take(&mut heard.lock().expect("no panic").lines);
        (lines, trace)
    }

    #[test]
    fn spans_nest_and_what_happens_is_told_with_its_reason() {
        let (lines, trace) = heard(Level::DEBUG);
        let torrent = "torrent id=torrent#0.1 info_hash=0707070707070707070707070707070707070707";
        let peer = format!("{torrent} > peer conn=conn#4.1 address=192.0.2.1:6881");
        assert!(
            lines.contains(&format!(
                "DEBUG [{peer}] message=closed reason=closed by the peer"
            )),
            "{lines:#?}"
        );
        let job = format!("WARN [{torrent} > operation op=op#1.1 kind=\"close\"]");
        assert!(
            lines.iter().any(|line| line.starts_with(&job)),
            "{lines:#?}"
        );
        assert!(trace.torrents.is_empty() && trace.peers.is_empty() && trace.operations.is_empty());
    }

    #[test]
    fn messages_are_named_at_the_level_of_traces_alone() {
        let named = |level| {
            let (lines, _) = heard(level);
            lines.iter().any(|line| line.contains("5 B: interested"))
        };
        assert!(named(Level::TRACE));
        assert!(!named(Level::DEBUG));
    }

    #[test]
    fn at_the_level_of_warnings_only_faults_are_told() {
        let (lines, _) = heard(Level::WARN);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("gone"), "{lines:#?}");
    }

    #[test]
    fn the_keys_of_trackers_are_not_told() {
        let (lines, _) = heard(Level::TRACE);
        let told = |word: &str| lines.iter().any(|line| line.contains(word));
        assert!(told("https://tracker.example:8443"), "{lines:#?}");
        assert!(!told("secret"), "{lines:#?}");
    }
}
