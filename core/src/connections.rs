//! Every connection of an engine, from the first contact until `Closed`, and how many there may be.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::action::{Action, Actions};
use crate::config::Config;
use crate::id::{ConnId, TorrentId};
use crate::peer::handshake::{Greeting, Stage};
use crate::slab::Slab;
use crate::time::Instant;

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
    Closing { address: SocketAddr },
}

impl Conn {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Greeting(greeting) => greeting.address,
            Self::Peer { address, .. } | Self::Closing { address } => *address,
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
    half_open: u32,
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
        actions: &mut Actions,
    ) -> ConnId {
        let conn = self.insert(Greeting::new(to, Stage::Dialling(torrent)));
        self.half_open += 1;
        self.begun += 1;
        actions.push(Action::Connect { conn, to, torrent });
        conn
    }

    /// Takes in a connection that was made to us.
    pub(crate) fn accept(&mut self, from: SocketAddr) -> ConnId {
        self.insert(Greeting::new(from, Stage::Incoming))
    }

    fn insert(&mut self, greeting: Greeting) -> ConnId {
        let places = self
            .addresses
            .entry(greeting.address.ip().to_canonical())
            .or_default();
        places.all += 1;
        places.strangers += u32::from(greeting.is_incoming());
        self.slab.insert(Conn::Greeting(greeting))
    }

    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Conn> {
        self.slab.get_mut(conn)
    }

    pub(crate) fn get(&self, conn: ConnId) -> Option<&Conn> {
        self.slab.get(conn)
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
        self.half_open -= 1;
        Some(greeting)
    }

    /// The handshake is complete: from now on the torrent answers for the connection.
    pub(crate) fn promote(&mut self, conn: ConnId, torrent: TorrentId) {
        if let Some(entry) = self.slab.get_mut(conn) {
            let address = entry.address();
            let was = core::mem::replace(entry, Conn::Peer { torrent, address });
            self.know(&was);
        }
    }

    /// Ends a connection; `Closed` will follow.
    pub(crate) fn close(&mut self, conn: ConnId, actions: &mut Actions) {
        let Some(entry) = self.slab.get_mut(conn) else {
            return;
        };
        let address = entry.address();
        if matches!(entry, Conn::Closing { .. }) {
            return;
        }
        if is_dialling(entry) {
            self.half_open -= 1;
        }
        let was = core::mem::replace(entry, Conn::Closing { address });
        self.know(&was);
        actions.push(Action::Close { conn });
    }

    /// A connection is no stranger any more, if it was one.
    fn know(&mut self, was: &Conn) {
        if is_stranger(was)
            && let Some(places) = self.addresses.get_mut(&was.address().ip().to_canonical())
        {
            places.strangers -= 1;
        }
    }

    /// `Closed` came: the id is free.
    pub(crate) fn closed(&mut self, conn: ConnId) -> Option<Conn> {
        let entry = self.slab.remove(conn)?;
        if is_dialling(&entry) {
            self.half_open -= 1;
        }
        self.know(&entry);
        let ip = entry.address().ip().to_canonical();
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

    /// Whether one more may be dialled now, or from when on.
    pub(crate) fn may_dial(
        &mut self,
        config: &Config,
        now: Instant,
    ) -> Result<(), Option<Instant>> {
        if self.half_open >= config.max_half_open || self.len() >= config.max_connections {
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

    /// Connections with an address, whatever the port.
    pub(crate) fn with(&self, address: IpAddr) -> impl Iterator<Item = ConnId> + '_ {
        let address = address.to_canonical();
        let same = move |conn: &Conn| conn.address().ip().to_canonical() == address;
        self.slab
            .iter()
            .filter_map(move |(id, conn)| same(conn).then_some(id))
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.slab.keys()
    }

    /// Checks what must hold.
    pub(crate) fn check(&self) {
        let dialling = self
            .slab
            .iter()
            .filter(|(_, conn)| is_dialling(conn))
            .count();
        assert_eq!(
            dialling as u32, self.half_open,
            "half-open connections are counted right"
        );
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

fn is_dialling(conn: &Conn) -> bool {
    match conn {
        Conn::Greeting(greeting) => matches!(greeting.stage, Stage::Dialling(_)),
        Conn::Peer { .. } | Conn::Closing { .. } => false,
    }
}
