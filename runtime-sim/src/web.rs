//! HTTP servers of files, which answer for ranges of their bytes.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use anabranch_core::event::{ContactError, HttpReply};
use bytes::{Bytes, BytesMut};

use crate::config::time_for;
use crate::content::Content;
use crate::event::Happening;
use crate::http::{Asker, Visit};
use crate::world::{TRACKER_BIT, World};

/// Set beside [`TRACKER_BIT`] in the number of a place on the network that is a web server.
pub(crate) const WEB_BIT: u32 = 1 << 30;

/// The port on which web servers listen.
const WEB_PORT: u16 = 80;

/// What a web server sends at a time, so that answers share its link.
const CHUNK: u64 = 16 << 10;

/// A web server of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebId(pub(crate) u32);

impl fmt::Display for WebId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "web server {}", self.0)
    }
}

/// How a web server behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebMode {
    /// As it should: 206 for a range that is there, 200 without one, 416 and 404 for what is not.
    #[default]
    Working,
    /// Nothing listens there.
    Refusing,
    /// It takes the request and says nothing.
    Silent,
    /// It takes so long before it begins to answer.
    Slow(Duration),
    /// It answers with this status and nothing else.
    Status(u16),
    /// The body is so many bytes too short.
    Short(u64),
    /// The body is so many bytes too long.
    Long(u64),
    /// The first byte of each body is wrong.
    Corrupt,
    /// It knows no ranges: always 200, and the whole file.
    NoRanges,
}

#[derive(Debug)]
pub(crate) struct WebServer {
    address: SocketAddr,
    address6: SocketAddr,
    rate: Option<u64>,
    mode: WebMode,
    files: BTreeMap<String, Content>,
    asked: u64,
    /// Answers under way, in turn.
    sending: VecDeque<Answer>,
    busy: bool,
}

/// An answer of which `left` bytes have not been sent.
#[derive(Debug)]
pub(crate) struct Answer {
    left: u64,
    part: Part,
}

/// What is owed to whom when the last byte has come.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    host: u32,
    life: u32,
    asker: Asker,
    result: Result<HttpReply, ContactError>,
    len: u64,
}

impl World {
    /// Adds a web server that can send so many bytes a second, to all together; none is no limit. It
    /// has addresses of both families.
    pub fn add_web_server(&mut self, rate: Option<u64>) -> WebId {
        let index = self.webs.len() as u32;
        let [_, high, middle, low] = (index + 1).to_be_bytes();
        let v4 = IpAddr::from([11, high, middle, low]);
        let v6 = IpAddr::from([0x2a0b, 0, 0, 0, 0, 0, (index >> 16) as u16, index as u16]);
        self.webs.push(WebServer {
            address: SocketAddr::new(v4, WEB_PORT),
            address6: SocketAddr::new(v6, WEB_PORT),
            rate,
            mode: WebMode::default(),
            files: BTreeMap::new(),
            asked: 0,
            sending: VecDeque::new(),
            busy: false,
        });
        WebId(index)
    }

    /// Puts a torrent's bytes, end to end, on a web server. Returns its URL.
    ///
    /// # Panics
    ///
    /// When the server is of another world.
    pub fn publish(&mut self, web: WebId, name: &str, content: &Content) -> String {
        let Some(server) = self.webs.get_mut(web.0 as usize) else {
            panic!("there is no {web}");
        };
        server.files.insert(format!("/{name}"), content.clone());
        format!("http://{}/{name}", server.address)
    }

    /// A web server's addresses: one of IPv4 and one of IPv6.
    ///
    /// # Panics
    ///
    /// When the server is of another world.
    pub fn web_addresses(&self, web: WebId) -> [SocketAddr; 2] {
        let server = self.web(web);
        [server.address, server.address6]
    }

    /// How many requests have reached a web server.
    ///
    /// # Panics
    ///
    /// When the server is of another world.
    pub fn web_requests(&self, web: WebId) -> u64 {
        self.web(web).asked
    }

    fn web(&self, web: WebId) -> &WebServer {
        match self.webs.get(web.0 as usize) {
            Some(found) => found,
            None => panic!("there is no {web}"),
        }
    }

    pub(crate) fn set_web_mode(&mut self, web: WebId, mode: WebMode) {
        if let Some(server) = self.webs.get_mut(web.0 as usize) {
            server.mode = mode;
        }
    }

    pub(crate) fn web_at(&self, address: SocketAddr) -> Option<u32> {
        let own = |server: &WebServer| server.address == address || server.address6 == address;
        self.webs.iter().position(own).map(|index| index as u32)
    }

    /// A request has come to a web server.
    pub(crate) fn visit_web(&mut self, visit: Visit) {
        let now = self.now;
        let back = self.latency(visit.server, visit.host);
        let index = visit.server & !(TRACKER_BIT | WEB_BIT);
        let Some(server) = self.webs.get_mut(index as usize) else {
            return;
        };
        server.asked += 1;
        let mut delay = Duration::ZERO;
        match &server.mode {
            WebMode::Silent => return,
            WebMode::Refusing => {
                let error = ContactError::Unreachable(String::from("connection refused"));
                return self.finish_exchange(visit.host, visit.asker, Err(error), now + back);
            }
            WebMode::Slow(time) => delay = *time,
            WebMode::Working
            | WebMode::Status(_)
            | WebMode::Short(_)
            | WebMode::Long(_)
            | WebMode::Corrupt
            | WebMode::NoRanges => {}
        }
        let (status, body) = server.answer(&visit.path, visit.range.clone());
        let limit = visit.body_limit;
        let (len, result) = if body.len() as u64 > u64::from(limit) {
            // Reading stops at the limit.
            (u64::from(limit), Err(ContactError::TooLarge { limit }))
        } else {
            (
                body.len() as u64,
                Ok(HttpReply {
                    status,
                    body,
                    retry_after: None,
                }),
            )
        };
        let part = Part {
            host: visit.host,
            life: visit.life,
            asker: visit.asker,
            result,
            len: 0,
        };
        let answer = Box::new(Answer { left: len, part });
        let begin = Happening::WebAnswer { web: index, answer };
        self.queue.push(now + delay, begin);
    }

    /// A web server begins with an answer.
    pub(crate) fn on_web_answer(&mut self, web: u32, answer: Answer) {
        if let Some(server) = self.webs.get_mut(web as usize) {
            server.sending.push_back(answer);
            if !std::mem::replace(&mut server.busy, true) {
                self.on_web_free(web);
            }
        }
    }

    /// A web server's link is free for the next part of an answer.
    pub(crate) fn on_web_free(&mut self, web: u32) {
        let Some(server) = self.webs.get_mut(web as usize) else {
            return;
        };
        let Some(mut answer) = server.sending.pop_front() else {
            server.busy = false;
            return;
        };
        let len = answer.left.min(CHUNK);
        answer.left -= len;
        let last = answer.left == 0;
        let free = self.now + time_for(len, server.rate);
        let mut part = Part {
            len,
            ..answer.part.clone()
        };
        if !last {
            // The body comes with the last part.
            part.result = Err(ContactError::TimedOut);
            server.sending.push_back(answer);
        }
        let arrives = free + self.latency(web | TRACKER_BIT | WEB_BIT, part.host);
        let part = Box::new(part);
        self.queue.push(arrives, Happening::WebChunk { part, last });
        self.queue.push(free, Happening::WebFree { web });
    }

    /// A part of an answer has come to the last link, where it waits its turn.
    pub(crate) fn on_web_chunk(&mut self, part: Part, last: bool) {
        let now = self.now;
        if self.life(part.host) != part.life || !self.path_is_open(part.host, TRACKER_BIT) {
            return;
        }
        let Some(host) = self.hosts.get_mut(part.host as usize) else {
            return;
        };
        let begins = host.downlink_free_at.max(now);
        let ends = begins + time_for(part.len, host.config.link.down);
        if host.config.link.down.is_some() {
            host.downlink_free_at = ends;
        }
        if last {
            self.finish_exchange(part.host, part.asker, part.result, ends);
        }
    }
}

impl WebServer {
    fn answer(&self, path: &str, range: Option<Range<u64>>) -> (u16, Bytes) {
        if let WebMode::Status(status) = self.mode {
            return (status, Bytes::new());
        }
        let Some(content) = self.files.get(path) else {
            return (404, Bytes::new());
        };
        let whole = 0..content.length();
        let range = range.filter(|_| self.mode != WebMode::NoRanges);
        let (status, range) = match range {
            None => (200, whole),
            Some(range) if range.start >= whole.end || range.is_empty() => {
                return (416, Bytes::new());
            }
            Some(range) => (206, range.start..range.end.min(whole.end)),
        };
        let range = match self.mode {
            WebMode::Short(bytes) => range.start..range.end.saturating_sub(bytes).max(range.start),
            WebMode::Working
            | WebMode::Refusing
            | WebMode::Silent
            | WebMode::Slow(_)
            | WebMode::Status(_)
            | WebMode::Long(_)
            | WebMode::Corrupt
            | WebMode::NoRanges => range,
        };
        let mut body = BytesMut::from(&bytes_of(content, range)[..]);
        match self.mode {
            WebMode::Long(bytes) => body.extend((0..bytes).map(|_| 0)),
            WebMode::Corrupt => {
                if let Some(first) = body.first_mut() {
                    *first ^= 0xff;
                }
            }
            WebMode::Working
            | WebMode::Refusing
            | WebMode::Silent
            | WebMode::Slow(_)
            | WebMode::Status(_)
            | WebMode::Short(_)
            | WebMode::NoRanges => {}
        }
        (status, body.freeze())
    }
}

/// Bytes of a torrent's files, end to end.
fn bytes_of(content: &Content, range: Range<u64>) -> Vec<u8> {
    let piece_length = u64::from(content.metainfo().piece_length().max(1));
    let mut bytes = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let piece = (at / piece_length) as u32;
        let begin = (at % piece_length) as u32;
        let len = (range.end - at).min(u64::from(u32::MAX)) as u32;
        let part = content.slice(piece, begin, len);
        if part.is_empty() {
            break;
        }
        at += part.len() as u64;
        bytes.extend_from_slice(&part);
    }
    bytes
}
