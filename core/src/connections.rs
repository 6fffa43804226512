//! Every connection of an engine, from the first contact until `Closed`, and how many there may be.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::action::{Action, Actions};
use crate::config::Config;
use crate::eviction::{Census, Network};
use crate::id::{ConnId, TorrentId};
use crate::limits;
use crate::peer::handshake::{Greeting, Stage};
use crate::slab::Slab;
use crate::strangers::Strangers;
use crate::time::Instant;
use crate::transport::Transport;

/// What a connection is at the moment.
#[derive(Debug)]
pub(crate) enum Conn {
    /// Being made or introduced.
    Greeting(Greeting),
    /// A peer of this torrent, which knows the rest.
    Peer {
        torrent: TorrentId,
        address: SocketAddr,
    },
    /// We closed it; the driver has not answered.
    Closing {
        address: SocketAddr,
        /// Bytes that it had been handed to send, and may still have sent.
        unsent: u64,
    },
}

impl Conn {
    /// The torrent that it is about, as far as known.
    pub(crate) fn torrent(&self) -> Option<TorrentId> {
        match self {
            Self::Greeting(greeting) => greeting.torrent(),
            Self::Peer { torrent, .. } => Some(*torrent),
            Self::Closing { .. } => None,
        }
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Greeting(greeting) => greeting.address,
            Self::Peer { address, .. } | Self::Closing { address, .. } => *address,
        }
    }
}

/// The connections with one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Places {
    all: u32,
    /// Those that came in and have not named a torrent.
    strangers: u32,
}

/// The table of connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slab: Slab<ConnId, Conn>,
    /// Those that we make, until both sides are introduced.
    half_open: u32,
    /// Those that we closed and that the driver has not answered for.
    closing: u32,
    /// Those that came in, until they are peers.
    strangers: Strangers,
    /// All but those that are being closed.
    networks: Census,
    /// By address, whatever the port.
    addresses: BTreeMap<IpAddr, Places>,
    /// When the connections of this second began to be counted, and how many were begun since.
    second: Instant,
    begun: u32,
}

impl Connections {
    /// Begins to dial.
    pub(crate) fn dial(
        &mut self,
        torrent: TorrentId,
        to: SocketAddr,
        transport: Transport,
        actions: &mut Actions,
    ) -> ConnId {
        let conn = self.insert(Greeting::new(to, Stage::Dialling(torrent), transport));
        self.half_open += 1;
        self.begun += 1;
        match transport {
            Transport::Tcp => actions.push(Action::Connect { conn, to, torrent }),
            // The streams dial it.
            Transport::Utp => {}
        }
        conn
    }

    /// Takes in a connection that was made to us.
    pub(crate) fn accept(&mut self, from: SocketAddr, transport: Transport) -> ConnId {
        self.insert(Greeting::new(from, Stage::Incoming, transport))
    }

    fn insert(&mut self, greeting: Greeting) -> ConnId {
        let places = self
            .addresses
            .entry(greeting.address.ip().to_canonical())
            .or_default();
        places.all += 1;
        places.strangers += u32::from(greeting.is_incoming());
        let ip = greeting.address.ip();
        self.networks.add(ip);
        let incoming = greeting.is_incoming();
        let conn = self.slab.insert(Conn::Greeting(greeting));
        if incoming {
            let arrived = self.strangers.add(ip, conn);
            if let Some(Conn::Greeting(greeting)) = self.slab.get_mut(conn) {
                greeting.arrival = arrived;
            }
        }
        conn
    }

    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Conn> {
        self.slab.get_mut(conn)
    }

    pub(crate) fn get(&self, conn: ConnId) -> Option<&Conn> {
        self.slab.get(conn)
    }

    /// Whether it is time to dial a peer by another transport as well, if its time has come.
    pub(crate) fn may_have_rival(&self, conn: ConnId) -> bool {
        matches!(
            self.slab.get(conn),
            Some(Conn::Greeting(Greeting {
                is_first: true,
                stage: Stage::Dialling(_),
                ..
            }))
        )
    }

    /// One of two connections by which a peer was dialled failed. Says whether the other one is still there; it is alone from
    /// now on.
    pub(crate) fn part(&mut self, rival: ConnId) -> bool {
        match self.slab.get_mut(rival) {
            Some(Conn::Greeting(greeting)) => {
                greeting.rival = None;
                true
            }
            Some(Conn::Peer { .. } | Conn::Closing { .. }) | None => false,
        }
    }

    /// A dialled connection stands.
    pub(crate) fn connected(&mut self, conn: ConnId) -> Option<&mut Greeting> {
        let Some(Conn::Greeting(greeting)) = self.slab.get_mut(conn) else {
            return None;
        };
        let Stage::Dialling(torrent) = greeting.stage else {
            return None;
        };
        greeting.stage = Stage::Dialled(torrent);
        Some(greeting)
    }

    /// The handshake is complete: from now on the torrent answers for the connection.
    pub(crate) fn promote(&mut self, conn: ConnId, torrent: TorrentId) {
        if let Some(entry) = self.slab.get_mut(conn) {
            let address = entry.address();
            let was = core::mem::replace(entry, Conn::Peer { torrent, address });
            self.leave_greeting(&was);
        }
    }

    /// Ends a connection that has not become a peer's; `Closed` will follow.
    pub(crate) fn close(&mut self, conn: ConnId, actions: &mut Actions) {
        let unsent = match self.slab.get(conn) {
            Some(Conn::Greeting(greeting)) => greeting.unsent,
            Some(Conn::Peer { .. } | Conn::Closing { .. }) | None => 0,
        };
        self.close_peer(conn, unsent, actions);
    }

    /// Ends a peer's connection, on which so many bytes wait to be sent; `Closed` will follow.
    pub(crate) fn close_peer(&mut self, conn: ConnId, unsent: u64, actions: &mut Actions) {
        let Some(entry) = self.slab.get_mut(conn) else {
            return;
        };
        let address = entry.address();
        if matches!(entry, Conn::Closing { .. }) {
            return;
        }
        let was = core::mem::replace(entry, Conn::Closing { address, unsent });
        self.leave_greeting(&was);
        self.closing += 1;
        self.networks.remove(address.ip());
        actions.push(Action::Close { conn });
    }

    /// What was in the middle of its handshake, if it was, is not any more.
    fn leave_greeting(&mut self, was: &Conn) {
        let Conn::Greeting(greeting) = was else {
            return;
        };
        if !greeting.is_incoming() {
            self.half_open -= 1;
            return;
        }
        let ip = greeting.address.ip();
        self.strangers.remove(ip, greeting.arrival);
        if let Some(places) = self.addresses.get_mut(&ip.to_canonical()) {
            places.strangers -= 1;
        }
    }

    /// `Closed` came: the id is free.
    pub(crate) fn closed(&mut self, conn: ConnId) -> Option<Conn> {
        let entry = self.slab.remove(conn)?;
        self.leave_greeting(&entry);
        let ip = entry.address().ip().to_canonical();
        match entry {
            Conn::Closing { .. } => self.closing -= 1,
            Conn::Greeting(_) | Conn::Peer { .. } => self.networks.remove(ip),
        }
        if let Some(places) = self.addresses.get_mut(&ip) {
            places.all -= 1;
            if places.all == 0 {
                self.addresses.remove(&ip);
            }
        }
        Some(entry)
    }

    pub(crate) fn len(&self) -> u32 {
        self.slab.len() as u32
    }

    /// Whether all places are taken. One whose connection is being closed is free again, unless the driver
    /// is slow to do so.
    pub(crate) fn is_full(&self, config: &Config) -> bool {
        self.len() - self.closing >= config.max_connections || self.is_over(config)
    }

    /// Whether too many wait to be closed for any more to come.
    pub(crate) fn is_over(&self, config: &Config) -> bool {
        self.len() >= config.max_connections.saturating_add(limits::MAX_CLOSING)
    }

    /// Connections that came in and are no peers yet.
    pub(crate) fn strangers(&self) -> u32 {
        self.strangers.len()
    }

    /// Whose handshake is ended so that one more from this address can begin.
    pub(crate) fn displaced_by(&self, address: IpAddr) -> Option<ConnId> {
        self.strangers.first_to_go(address)
    }

    /// How many of the engine's places a network holds.
    pub(crate) fn held_by(&self, network: Network) -> u32 {
        self.networks.count(network)
    }

    /// Whether one more may be dialled now, or from when on, if there is a place for it.
    pub(crate) fn may_dial(
        &mut self,
        config: &Config,
        now: Instant,
    ) -> Result<(), Option<Instant>> {
        if self.half_open >= config.max_half_open || self.is_over(config) {
            // The end of another connection is the occasion.
            return Err(None);
        }
        let second = Duration::from_secs(1);
        if now.since(self.second) >= second {
            self.second = now;
            self.begun = 0;
        }
        if self.begun >= config.max_connects_per_second {
            return Err(Some(self.second + second));
        }
        Ok(())
    }

    /// Whether one more connection may come in from this address, whatever its port. How many a
    /// torrent takes from it is the torrent's concern, once the handshake has named it; until then,
    /// and over all torrents, one address must leave room for the others.
    pub(crate) fn has_room_for(&self, address: IpAddr, config: &Config) -> bool {
        let places = self.addresses.get(&address.to_canonical());
        let Places { all, strangers } = places.copied().unwrap_or_default();
        let each = config.max_connections_per_address;
        strangers < each && all < each.max(config.max_connections / 4)
    }

    /// Connections that a torrent's handshakes are under way on.
    pub(crate) fn greetings_of(&self, torrent: TorrentId) -> impl Iterator<Item = ConnId> + '_ {
        self.slab.iter().filter_map(move |(id, conn)| match conn {
            Conn::Greeting(greeting) => (greeting.torrent() == Some(torrent)).then_some(id),
            Conn::Peer { .. } | Conn::Closing { .. } => None,
        })
    }

    /// Connections that are in the middle of their handshake.
    pub(crate) fn greetings(&self) -> Vec<ConnId> {
        let greetings =
            |(id, conn): (ConnId, &Conn)| matches!(conn, Conn::Greeting(_)).then_some(id);
        self.slab.iter().filter_map(greetings).collect()
    }

    /// Whether there are any.
    pub(crate) fn has_greetings(&self) -> bool {
        self.half_open > 0 || self.strangers.len() > 0
    }

    /// Connections with an address, whatever the port.
    pub(crate) fn with(&self, address: IpAddr) -> impl Iterator<Item = ConnId> + '_ {
        let address = address.to_canonical();
        let same = move |conn: &Conn| conn.address().ip().to_canonical() == address;
        self.slab
            .iter()
            .filter_map(move |(id, conn)| same(conn).then_some(id))
    }

    /// Checks what must hold.
    pub(crate) fn check(&self) {
        let count = |test: fn(&Conn) -> bool| {
            let conns = self.slab.iter();
            conns.filter(|(_, conn)| test(conn)).count() as u32
        };
        let is_half_open =
            |conn: &Conn| matches!(conn, Conn::Greeting(greeting) if !greeting.is_incoming());
        assert_eq!(
            count(is_half_open),
            self.half_open,
            "half-open connections are counted right"
        );
        let closing = count(|conn| matches!(conn, Conn::Closing { .. }));
        assert_eq!(closing, self.closing, "so are those being closed");
        let mut networks = Census::default();
        for (_, conn) in self.slab.iter() {
            match conn {
                Conn::Greeting(_) | Conn::Peer { .. } => networks.add(conn.address().ip()),
                Conn::Closing { .. } => {}
            }
        }
        assert_eq!(networks, self.networks, "and the networks' shares");
        self.strangers
            .check(self.slab.iter().filter_map(|(id, conn)| match conn {
                Conn::Greeting(greeting) if greeting.is_incoming() => {
                    Some((id, greeting.address.ip(), greeting.arrival))
                }
                Conn::Greeting(_) | Conn::Peer { .. } | Conn::Closing { .. } => None,
            }));
        let mut addresses = BTreeMap::<IpAddr, Places>::new();
        for (_, conn) in self.slab.iter() {
            let places = addresses.entry(conn.address().ip().to_canonical());
            let places = places.or_default();
            places.all += 1;
            places.strangers += u32::from(is_stranger(conn));
        }
        assert_eq!(
            addresses, self.addresses,
            "connections are counted right by address"
        );
    }
}

fn is_stranger(conn: &Conn) -> bool {
    matches!(conn, Conn::Greeting(greeting) if greeting.is_incoming())
}
