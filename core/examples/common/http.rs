//! HTTP as a tracker needs it at least: one `GET`, and all until the server closes is the reply.
//!
//! A real client brings TLS, redirects and compression, most likely with a library.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};

use anabranch_core::action::HttpRequest;
use anabranch_core::event::{ContactError, HttpReply};
use bytes::{Buf, Bytes};
use url::{Position, Url};

/// A status line and headers may take so many bytes beside the body.
const HEAD: usize = 64 * 1024;

/// An exchange under way, on a stream that blocks or one that does not.
pub(crate) struct Exchange<S> {
    asked: HttpRequest,
    stream: S,
    unsent: Bytes,
    reply: Vec<u8>,
}

impl<S: Read + Write> Exchange<S> {
    /// Looks the server up, which blocks, and lets `connect` begin a connection to it.
    pub(crate) fn begin(
        asked: HttpRequest,
        connect: impl FnOnce(SocketAddr) -> io::Result<S>,
    ) -> Result<Self, ContactError> {
        let url = Url::parse(&asked.url).map_err(|error| failed(&error.to_string()))?;
        if url.scheme() != "http" {
            return Err(failed("this example speaks plain HTTP alone"));
        }
        // An IPv6 address stands in brackets in a URL, and nowhere else.
        let host = url.host_str().unwrap_or("").trim_matches(['[', ']']);
        let port = url.port_or_known_default().unwrap_or(80);
        let found = (host, port).to_socket_addrs();
        let found = found.map_err(|_| ContactError::NoSuchHost)?;
        let address = allowed(&asked, &url, found)?;
        // To a client of version 1.0 the server sends the reply in one piece, then closes.
        let text = format!(
            "GET {} HTTP/1.0\r\nHost: {}\r\nConnection: close\r\n\r\n",
            &url[Position::BeforePath..Position::AfterQuery],
            &url[Position::BeforeHost..Position::AfterPort],
        );
        let stream = connect(address);
        Ok(Self {
            asked,
            stream: stream.map_err(|error| ContactError::Unreachable(error.to_string()))?,
            unsent: text.into(),
            reply: Vec::new(),
        })
    }

    /// Goes on as far as the stream allows. None when that is not the end.
    pub(crate) fn advance(&mut self) -> Option<Result<HttpReply, ContactError>> {
        let not_yet = [io::ErrorKind::WouldBlock, io::ErrorKind::NotConnected];
        match self.transfer() {
            Ok(()) => Some(parse(&self.asked, &self.reply)),
            Err(error) if not_yet.contains(&error.kind()) => None,
            Err(error) => Some(Err(ContactError::Unreachable(error.to_string()))),
        }
    }

    fn transfer(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let len = self.stream.write(&self.unsent)?;
            self.unsent.advance(len);
        }
        let mut buffer = [0; 4096];
        while self.reply.len() <= HEAD + self.asked.body_limit as usize {
            match self.stream.read(&mut buffer)? {
                0 => break,
                len => self.reply.extend_from_slice(&buffer[..len]),
            }
        }
        Ok(())
    }
}

/// The first of a server's addresses that may be asked: services of this machine are, on paths of trackers
/// alone, unless the engine says otherwise. A name may lead to them, so this cannot be told before.
fn allowed(
    asked: &HttpRequest,
    url: &Url,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<SocketAddr, ContactError> {
    let mut refused = None;
    for address in found {
        if asked.local_paths.allows(address.ip(), url.path()) {
            return Ok(address);
        }
        refused = Some(address);
    }
    Err(refused.map_or(ContactError::NoSuchHost, |address| {
        failed(&format!(
            "{address} is this machine, and asked for no tracker"
        ))
    }))
}

/// Takes a reply apart that was read to its end, or beyond its limit.
fn parse(asked: &HttpRequest, reply: &[u8]) -> Result<HttpReply, ContactError> {
    let head = reply.windows(4).position(|end| end == b"\r\n\r\n");
    let head = head.ok_or_else(|| failed("not a reply in HTTP"))?;
    let (head, body) = reply.split_at(head + 4);
    let limit = asked.body_limit;
    if body.len() > limit as usize {
        return Err(ContactError::TooLarge { limit });
    }
    let head = String::from_utf8_lossy(head);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    if length.is_some_and(|length| length > body.len()) {
        return Err(failed("the reply was cut off"));
    }
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(HttpReply {
        status: status.ok_or_else(|| failed("not a reply in HTTP"))?,
        body: Bytes::copy_from_slice(body),
        retry_after: None,
    })
}

fn failed(why: &str) -> ContactError {
    ContactError::Failed(why.to_owned())
}
