//! `anabranch dht`: asks the distributed hash table, or is a node of it.

use std::env;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anabranch_core::Config;
use anabranch_core::dht::{
    DhtFamilyStatus, DhtPath, DhtStatus, DhtStored, Item, MutableItem, SecretKey, Value,
};
use anabranch_core::error::CommandError;
use anabranch_driver::{Client, DhtOptions, Error};
use serde::Serialize;
use smol::Timer;
use smol::channel::Receiver;
use smol::future::or;

use crate::args::{
    Dht, DhtCommand, DhtCommon, DhtGet, DhtGetPeers, DhtNetwork, DhtNode, DhtPing, DhtPut, ItemId,
    Listening, PeerAddress, parse_key,
};
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::output::{
    Event, Output, eprint_line, json, lines::plural, print, text::printable, text::reason,
};
use crate::session;
use crate::units;

/// How long a node may take to get to know others.
const JOIN_LIMIT: Duration = Duration::from_secs(30);

/// How often it is looked whether it does.
const JOIN_LOOK: Duration = Duration::from_millis(50);

/// How the DHT is joined. A client that only this machine can reach (`inside`) has no business with the
/// public network; nor has one that is told which nodes to begin with.
pub(super) fn options(network: &DhtNetwork, inside: bool) -> DhtOptions {
    let public = network.dht_nodes.is_empty() && !inside;
    let options = match public {
        true => DhtOptions::public(),
        false => DhtOptions::new(),
    };
    let nodes = network.dht_nodes.iter();
    let options = nodes.fold(options, |options, node| match node {
        PeerAddress::Socket(address) => options.bootstrap(address.ip().to_string(), address.port()),
        PeerAddress::Name { host, port } => options.bootstrap(host, *port),
    });
    with_state(options, network, public)
}

fn with_state(options: DhtOptions, network: &DhtNetwork, public: bool) -> DhtOptions {
    let usual = || public.then(usual_state).flatten();
    match network.dht_state.clone().or_else(usual) {
        Some(path) => options.state_file(path),
        None => options,
    }
}

/// Where the state is kept unless told otherwise, if there is a place for such things.
fn usual_state() -> Option<PathBuf> {
    Some(state_folder()?.join("dht"))
}

/// The user's folder for what is remembered from one run to the next, if there is one.
pub(crate) fn state_folder() -> Option<PathBuf> {
    let folder = |name: &str| {
        let path = PathBuf::from(env::var_os(name)?);
        // By the XDG specification, others are to be ignored.
        path.is_absolute().then_some(path)
    };
    let state = folder("XDG_STATE_HOME")
        .or_else(|| folder("LOCALAPPDATA"))
        .or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("anabranch"))
}

/// Where to listen, or to send from. The usual port is left to nodes that stay, and one family is enough: whoever has
/// no way into the other would wait for what is asked there in vain.
fn listening(args: &Dht) -> Listening {
    let common = common(args);
    let told = common.listening.port.is_some() || !common.listening.listen.is_empty();
    let v6 = match &args.command {
        DhtCommand::Node(_) => return common.listening.clone(),
        _ if told => return common.listening.clone(),
        DhtCommand::Ping(ping) => match ping.node.socket() {
            Some(address) => address.is_ipv6(),
            None => is_v6(&common.network.dht_nodes),
        },
        DhtCommand::GetPeers(_)
        | DhtCommand::Stats(_)
        | DhtCommand::Get(_)
        | DhtCommand::Put(_) => is_v6(&common.network.dht_nodes),
    };
    let everywhere: IpAddr = match v6 {
        true => Ipv6Addr::UNSPECIFIED.into(),
        false => Ipv4Addr::UNSPECIFIED.into(),
    };
    Listening {
        listen: vec![SocketAddr::new(everywhere, 0)],
        port: None,
    }
}

pub(crate) fn is_json(args: &Dht) -> bool {
    common(args).json
}

fn common(args: &Dht) -> &DhtCommon {
    match &args.command {
        DhtCommand::GetPeers(args) => &args.common,
        DhtCommand::Ping(args) => &args.common,
        DhtCommand::Node(args) => &args.common,
        DhtCommand::Stats(args) => &args.common,
        DhtCommand::Get(args) => &args.common,
        DhtCommand::Put(args) => &args.common,
    }
}

pub(crate) fn run(args: &Dht) -> Result<Exit, Failure> {
    let common = common(args);
    // What is wrong with the input is told before anything is sent.
    let put = match &args.command {
        DhtCommand::Put(args) => Some(Put::new(args)?),
        DhtCommand::GetPeers(_)
        | DhtCommand::Ping(_)
        | DhtCommand::Node(_)
        | DhtCommand::Stats(_)
        | DhtCommand::Get(_) => None,
    };
    let options = match &args.command {
        DhtCommand::Node(node) if node.alone => {
            with_state(DhtOptions::new(), &common.network, false)
        }
        DhtCommand::Ping(_)
        | DhtCommand::Node(_)
        | DhtCommand::GetPeers(_)
        | DhtCommand::Stats(_)
        | DhtCommand::Get(_)
        | DhtCommand::Put(_) => options(&common.network, common.listening.is_inside()),
    };
    let options = match &args.command {
        DhtCommand::Node(node) => {
            let options = options.read_only(node.read_only);
            match node.reply_rate {
                Some(rate) => options.reply_rate(rate),
                None => options,
            }
        }
        // It knows whom to ask, and keeps nothing of it.
        DhtCommand::Ping(_) => DhtOptions::new().read_only(true),
        DhtCommand::GetPeers(_)
        | DhtCommand::Stats(_)
        | DhtCommand::Get(_)
        | DhtCommand::Put(_) => options.read_only(true),
    };
    let signals = interrupt::listen()?;
    let mut config = Config::default();
    config.local_discovery = false;
    let client = session::start(
        common.runtime,
        config,
        Some(options),
        &listening(args),
        None,
    )?;
    let mut output = Output::new(common.json);
    smol::block_on(async {
        let work = async {
            for warning in client.warnings() {
                let message = warning.clone();
                output.tell(&Event::Warning { message })?;
            }
            let mut vigil = Vigil {
                client: &client,
                output: &mut output,
                patience: patience(args),
                joins: !matches!(args.command, DhtCommand::Ping(_)),
                nodes: session::Checks::new(&client, &common.network.dht_nodes),
            };
            match &args.command {
                DhtCommand::GetPeers(args) => get_peers(&mut vigil, args).await,
                DhtCommand::Ping(args) => ping(&mut vigil, args).await,
                DhtCommand::Node(args) => node(&mut vigil, args, &signals).await,
                DhtCommand::Stats(_) => stats(&mut vigil, common.json).await,
                DhtCommand::Get(args) => get(&mut vigil, args).await,
                DhtCommand::Put(_) => match put {
                    Some(put) => put.store(&mut vigil, common.json).await,
                    // Made above.
                    None => Ok(Exit::Failure),
                },
            }
        };
        // Node has its own use of signals.
        let is_node = matches!(args.command, DhtCommand::Node(_));
        let signal = async {
            match signals.recv().await {
                Ok(exit) if !is_node => Ok(exit),
                Ok(_) | Err(_) => std::future::pending().await,
            }
        };
        let result = match is_node {
            true => work.await,
            false => or(signal, work).await,
        };
        output.clear();
        // The state is saved; there is nothing else to be lost.
        let _ = client.shutdown().await;
        result
    })
}

fn patience(args: &Dht) -> Option<Duration> {
    match &args.command {
        DhtCommand::GetPeers(args) => args.patience.timeout,
        DhtCommand::Ping(args) => args.patience.timeout,
        DhtCommand::Stats(args) => args.patience.timeout,
        DhtCommand::Get(args) => args.patience.timeout,
        DhtCommand::Put(args) => args.patience.timeout,
        DhtCommand::Node(_) => None,
    }
}

/// What ends a wait.
enum Step<T> {
    Done(T),
    Node(Event),
    Tick,
}

/// Waits for what others must answer, and tells meanwhile what it waits for and what has come.
struct Vigil<'a> {
    client: &'a Client,
    output: &'a mut Output,
    /// How long it waits at most.
    patience: Option<Duration>,
    /// Whether nodes must be known before anything can be asked.
    joins: bool,
    /// The nodes that were named.
    nodes: session::Checks,
}

impl Vigil<'_> {
    /// Waits for what `doing` says.
    async fn over<T>(
        &mut self,
        doing: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let mut work = std::pin::pin!(work);
        loop {
            let heard = self.heard().await?;
            self.output.wait(&format!("{doing}: {heard}"));
            if let Some(limit) = self.patience
                && began.elapsed() >= limit
            {
                self.output.clear();
                let limit = units::limit(limit);
                let failure = format!("{doing}: no answer in {limit}: {heard}");
                return Err(Failure::timed_out(failure).advise(match self.joins {
                    true => "wait longer with another --timeout, or name a node with --dht-node",
                    false => "wait longer with another --timeout, or ask another node",
                }));
            }
            let left = self
                .patience
                .map(|limit| limit.saturating_sub(began.elapsed()));
            let pause = left.unwrap_or(Duration::MAX).min(self.output.interval());
            let tick = async {
                Timer::after(pause).await;
                Step::Tick
            };
            let nodes = &mut self.nodes;
            let node = async { Step::Node(nodes.next().await) };
            let done = async { Step::Done((&mut work).await) };
            match or(done, or(node, tick)).await {
                Step::Tick => {}
                Step::Node(failed) => self.output.tell(&failed)?,
                Step::Done(result) => {
                    self.output.clear();
                    return result;
                }
            }
        }
    }

    /// Who is known, and who has answered.
    async fn heard(&self) -> Result<String, Failure> {
        let status = self.client.dht_stats().await.map_err(failed)?;
        Ok(heard(&status, self.joins))
    }
}

pub(crate) fn heard(status: &DhtStatus, joins: bool) -> String {
    let counters = &status.counters;
    let nodes = match status.v4.nodes + status.v6.nodes {
        _ if !joins => String::new(),
        0 => "no node known, ".to_owned(),
        nodes => plural(nodes.into(), "node known, ", "nodes known, "),
    };
    let queries = plural(counters.queries_sent, "query", "queries");
    format!("{nodes}{} of {queries} answered", counters.answered)
}

/// Whether all nodes to begin with have IPv6 addresses.
fn is_v6(nodes: &[PeerAddress]) -> bool {
    let v6 = |node: &PeerAddress| node.socket().is_some_and(|socket| socket.is_ipv6());
    !nodes.is_empty() && nodes.iter().all(v6)
}

fn failed(error: Error) -> Failure {
    let nobody = matches!(error, Error::Command(CommandError::NoDhtNodes));
    let failure = Failure::new(reason(&error));
    match nobody {
        true => failure.advise(
            "check the connection to the network, or name a node that is up with --dht-node",
        ),
        false => failure,
    }
}

/// The object that `dht get-peers --json` writes.
#[derive(Debug, Serialize)]
struct PeersFound {
    info_hash: String,
    /// Addresses of peers, as claimed.
    peers: Vec<SocketAddr>,
    #[serde(flatten)]
    path: PathTaken,
}

/// How a lookup went.
#[derive(Debug, Serialize)]
struct PathTaken {
    /// Nodes that were asked.
    asked: u32,
    /// Nodes that answered.
    replied: u32,
    /// How many were asked one after the other to find the closest.
    hops: u8,
    took_ms: u64,
}

impl From<&DhtPath> for PathTaken {
    fn from(path: &DhtPath) -> Self {
        Self {
            asked: path.asked,
            replied: path.replied,
            hops: path.hops,
            took_ms: millis(path.took),
        }
    }
}

async fn get_peers(vigil: &mut Vigil<'_>, args: &DhtGetPeers) -> Result<Exit, Failure> {
    let client = vigil.client;
    let doing = "asking the DHT";
    let asking = async { client.dht_get_peers(args.torrent).await.map_err(failed) };
    let found = vigil.over(doing, asking).await?;
    let path = PathTaken::from(&found.path);
    if args.common.json {
        json::tell(&PeersFound {
            info_hash: args.torrent.to_string(),
            peers: found.peers,
            path,
        })?;
        return answered(&found.path);
    }
    let lines: Vec<String> = found.peers.iter().map(|peer| format!("{peer}\n")).collect();
    print(&lines.concat())?;
    eprint_line(&format!(
        "{} by {} of {}, {}, in {} ms",
        plural(lines.len() as u64, "peer", "peers"),
        path.replied,
        plural(path.asked.into(), "node", "nodes"),
        plural(path.hops.into(), "hop", "hops"),
        path.took_ms
    ));
    answered(&found.path)
}

/// That there are no peers is an answer, if somebody gave it.
fn answered(path: &DhtPath) -> Result<Exit, Failure> {
    if path.asked == 0 || path.replied > 0 {
        return Ok(Exit::Done);
    }
    let nodes = plural(path.asked.into(), "node", "nodes");
    Err(failed(CommandError::NoDhtAnswer.into()).advise(format!(
        "{nodes} did not answer; name one that is up with --dht-node"
    )))
}

/// The object that `dht ping --json` writes.
#[derive(Debug, Serialize)]
struct Pong {
    address: SocketAddr,
    id: String,
    /// Its software, as far as it says so.
    version: Option<String>,
    took_ms: u64,
}

async fn ping(vigil: &mut Vigil<'_>, args: &DhtPing) -> Result<Exit, Failure> {
    let client = vigil.client;
    let address = match &args.node {
        PeerAddress::Socket(address) => *address,
        PeerAddress::Name { host, port } => {
            let doing = format!("looking {host} up");
            let asking = async {
                let found = smol::net::resolve((host.as_str(), *port)).await;
                found.map_err(|error| {
                    Failure::new(format!("cannot find {host}: {}", reason(&error)))
                        .advise("check the name, or give an IP address")
                })
            };
            let found = vigil.over(&doing, asking).await?;
            // What is listened on has one family.
            let v6 = client.listen_addrs().iter().all(SocketAddr::is_ipv6);
            let fits = found.iter().find(|address| address.is_ipv6() == v6);
            *fits.ok_or_else(|| {
                Failure::new(format!(
                    "{host} has no address that can be reached from here"
                ))
                .advise("try --listen [::]:0")
            })?
        }
    };
    let asking = async {
        let pong = client.dht_ping(address).await;
        let refused = Failure::new(format!("DHT node {address}: {}", session::REFUSED))
            .advise("check the address and the port, or ask another node");
        pong.map_err(
            |error| match matches!(error, Error::Command(CommandError::DhtRefused)) {
                true => refused,
                false => failed(error),
            },
        )
    };
    let pong = vigil.over(&format!("asking {address}"), asking).await?;
    let pong = Pong {
        address,
        id: pong.id.to_string(),
        version: pong.version,
        took_ms: millis(pong.took),
    };
    if args.common.json {
        json::tell(&pong)?;
        return Ok(Exit::Done);
    }
    let version = pong.version.as_deref().map(printable);
    print(&format!(
        "{address} is {} ({}), in {} ms\n",
        pong.id,
        version.as_deref().unwrap_or("software unknown"),
        pong.took_ms
    ))?;
    Ok(Exit::Done)
}

/// The object that `dht stats --json` writes, and `dht node --json` now and then.
#[derive(Debug, Serialize)]
struct Stats {
    event: &'static str,
    ipv4: Family,
    ipv6: Family,
    /// Torrents, their peers and items that are kept for others.
    torrents: u32,
    peers: u32,
    items: u32,
    /// Bytes.
    received: u64,
    sent: u64,
    /// Our queries.
    queries_sent: u64,
    answered: u64,
    unanswered: u64,
    /// Those of others that were answered, and that were not because of a rate limit.
    served: u64,
    limited: u64,
    /// Announces of others that were kept.
    announces: u64,
}

#[derive(Debug, Serialize)]
struct Family {
    id: String,
    /// Our address as others see it, if they agree.
    external: Option<IpAddr>,
    /// Whether the neighbours have been found.
    ready: bool,
    /// Nodes that are known, and those that are good.
    nodes: u32,
    good: u32,
}

impl From<&DhtFamilyStatus> for Family {
    fn from(family: &DhtFamilyStatus) -> Self {
        Self {
            id: family.id.to_string(),
            external: family.external,
            ready: family.ready,
            nodes: family.nodes,
            good: family.good,
        }
    }
}

impl From<&DhtStatus> for Stats {
    fn from(status: &DhtStatus) -> Self {
        let counters = &status.counters;
        Self {
            event: "dht",
            ipv4: (&status.v4).into(),
            ipv6: (&status.v6).into(),
            torrents: status.torrents,
            peers: status.peers,
            items: status.items,
            received: counters.received,
            sent: counters.sent,
            queries_sent: counters.queries_sent,
            answered: counters.answered,
            unanswered: counters.unanswered,
            served: counters.served,
            limited: counters.limited,
            announces: counters.announces,
        }
    }
}

impl Stats {
    fn tell(&self, json: bool) -> Result<(), Failure> {
        match json {
            true => json::tell(self),
            false => print(&self.line()),
        }
    }

    fn line(&self) -> String {
        let family = |name: &str, family: &Family| {
            let external = family.external.map(|ip| format!(" as {ip}"));
            let external = external.unwrap_or_default();
            format!(
                "{name}{external}: {} of {} nodes good",
                family.good, family.nodes
            )
        };
        format!(
            "{}, {}; keeps {} of {} and {}; asked {}, {} answered; served {}, refused {}; received {}, sent {}\n",
            family("IPv4", &self.ipv4),
            family("IPv6", &self.ipv6),
            plural(self.peers.into(), "peer", "peers"),
            plural(self.torrents.into(), "torrent", "torrents"),
            plural(self.items.into(), "item", "items"),
            self.queries_sent,
            self.answered,
            self.served,
            self.limited,
            units::size(self.received),
            units::size(self.sent),
        )
    }
}

async fn stats(vigil: &mut Vigil<'_>, json: bool) -> Result<Exit, Failure> {
    let client = vigil.client;
    let joining = async {
        let until = Instant::now() + JOIN_LIMIT;
        loop {
            let status = client.dht_stats().await.map_err(failed)?;
            let late = Instant::now() >= until;
            if status.v4.ready || status.v6.ready || late {
                return Ok((status, late));
            }
            Timer::after(JOIN_LOOK).await;
        }
    };
    let (status, late) = vigil.over("joining the DHT", joining).await?;
    Stats::from(&status).tell(json)?;
    match late && status.v4.nodes + status.v6.nodes == 0 {
        true => Err(failed(CommandError::NoDhtNodes.into())),
        false => Ok(Exit::Done),
    }
}

async fn node(
    vigil: &mut Vigil<'_>,
    args: &DhtNode,
    signals: &Receiver<Exit>,
) -> Result<Exit, Failure> {
    let Vigil {
        client,
        output,
        nodes,
        ..
    } = vigil;
    for address in client.listen_addrs() {
        output.tell(&Event::Listening { address: *address })?;
    }
    let mut next = Instant::now() + args.interval.max(JOIN_LOOK);
    loop {
        let tick = async {
            Timer::at(next).await;
            Step::Tick
        };
        let named = async { Step::Node(nodes.next().await) };
        let signal = async {
            match signals.recv().await {
                Ok(_) => Step::Done(()),
                // Nobody is left to send one.
                Err(_) => std::future::pending().await,
            }
        };
        let step = or(signal, or(named, tick)).await;
        if let Step::Node(failed) = &step {
            output.tell(failed)?;
            continue;
        }
        next += args.interval.max(JOIN_LOOK);
        let asked = matches!(step, Step::Done(()));
        let status = client.dht_stats().await.map_err(failed)?;
        Stats::from(&status).tell(args.common.json)?;
        if asked {
            return Ok(Exit::Done);
        }
    }
}

/// The object that `dht get --json` writes.
#[derive(Debug, Serialize)]
struct ItemFound {
    target: String,
    /// What its owner counts its changes by, if it can be changed.
    seq: Option<i64>,
    /// The value, if it is text.
    text: Option<String>,
    /// The value, bencoded, in hexadecimal.
    bencoded: String,
}

async fn get(vigil: &mut Vigil<'_>, args: &DhtGet) -> Result<Exit, Failure> {
    let client = vigil.client;
    let asking = async {
        let item = match &args.item {
            ItemId::Immutable(target) => {
                let value = client.dht_get(*target).await;
                value.map(|value| value.map(Item::Immutable))
            }
            ItemId::Mutable(key) => {
                let salt = args.salt.clone().into_bytes();
                let item = client.dht_get_mutable(*key, salt).await;
                item.map(|item| item.map(Item::Mutable))
            }
        };
        item.map_err(failed)
    };
    let Some(item) = vigil.over("asking the DHT for the item", asking).await? else {
        if client.dht_stats().await.map_err(failed)?.counters.answered == 0 {
            return Err(failed(CommandError::NoDhtAnswer.into())
                .advise("name a node that is up with --dht-node"));
        }
        return Err(Failure::incomplete("nobody has this item")
            .advise("items are forgotten two hours after they were last put"));
    };
    let text = string(item.value()).and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    let found = ItemFound {
        target: item.target().to_string(),
        seq: match &item {
            Item::Immutable(_) => None,
            Item::Mutable(item) => Some(item.seq()),
        },
        bencoded: hex(item.value()),
        text,
    };
    if args.common.json {
        json::tell(&found)?;
        return Ok(Exit::Done);
    }
    let shown = match &found.text {
        Some(text) => printable(text).to_string(),
        None => printable(&String::from_utf8_lossy(item.value())).to_string(),
    };
    print(&(shown + "\n"))?;
    Ok(Exit::Done)
}

/// What a bencoded string has.
fn string(bencoded: &[u8]) -> Option<&[u8]> {
    let first = bencoded.first()?;
    let colon = bencoded.iter().position(|byte| *byte == b':')?;
    first.is_ascii_digit().then(|| &bencoded[colon + 1..])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is to be stored.
struct Put {
    value: Value,
    owner: Option<(SecretKey, Vec<u8>)>,
}

/// The object that `dht put --json` writes.
#[derive(Debug, Serialize)]
struct ItemStored {
    /// What `dht get` takes.
    item: String,
    target: String,
    seq: Option<i64>,
    /// How many nodes took it.
    nodes: u32,
}

impl Put {
    fn new(args: &DhtPut) -> Result<Self, Failure> {
        let value = Value::from_string(args.text.as_bytes());
        let value = value.map_err(|error| Failure::usage(error.to_string()))?;
        let owner = match &args.key {
            Some(path) => Some((secret(path)?, args.salt.clone().into_bytes())),
            None => None,
        };
        Ok(Self { value, owner })
    }

    async fn store(self, vigil: &mut Vigil<'_>, json: bool) -> Result<Exit, Failure> {
        let client = vigil.client;
        let storing = async {
            match self.owner {
                None => {
                    let stored = client.dht_put(self.value).await.map_err(failed)?;
                    Ok((stored.target.to_string(), None, stored))
                }
                Some((secret, salt)) => {
                    let key = secret.public();
                    let before = client.dht_get_mutable(key, salt.clone()).await;
                    let before = before.map_err(failed)?.map(|item| item.seq());
                    let seq = before.unwrap_or_default().saturating_add(1);
                    let signed = MutableItem::sign(&secret, salt, seq, self.value);
                    let signed = signed.map_err(|error| Failure::usage(error.to_string()))?;
                    let stored = client.dht_put_mutable(signed, before).await;
                    Ok((hex(&key), Some(seq), stored.map_err(failed)?))
                }
            }
        };
        let (item, seq, stored) = vigil.over("storing in the DHT", storing).await?;
        refuse_vain(&stored)?;
        let stored = ItemStored {
            item,
            target: stored.target.to_string(),
            seq,
            nodes: stored.nodes,
        };
        if json {
            json::tell(&stored)?;
            return Ok(Exit::Done);
        }
        print(&format!("{}\n", stored.item))?;
        let nodes = plural(stored.nodes.into(), "node has", "nodes have");
        eprint_line(&format!("{nodes} it"));
        Ok(Exit::Done)
    }
}

fn refuse_vain(stored: &DhtStored) -> Result<(), Failure> {
    if stored.nodes > 0 {
        return Ok(());
    }
    Err(Failure::new(match &stored.refusal {
        Some((code, why)) => format!("no node took it: {why} (error {code})"),
        None => "no node took it".to_owned(),
    }))
}

fn secret(path: &Path) -> Result<SecretKey, Failure> {
    let text = fs::File::open(path).and_then(|file| {
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(file, 100), &mut text)?;
        Ok(text)
    });
    let text = text.map_err(|error| Failure::io("read", path, &error))?;
    let seed = parse_key(text.trim()).ok_or_else(|| {
        let path = path.display();
        Failure::usage(format!("{path} does not have 64 hexadecimal digits"))
            .advise("make one with: openssl rand -hex 32")
    })?;
    Ok(SecretKey::new(&seed))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(nodes: &[&str], state: Option<&str>) -> DhtNetwork {
        DhtNetwork {
            dht_nodes: nodes.iter().map(|node| node.parse().unwrap()).collect(),
            dht_state: state.map(PathBuf::from),
        }
    }

    #[test]
    fn who_only_this_machine_can_reach_knows_nobody_outside_and_keeps_nothing() {
        for inside in ["127.0.0.1:0", "127.9.9.9:6881", "[::1]:0"] {
            let listening = Listening {
                listen: vec![inside.parse().unwrap()],
                port: None,
            };
            assert!(listening.is_inside());
        }
        assert!(!Listening::default().is_inside());
        assert_eq!(options(&network(&[], None), true), DhtOptions::new());
        assert_eq!(
            options(&network(&["h:1", "[::1]:2"], Some("f")), true),
            DhtOptions::new()
                .bootstrap("h", 1)
                .bootstrap("::1", 2)
                .state_file("f")
        );
    }

    #[test]
    fn a_network_of_ones_own_is_not_mixed_with_the_public_one() {
        let own = options(&network(&["192.0.2.1:5"], None), false);
        assert_eq!(own, DhtOptions::new().bootstrap("192.0.2.1", 5));
        assert_eq!(
            options(&network(&[], Some("f")), false),
            DhtOptions::public().state_file("f")
        );
    }

    #[test]
    fn the_family_is_that_of_the_nodes_to_begin_with() {
        let nodes = |texts: &[&str]| network(texts, None).dht_nodes;
        assert!(is_v6(&nodes(&["[2001:db8::1]:5", "[::1]:6"])));
        for texts in [&[][..], &["[::1]:5", "192.0.2.1:5"], &["name:5"]] {
            assert!(!is_v6(&nodes(texts)), "{texts:?}");
        }
    }

    #[test]
    fn values_are_shown_without_their_length() {
        assert_eq!(string(b"5:hello"), Some(&b"hello"[..]));
        assert_eq!(string(b"0:"), Some(&b""[..]));
        assert_eq!(string(b"li1ee"), None);
        assert_eq!(string(b"d1:a1:be"), None);
        assert_eq!(string(b""), None);
    }
}
