//! BEP 5, 43: how a client takes part in the distributed hash table, and the file that it is kept in from run to run.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use anabranch_core::dht::DhtState;
use anabranch_core::metainfo::Node;
use anabranch_core::{Config, Instant};

use tracing::warn;

use crate::whole_file::{replace_file, set_aside};

/// Nodes that are there for everybody to get to know others by, as host and port. Their operators are those of
/// widespread clients.
pub const DHT_ROUTERS: [(&str, u16); 3] = [
    ("router.bittorrent.com", 6881),
    ("dht.transmissionbt.com", 6881),
    ("dht.libtorrent.org", 25401),
];

/// How often the state is saved while the client runs, beside when it ends.
pub const DHT_SAVE_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// When it is saved for the first time: a node has found its neighbours by then.
const FIRST_SAVE: Duration = Duration::from_secs(60);

/// How long the end waits for the file.
const END_LIMIT: Duration = Duration::from_secs(5);

/// The largest file that is read, in bytes. What is written has less than 23 KB.
const MAX_STATE: u64 = 64 << 10;

/// How a client takes part in the DHT: see [`ClientBuilder::dht`](crate::ClientBuilder::dht).
///
/// By default it answers others, knows nobody to begin with, and keeps nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct DhtOptions {
    /// Whether it asks but does not answer (BEP 43).
    pub read_only: bool,
    /// The nodes to get to know others by.
    pub bootstrap: Vec<Node>,
    /// The file that the node's places and the nodes it knows are kept in.
    pub state_file: Option<PathBuf>,
    /// The bound on the answers to all others together, in bytes a second, if it is not the usual one.
    pub reply_rate: Option<u64>,
}

impl DhtOptions {
    /// A node that knows nobody. It gets to know others by peers, torrents, and those that ask it.
    pub fn new() -> Self {
        Self::default()
    }

    /// A node of the public network: one that gets to know others by the [`DHT_ROUTERS`].
    pub fn public() -> Self {
        let routers = DHT_ROUTERS.iter();
        routers.fold(Self::new(), |options, (host, port)| {
            options.bootstrap(*host, *port)
        })
    }

    /// Whether it asks but does not answer (BEP 43): for a program that ends soon, or a machine that cannot be reached.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Bounds the answers to all others together, in bytes a second, instead of as
    /// [`DhtConfig::reply_rate`](anabranch_core::dht::DhtConfig::reply_rate) does by default: more is of use to a node
    /// that many begin with. The limits for each party stay.
    pub fn reply_rate(mut self, rate: u64) -> Self {
        self.reply_rate = Some(rate);
        self
    }

    /// Adds a node to get to know others by: a name or an IP address, and its UDP port. Names are looked up when they are
    /// needed, and anew when nobody answers.
    pub fn bootstrap(mut self, host: impl Into<String>, port: u16) -> Self {
        let host = host.into();
        self.bootstrap.push(Node { host, port });
        self
    }

    /// Keeps the node's places and the nodes it knows in a file. It is read at the start; written
    /// at the end and every [`DHT_SAVE_INTERVAL`], whole or not at all, with the folders above it.
    /// A file that is damaged, or is something else, gets another name first; what is no regular
    /// file stays, and nothing is kept. [`Client::warnings`](crate::Client::warnings) tells. Of
    /// clients that share a file, the last one to write it wins.
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_file = Some(path.into());
        self
    }

    /// Puts this into a configuration. Tells of a file that is there and cannot be used.
    pub(crate) fn apply(self, config: &mut Config) -> (Option<Keeper>, Option<String>) {
        let dht = &mut config.dht;
        dht.enabled = true;
        dht.read_only = self.read_only;
        dht.bootstrap = self.bootstrap;
        dht.reply_rate = self.reply_rate.or(dht.reply_rate);
        let Some(path) = self.state_file else {
            return (None, None);
        };
        let displayed = path.display();
        match read(&path) {
            Ok(state) => {
                dht.state = state.or(dht.state.take());
                (Some(Keeper::new(path)), None)
            }
            // What somebody else has there, or what might yet be mended, is never written over.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => match set_aside(&path) {
                Ok(aside) => {
                    let aside = aside.display();
                    let warning = format!(
                        "the DHT begins anew: {displayed} is no state of its, and is now {aside}: {error}"
                    );
                    (Some(Keeper::new(path)), Some(warning))
                }
                Err(error) => (None, Some(not_kept(&path, &error))),
            },
            Err(error) => (None, Some(not_kept(&path, &error))),
        }
    }
}

fn not_kept(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    format!(
        "the DHT begins anew, and its state is not kept: cannot use {path}, which stays as it is: {error}"
    )
}

/// What a file says; none if there is no file, or nothing in it. What is no state is [`io::ErrorKind::InvalidData`].
fn read(path: &Path) -> io::Result<Option<DhtState>> {
    let about = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        about => about?,
    };
    // Opening a pipe waits for somebody to write to it, and reading a device might not end.
    if !about.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_STATE + 1).read_to_end(&mut bytes)?;
    let invalid = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() as u64 > MAX_STATE {
        return invalid("too long");
    }
    match DhtState::from_bytes(&bytes) {
        // A dictionary of something else looks like a state with nothing in it.
        Ok(state) if state == DhtState::default() && bytes != state.to_bytes() => {
            invalid("nothing of a DHT in it")
        }
        Ok(state) => Ok(Some(state)),
        Err(error) => invalid(&error.to_string()),
    }
}

/// Writes the state, with the folders above it.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder)?;
    }
    replace_file(path, bytes)
}

/// Writes the state to its file, on threads that live as long as that takes. What cannot be written is lost: it only
/// makes the next start faster.
#[derive(Debug)]
pub(crate) struct Keeper {
    path: PathBuf,
    /// When it is to be saved; none before the first look at the clock.
    next: Option<Instant>,
    /// Disconnected when what was begun is written.
    writer: Option<mpsc::Receiver<()>>,
}

impl Keeper {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            next: None,
            writer: None,
        }
    }

    /// Whether the state should be saved now.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let next = *self.next.get_or_insert(now + FIRST_SAVE);
        if now < next || self.is_writing() {
            return false;
        }
        self.next = Some(now + DHT_SAVE_INTERVAL);
        true
    }

    /// Begins to save, behind what is being written.
    pub(crate) fn save(&mut self, state: &DhtState) {
        let before = self.writer.take();
        let (path, bytes) = (self.path.clone(), state.to_bytes());
        let (done, writer) = mpsc::channel();
        let thread = std::thread::Builder::new().name("anabranch-dht".into());
        let spawned = thread.spawn(move || {
            // An error says that it is over, which is what is waited for.
            let _ = before.map(|before| before.recv());
            if let Err(error) = write(&path, &bytes) {
                warn!(path = %path.display(), %error, "the state of the DHT is not saved");
            }
            drop(done);
        });
        self.writer = spawned.is_ok().then_some(writer);
    }

    fn is_writing(&self) -> bool {
        let writer = self.writer.as_ref();
        writer.is_some_and(|writer| writer.try_recv() == Err(mpsc::TryRecvError::Empty))
    }
}

impl Drop for Keeper {
    /// Whoever waited for the end of the client finds the file, unless the disk hangs.
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            let _ = writer.recv_timeout(END_LIMIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use anabranch_core::dht::NodeId;

    use super::*;

    fn applied(path: &Path) -> (Config, Option<Keeper>, Option<String>) {
        let mut config = Config::default();
        let options = DhtOptions::new().state_file(path);
        let (keeper, warning) = options.apply(&mut config);
        (config, keeper, warning)
    }

    fn state() -> DhtState {
        let mut state = DhtState::default();
        state.id = Some(NodeId::new([7; 20]));
        state
    }

    #[test]
    fn what_is_saved_is_there_when_the_keeper_is_gone_and_is_restored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/folder/dht");
        let (_, keeper, warning) = applied(&path);
        assert_eq!(warning, None);
        let mut keeper = keeper.unwrap();
        keeper.save(&DhtState::default());
        keeper.save(&state());
        drop(keeper);
        let (config, _, warning) = applied(&path);
        assert_eq!((config.dht.state, warning), (Some(state()), None));
        // No half-written file stays behind.
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_is_no_state_and_is_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dht");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let (config, keeper, warning) = applied(&path);
        assert_eq!(config.dht.state, None);
        assert!(keeper.is_none());
        assert!(warning.unwrap().contains("not a regular file"));
    }

    #[test]
    fn what_is_no_state_is_told_and_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dht");
        let long = [b"d1:a70000:".to_vec(), vec![b'x'; 70_000], b"e".to_vec()].concat();
        let torrent = b"d4:infod4:name1:xe5:nodesll1:hi1eeee".to_vec();
        for (number, bytes) in (1..).zip([b"garbage".to_vec(), torrent, long]) {
            fs::write(&path, &bytes).unwrap();
            let (config, keeper, warning) = applied(&path);
            assert_eq!(config.dht.state, None);
            assert!(warning.unwrap().contains("begins anew"));
            let mut keeper = keeper.unwrap();
            keeper.save(&state());
            drop(keeper);
            let aside = folder.path().join(format!("dht.{number}"));
            assert_eq!(fs::read(aside).unwrap(), bytes);
            assert_eq!(applied(&path).0.dht.state, Some(state()));
        }
        // Nothing is lost with what is empty.
        fs::write(&path, "").unwrap();
        let (_, keeper, warning) = applied(&path);
        assert!(keeper.is_some() && warning.is_none());
        fs::write(&path, DhtState::default().to_bytes()).unwrap();
        assert_eq!(applied(&path).2, None);
        // What is no file stays.
        let (config, keeper, warning) = applied(folder.path());
        assert!(config.dht.state.is_none() && keeper.is_none() && warning.is_some());
    }

    #[test]
    fn it_is_saved_after_a_minute_and_then_now_and_again() {
        let mut keeper = Keeper::new("unused".into());
        let start = Instant::from_nanos(5);
        assert!(!keeper.is_due(start));
        assert!(!keeper.is_due(start + FIRST_SAVE / 2));
        assert!(keeper.is_due(start + FIRST_SAVE));
        assert!(!keeper.is_due(start + FIRST_SAVE + DHT_SAVE_INTERVAL / 2));
        assert!(keeper.is_due(start + FIRST_SAVE + DHT_SAVE_INTERVAL));
    }

    #[test]
    fn the_public_network_is_known_by_names() {
        let mut config = Config::default();
        assert!(!config.dht.enabled);
        let usual = config.dht.reply_rate;
        DhtOptions::public().read_only(true).apply(&mut config);
        assert!(config.dht.enabled && config.dht.read_only);
        assert_eq!(config.dht.bootstrap.len(), DHT_ROUTERS.len());
        assert_eq!(config.dht.reply_rate, usual);
        DhtOptions::new().reply_rate(5_000).apply(&mut config);
        assert_eq!(config.dht.reply_rate, Some(5_000));
    }
}
