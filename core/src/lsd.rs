//! BEP 14: tells the local network which torrents we take part in, and hears it of others.

use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use crate::action::{Action, Actions};
use crate::ctx::Timer;
use crate::datagram::Outbound;
use crate::id::TorrentId;
use crate::metainfo::InfoHash;
use crate::ratelimit::Bucket;
use crate::time::Instant;
use crate::timer::Timers;
use crate::wire::LsdAnnounce;
use crate::wire::lsd::{GROUP_V4, GROUP_V6, MAX_INFO_HASHES};

/// How often a torrent is announced (BEP 14).
const INTERVAL: Duration = Duration::from_secs(300);

/// The least time between two announcements (BEP 14). What waits for the next one shares it.
const PAUSE: Duration = Duration::from_secs(60);

/// How long an announcement waits for torrents that are added at the same time.
const GATHER: Duration = Duration::from_secs(1);

/// Announcements a second that are read; a network full of clients is quieter. The bucket counts in
/// thousands.
const MAX_HEARD: u64 = 100;

/// Our side of the local discovery, for all torrents.
#[derive(Debug)]
pub(crate) struct Lsd {
    /// The groups that the driver reaches.
    groups: Vec<SocketAddr>,
    /// Tells our own announcements from those of others.
    cookie: String,
    /// Torrents that take part, and when each is announced next.
    torrents: BTreeMap<TorrentId, Instant>,
    queue: BTreeSet<(Instant, TorrentId)>,
    /// From when on the next announcement may be made.
    open_at: Instant,
    heard: Bucket,
}

impl Lsd {
    /// Nothing is announced before [`set_groups`](Self::set_groups).
    pub(crate) fn new(cookie: u32, now: Instant) -> Self {
        Self {
            groups: Vec::new(),
            cookie: format!("{cookie:08x}"),
            torrents: BTreeMap::new(),
            queue: BTreeSet::new(),
            open_at: now,
            heard: Bucket::new(Some(1_000 * MAX_HEARD), now),
        }
    }

    /// The driver reaches the groups of these address families, and hears what is said there.
    pub(crate) fn set_groups(
        &mut self,
        v4: bool,
        v6: bool,
        now: Instant,
        timers: &mut Timers<Timer>,
    ) {
        let groups = [(v4, GROUP_V4), (v6, GROUP_V6)];
        let groups = groups.into_iter().filter(|(reached, _)| *reached);
        self.groups = groups.map(|(_, group)| group).collect();
        self.arm(now, timers);
    }

    /// A torrent takes part from now on.
    pub(crate) fn join(&mut self, torrent: TorrentId, now: Instant, timers: &mut Timers<Timer>) {
        if let Entry::Vacant(place) = self.torrents.entry(torrent) {
            place.insert(now);
            self.queue.insert((now, torrent));
            self.arm(now, timers);
        }
    }

    /// A torrent does not take part any more.
    pub(crate) fn leave(&mut self, torrent: TorrentId) {
        if let Some(due) = self.torrents.remove(&torrent) {
            self.queue.remove(&(due, torrent));
        }
    }

    /// The time for an announcement has come. `port` is where we listen, if we do; `info_hash` knows
    /// the torrents.
    pub(crate) fn announce(
        &mut self,
        now: Instant,
        port: u16,
        info_hash: impl Fn(TorrentId) -> Option<InfoHash>,
        timers: &mut Timers<Timer>,
        actions: &mut Actions,
    ) {
        if port == 0 || self.groups.is_empty() {
            // Who cannot be dialled has nothing to say. The next torrent or port sets the timer.
            return;
        }
        if self.open_at > now {
            self.arm(now, timers);
            return;
        }
        let due = self.queue.iter().take_while(|(due, _)| *due <= now);
        let due: Vec<(Instant, TorrentId)> = due.take(MAX_INFO_HASHES).copied().collect();
        let mut info_hashes = Vec::with_capacity(due.len());
        for (at, torrent) in due {
            self.queue.remove(&(at, torrent));
            self.torrents.insert(torrent, now + INTERVAL);
            self.queue.insert((now + INTERVAL, torrent));
            info_hashes.extend(info_hash(torrent));
        }
        if !info_hashes.is_empty() {
            let announce = LsdAnnounce {
                port,
                info_hashes,
                cookie: Some(self.cookie.clone()),
            };
            for group in &self.groups {
                let data = Bytes::from(announce.encode(*group));
                actions.push(Action::Datagram(Outbound::new(*group, data)));
            }
            self.open_at = now + PAUSE;
        }
        self.arm(now, timers);
    }

    /// The port that we listen on has changed.
    pub(crate) fn on_listening(&mut self, now: Instant, timers: &mut Timers<Timer>) {
        self.arm(now, timers);
    }

    /// A packet came to a group. Where a peer listens that is not ourselves, and for which torrents.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: &[u8],
    ) -> Option<(SocketAddr, Vec<InfoHash>)> {
        if self.heard.available(now) < 1_000 {
            return None;
        }
        self.heard.take(now, 1_000);
        let announce = LsdAnnounce::decode(packet).ok()?;
        if announce.cookie.as_ref() == Some(&self.cookie) {
            return None;
        }
        let mut peer = from;
        peer.set_port(announce.port);
        Some((peer, announce.info_hashes))
    }

    fn arm(&self, now: Instant, timers: &mut Timers<Timer>) {
        if self.groups.is_empty() {
            timers.cancel(Timer::Lsd);
            return;
        }
        if let Some((due, _)) = self.queue.first() {
            let at = (*due).max(self.open_at).max(now + GATHER);
            timers.set_no_later(Timer::Lsd, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    const NOW: Instant = Instant::from_millis(9_000);

    struct Rig {
        lsd: Lsd,
        timers: Timers<Timer>,
        now: Instant,
    }

    impl Rig {
        fn new() -> Self {
            let mut rig = Self {
                lsd: Lsd::new(7, NOW),
                timers: Timers::default(),
                now: NOW,
            };
            rig.lsd.set_groups(true, true, NOW, &mut rig.timers);
            rig
        }

        fn join(&mut self, number: u32) {
            let torrent = TorrentId::new(number, 1);
            self.lsd.join(torrent, self.now, &mut self.timers);
        }

        /// Lets the timer go off; what was said to the first group, and when.
        fn next(&mut self) -> Option<(u64, LsdAnnounce)> {
            let at = self.timers.deadline(Timer::Lsd)?;
            self.now = self.now.max(at);
            self.timers.cancel(Timer::Lsd);
            let mut actions = Actions::new();
            let hash = |torrent: TorrentId| Some(InfoHash::new([torrent.slot() as u8; 20]));
            self.lsd
                .announce(self.now, 6881, hash, &mut self.timers, &mut actions);
            let said: Vec<Action> = actions.drain().collect();
            let [
                Action::Datagram(Outbound { to, data, .. }),
                Action::Datagram(Outbound { to: other, .. }),
            ] = &said[..]
            else {
                panic!("{said:?}");
            };
            assert_eq!((*to, *other), (GROUP_V4, GROUP_V6));
            let seconds = self.now.since(NOW).as_secs();
            Some((seconds, LsdAnnounce::decode(data).unwrap()))
        }
    }

    #[test]
    fn a_torrent_is_announced_at_once_and_every_five_minutes() {
        let mut rig = Rig::new();
        assert_eq!(rig.next(), None);
        rig.join(1);
        let times: Vec<u64> = (0..3).map(|_| rig.next().unwrap().0).collect();
        assert_eq!(times, [1, 301, 601]);
        rig.lsd.leave(TorrentId::new(1, 1));
        let mut actions = Actions::new();
        rig.lsd
            .announce(rig.now, 1, |_| None, &mut rig.timers, &mut actions);
        assert!(actions.is_empty());
    }

    #[test]
    fn many_torrents_share_announcements_that_keep_their_distance() {
        let mut rig = Rig::new();
        (0..60).for_each(|number| rig.join(number));
        let mut said = Vec::new();
        for expected in [(1, 24), (61, 24), (121, 12), (301, 24)] {
            let (at, announce) = rig.next().unwrap();
            assert_eq!((at, announce.info_hashes.len()), expected);
            said.extend(announce.info_hashes);
        }
        said.truncate(60);
        said.sort_unstable();
        said.dedup();
        assert_eq!(said.len(), 60, "each had its turn");
    }

    #[test]
    fn who_cannot_be_dialled_or_reaches_nobody_is_silent() {
        let mut rig = Rig::new();
        rig.join(1);
        let mut actions = Actions::new();
        let hash = |_| Some(InfoHash::new([1; 20]));
        let later = NOW + Duration::from_secs(5);
        rig.lsd
            .announce(later, 0, hash, &mut rig.timers, &mut actions);
        assert!(actions.is_empty());
        rig.lsd.set_groups(false, false, later, &mut rig.timers);
        rig.lsd
            .announce(later, 1, hash, &mut rig.timers, &mut actions);
        assert!(actions.is_empty());
        assert_eq!(rig.timers.deadline(Timer::Lsd), None);
    }

    #[test]
    fn others_are_heard_but_not_ourselves_and_not_a_flood() {
        let mut rig = Rig::new();
        rig.join(1);
        let (_, mut announce) = rig.next().unwrap();
        let from = "192.168.0.7:50000".parse().unwrap();
        let packet = announce.encode(GROUP_V4);
        assert_eq!(rig.lsd.hear(rig.now, from, &packet), None, "ourselves");
        announce.cookie = Some("another".to_string());
        let packet = announce.encode(GROUP_V4);
        let heard = rig.lsd.hear(rig.now, from, &packet);
        let peer = "192.168.0.7:6881".parse().unwrap();
        assert_eq!(heard, Some((peer, announce.info_hashes)));
        let now = rig.now;
        let heard = (0..10_000).filter(|_| rig.lsd.hear(now, from, &packet).is_some());
        let heard = heard.count();
        assert!((1..1_000).contains(&heard), "{heard}");
        assert_eq!(rig.lsd.hear(now, from, b"BT-SEARCH"), None);
    }
}
