//! RFC 9112: one exchange over a connection of its own.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::task::Poll;
use std::time::{Duration, Instant};

use anabranch_core::event::ContactError;
use data_encoding::BASE64;
use url::{Host, Url};

use crate::http::body::Body;
use crate::http::ending::{Ending, Watch};
use crate::http::head::{Head, Heads};
use crate::http::tls::{Session, Tls};
use crate::http::{is_redirect, parse, until};
use crate::runtime::{HttpAnswer, HttpContent, HttpHop, Stream, Timer, USER_AGENT};

/// Read at a time, in bytes.
const CHUNK: usize = 16 << 10;

/// Bytes on the wire that may come on top of twice [`HttpHop::body_limit`]: heads, what stands around
/// chunks, and TLS with its certificates. So what is read of a server that never comes to the point is
/// bounded by more than the time limit. Nothing of it is kept.
const MAX_OVERHEAD: u64 = 256 << 10;

/// Reads that follow on one another before others have their turn.
const READS_PER_TURN: u32 = 8;

/// How long a server may be silent in a body, after which what has come is all there is: lengths are told
/// wrong, and connections stay open behind what is whole.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// In the middle of it.
    within: Duration,
    /// Behind the end of what is bencoded, where the framing promises more.
    behind: Duration,
    /// Where the framing says that it is whole, and the bencoding that it is not.
    beyond: Duration,
}

impl Patience {
    fn for_content(content: HttpContent) -> Self {
        let (within, beyond) = match content {
            HttpContent::TrackerReply => (5, 2),
            // It is larger, comes from whatever somebody linked to, and nothing else waits for it.
            HttpContent::TorrentFile | HttpContent::Anything => (20, 5),
        };
        Self {
            within: Duration::from_secs(within),
            behind: Duration::from_millis(500),
            beyond: Duration::from_secs(beyond),
        }
    }
}

/// Makes one HTTP exchange over a connection that is dialled for it: what
/// [`Runtime::http`](crate::Runtime::http) asks for.
///
/// What comes is read as leniently as can be said of it what was meant, the same on every runtime:
///
/// - *Heads*: lines that end in LF alone, a space before the colon, folded lines, lines that are no
///   header, any status, interim replies in front. At most 64 KiB altogether.
/// - *Lengths*: a connection that ends, by TLS's rules or not, ends the body. A body that is shorter
///   than was promised, or lacks its last chunk, is what has come of it, if anything has: the code
///   that reads the body knows whether that is whole. What has come together with the end of a body
///   whose length is too short belongs to it. Chunks that are none are the body itself. A server that
///   is silent for long in the middle of a body, by `timer`, has ended it too: for 5 seconds in a tracker's
///   reply, for 20 in anything else.
/// - *Bencoding* tells by itself where it ends, packed or not. Where a length ends in the middle of
///   it, what comes later belongs to it, as long as the server is not silent for 2 seconds (a torrent
///   file: 5). Where it is whole and the framing promises more, half a second of silence is enough.
/// - *Redirects* are known by their heads; their bodies are not read.
///
/// The connection is closed afterwards. One torrent's announces are minutes apart, longer than servers keep
/// an idle connection; only where many torrents of one tracker begin or end together would another one be
/// of use, and there TLS resumes its sessions, which saves the certificates though not the round trips.
/// Against that stands that this reader takes bodies whose end the framing does not tell, behind which
/// nobody knows what comes next, and that servers which say that they keep a connection and do not are a
/// source of errors.
///
/// At most twice [`HttpHop::body_limit`] and 256 KiB are read, and memory is bounded by
/// [`HttpHop::body_limit`] and some 150 KiB.
///
/// # Errors
///
/// As those of [`Runtime::http`](crate::Runtime::http).
pub async fn get<S: Stream>(
    dial: impl Future<Output = io::Result<S>>,
    mut timer: impl Timer,
    tls: &Tls,
    hop: &HttpHop,
) -> Result<HttpAnswer, ContactError> {
    let url = parse(&hop.url)?;
    // Before anybody is contacted: without TLS there is nothing to say to them.
    let session = match url.scheme() {
        "https" => Some(tls.session(&url).await?),
        _ => None,
    };
    let stream = dial
        .await
        .map_err(|error| ContactError::Unreachable(words(&error)))?;
    let mut channel = Channel {
        wire: Wire {
            stream,
            left: MAX_OVERHEAD + 2 * u64::from(hop.body_limit),
            reads: 0,
        },
        session,
    };
    channel.shake_hands().await?;
    let unsent = match channel.send(&request(&url)).await {
        Ok(()) => None,
        // A server that does not want to hear the rest may have answered already.
        Err(Fault::Cut(why)) => Some(why),
        Err(Fault::Fatal(error)) => return Err(error),
    };
    let patience = Patience::for_content(hop.content);
    reply(&mut channel, &mut timer, patience, hop)
        .await
        .map_err(|fault| match fault {
            Fault::Cut(why) => ContactError::Failed(unsent.unwrap_or(why)),
            Fault::Fatal(error) => error,
        })
}

/// Why a connection is of no more use.
pub(super) enum Fault {
    /// It ended, in these words; what came before may be all there is.
    Cut(String),
    /// Nothing that has come is worth anything.
    Fatal(ContactError),
}

impl From<ContactError> for Fault {
    fn from(error: ContactError) -> Self {
        Self::Fatal(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Cut(words(&error))
    }
}

/// The request's bytes.
fn request(url: &Url) -> Vec<u8> {
    let mut host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => format!("[{address}]"),
        None => String::new(),
    };
    // `Some` where it is not the scheme's own.
    if let Some(port) = url.port() {
        host += &format!(":{port}");
    }
    let path = url.path();
    let query = url.query().map(|query| format!("?{query}"));
    let query = query.unwrap_or_default();
    let login = login(url)
        .map(|login| format!("Authorization: Basic {login}\r\n"))
        .unwrap_or_default();
    format!(
        "GET {path}{query} HTTP/1.1\r\n\
         Host: {host}\r\n\
         User-Agent: {USER_AGENT}\r\n\
         Accept: */*\r\n\
         Accept-Encoding: gzip\r\n\
         {login}\
         Connection: close\r\n\
         \r\n"
    )
    .into_bytes()
}

/// RFC 7617: the user's name and password in a URL.
fn login(url: &Url) -> Option<String> {
    let password = url.password();
    if url.username().is_empty() && password.is_none() {
        return None;
    }
    let mut plain: Vec<u8> = percent_encoding::percent_decode_str(url.username()).collect();
    plain.push(b':');
    plain.extend(percent_encoding::percent_decode_str(
        password.unwrap_or_default(),
    ));
    Some(BASE64.encode(&plain))
}

async fn reply<S: Stream>(
    channel: &mut Channel<S>,
    timer: &mut impl Timer,
    patience: Patience,
    hop: &HttpHop,
) -> Result<HttpAnswer, Fault> {
    let mut buf = vec![0; CHUNK];
    let (head, rest) = head(channel, &mut buf).await?;
    let mut answer = HttpAnswer {
        status: head.status,
        location: head.location,
        retry_after: head.retry_after,
        coding: head.coding,
        ..HttpAnswer::default()
    };
    let leads_on = answer.location.is_some() && is_redirect(answer.status);
    if leads_on || matches!(answer.status, 204 | 304) {
        return Ok(answer);
    }
    let mut watch = Watch::new(hop.content, answer.coding.as_deref(), hop.body_limit);
    let mut body = Body::new(head.framing, hop.body_limit);
    let mut is_counted = body.push(&rest)?;
    loop {
        let ending = watch.look(body.so_far(), is_counted);
        let max_silence = match (is_counted, ending) {
            (true, Ending::Incomplete) if body.may_go_on() => Some(patience.beyond),
            (true, _) => break,
            (false, Ending::Whole) => Some(patience.behind),
            (false, _) if body.has_begun() => Some(patience.within),
            // The time limit of the exchange is the one that counts.
            (false, _) => None,
        };
        let receive = channel.receive(&mut buf);
        let received = match max_silence {
            Some(max) => until(timer, Instant::now() + max, receive).await,
            None => Some(receive.await),
        };
        match received.unwrap_or(Ok(0)) {
            Ok(0) | Err(Fault::Cut(_)) if is_counted => break,
            Ok(0) | Err(Fault::Cut(_)) => {
                answer.body = body.end()?;
                return Ok(answer);
            }
            Ok(len) if is_counted => body.push_behind(&buf[..len]),
            Ok(len) => is_counted = body.push(&buf[..len])?,
            Err(error @ Fault::Fatal(_)) => return Err(error),
        }
    }
    answer.body = body.finish();
    Ok(answer)
}

/// The head of the reply, and what came together with its end.
async fn head<S: Stream>(
    channel: &mut Channel<S>,
    buf: &mut [u8],
) -> Result<(Head, Vec<u8>), Fault> {
    let mut heads = Heads::new();
    loop {
        let len = match channel.receive(buf).await {
            Ok(len) => len,
            Err(Fault::Cut(words)) if heads.is_empty() => {
                return Err(Fault::Cut(format!("no reply: {words}")));
            }
            Err(error) => return Err(error),
        };
        if len == 0 {
            let when = match heads.is_empty() {
                true => "without a reply",
                false => "in the middle of its headers",
            };
            return Err(Fault::Cut(format!(
                "the server closed the connection {when}"
            )));
        }
        if let Some(found) = heads.push(&buf[..len])? {
            return Ok(found);
        }
    }
}

/// A connection, with TLS or without.
struct Channel<S> {
    wire: Wire<S>,
    session: Option<Session>,
}

impl<S: Stream> Channel<S> {
    async fn shake_hands(&mut self) -> Result<(), ContactError> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let failed = |fault| match fault {
            Fault::Cut(words) => ContactError::Tls(words),
            Fault::Fatal(error) => error,
        };
        let mut buf = vec![0; CHUNK];
        loop {
            self.wire.send(&session.outgoing()).await.map_err(failed)?;
            if !session.is_handshaking() {
                return Ok(());
            }
            let len = self.wire.receive(&mut buf).await.map_err(failed)?;
            if len == 0 {
                return Err(ContactError::Tls(
                    "the server closed the connection during the handshake".into(),
                ));
            }
            if let Err(error) = session.feed(&buf[..len]) {
                // The other side is told why, if it still listens.
                let _ = self.wire.send(&session.outgoing()).await;
                return Err(error);
            }
        }
    }

    async fn send(&mut self, plain: &[u8]) -> Result<(), Fault> {
        match &mut self.session {
            Some(session) => {
                session.put(plain)?;
                self.wire.send(&session.outgoing()).await
            }
            None => self.wire.send(plain).await,
        }
    }

    /// Reads what is there. Nothing is the end.
    async fn receive(&mut self, buf: &mut [u8]) -> Result<usize, Fault> {
        let Some(session) = &mut self.session else {
            return self.wire.receive(buf).await;
        };
        loop {
            if let Some(len) = session.take(buf) {
                return Ok(len);
            }
            let len = self.wire.receive(buf).await?;
            if len == 0 {
                return Ok(0);
            }
            session.feed(&buf[..len])?;
            self.wire.send(&session.outgoing()).await?;
        }
    }
}

/// A connection of which no more than so much is read.
struct Wire<S> {
    stream: S,
    left: u64,
    reads: u32,
}

impl<S: Stream> Wire<S> {
    async fn send(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let write = |cx: &mut std::task::Context<'_>| {
                self.stream.poll_write_vectored(cx, &[IoSlice::new(bytes)])
            };
            match poll_fn(write).await? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                len => bytes = &bytes[len..],
            }
        }
        Ok(())
    }

    async fn receive(&mut self, buf: &mut [u8]) -> Result<usize, Fault> {
        if self.left == 0 {
            return Err(Fault::Fatal(ContactError::Failed(
                "the server sends and sends, and comes to no end".into(),
            )));
        }
        self.reads += 1;
        if self.reads.is_multiple_of(READS_PER_TURN) {
            yield_now().await;
        }
        let len = poll_fn(|cx| self.stream.poll_read(cx, buf)).await?;
        self.left = self.left.saturating_sub(len as u64);
        Ok(len)
    }
}

async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What the operating system says, without its number.
fn words(error: &io::Error) -> String {
    let kind = error.kind().to_string();
    if error.raw_os_error().is_some() && kind != "uncategorized error" {
        kind
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use bytes::Bytes;

    use super::*;
    use crate::http::tests::NoTimer;

    fn head_of(url: &str) -> String {
        String::from_utf8(request(&Url::parse(url).expect("a URL"))).expect("ASCII")
    }

    #[test]
    fn a_request_names_the_host_as_the_url_does() {
        for (url, line, host) in [
            (
                "http://t.example/announce?x=%00%ff",
                "/announce?x=%00%ff",
                "t.example",
            ),
            ("http://t.example:80/", "/", "t.example"),
            ("https://t.example:80", "/", "t.example:80"),
            ("http://[::1]:8080/a#b", "/a", "[::1]:8080"),
            ("http://\u{fc}.example/", "/", "xn--tda.example"),
        ] {
            let head = head_of(url);
            assert!(
                head.starts_with(&format!("GET {line} HTTP/1.1\r\n")),
                "{head}"
            );
            assert!(head.contains(&format!("\r\nHost: {host}\r\n")), "{head}");
            assert!(!head.contains("Authorization"), "{head}");
            assert!(head.ends_with("\r\n\r\n"), "{head}");
        }
    }

    #[test]
    fn a_login_in_the_url_is_told_apart_from_the_host() {
        // "Aladdin:open sesame", of RFC 7617.
        let head = head_of("http://Aladdin:open%20sesame@t.example/");
        assert!(
            head.contains("\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\nHost: t.example\r\n"), "{head}");
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn without_tls_nobody_is_contacted_for_https() {
        use crate::http::tests::Never;

        let hop = HttpHop::new(
            "https://t.example/".into(),
            "192.0.2.1:443".parse().expect("an address"),
            100,
        );
        let dial = poll_fn(|_| -> Poll<io::Result<Never>> { panic!("nobody is to be dialled") });
        let tls = Tls::default();
        let exchange = pin!(get(dial, NoTimer, &tls, &hop));
        let outcome = exchange.poll(&mut Context::from_waker(Waker::noop()));
        assert!(
            matches!(&outcome, Poll::Ready(Err(ContactError::Tls(words))) if words.contains("without TLS")),
            "{outcome:?}"
        );
    }

    /// A connection that brings one part after the other, each in a packet of its own, and then stays open
    /// and is silent.
    struct Lingering(Vec<&'static [u8]>);

    impl Stream for Lingering {
        fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            let Some(part) = self.0.first_mut() else {
                return Poll::Pending;
            };
            let (now, later) = part.split_at(part.len().min(buf.len()));
            buf[..now.len()].copy_from_slice(now);
            *part = later;
            if later.is_empty() {
                self.0.remove(0);
            }
            Poll::Ready(Ok(now.len()))
        }

        fn poll_write_vectored(
            &mut self,
            _: &mut Context<'_>,
            bytes: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.iter().map(|slice| slice.len()).sum()))
        }
    }

    /// For ever.
    const NEVER: Duration = Duration::from_secs(1 << 30);

    const IMPATIENT: Patience = Patience {
        within: Duration::ZERO,
        behind: Duration::ZERO,
        beyond: Duration::ZERO,
    };

    /// What comes of a reply behind whose parts the server is silent for longer than is waited. Nothing: that
    /// is for the time limit.
    fn lingering(
        parts: &[&'static [u8]],
        content: HttpContent,
        patience: Patience,
    ) -> Option<Bytes> {
        let mut channel = Channel {
            wire: Wire {
                stream: Lingering(parts.to_vec()),
                left: MAX_OVERHEAD,
                reads: 0,
            },
            session: None,
        };
        let nowhere = "192.0.2.1:80".parse().expect("an address");
        let mut hop = HttpHop::new(String::new(), nowhere, 100);
        hop.content = content;
        let mut timer = NoTimer;
        let exchange = pin!(reply(&mut channel, &mut timer, patience, &hop));
        match exchange.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(answer)) => Some(answer.body),
            Poll::Ready(Err(Fault::Cut(words))) => panic!("{words}"),
            Poll::Ready(Err(Fault::Fatal(error))) => panic!("{error}"),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_body_ends_where_a_server_falls_silent() {
        for reply in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nde"[..],
            b"HTTP/1.1 200 OK\r\n\r\nde",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nde",
        ] {
            let text = String::from_utf8_lossy(reply);
            for content in [HttpContent::Anything, HttpContent::TorrentFile] {
                let body = lingering(&[reply], content, IMPATIENT);
                assert_eq!(body.as_deref(), Some(&b"de"[..]), "{text}");
            }
        }
        // Who has not begun to answer may be thinking.
        for reply in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let parts: &[_] = if reply.is_empty() { &[] } else { &[reply] };
            assert_eq!(lingering(parts, HttpContent::TrackerReply, IMPATIENT), None);
        }
    }

    #[test]
    fn what_comes_behind_a_length_in_the_middle_of_bencoding_belongs_to_it() {
        const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nd8:in";
        let patient = Patience {
            beyond: NEVER,
            ..IMPATIENT
        };
        for (parts, expected) in [
            (&[HEAD, b"terv", b"ali60ee"][..], &b"d8:intervali60ee"[..]),
            // What is whole needs no more.
            (
                &[HEAD, b"tervali60ee\r\n", b"never seen"],
                b"d8:intervali60ee\r\n",
            ),
            (
                &[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nde", b"\r\n"],
                b"de",
            ),
            // What is not bencoded ends where it was said.
            (
                &[b"HTTP/1.1 404 Oh\r\nContent-Length: 5\r\n\r\n<html", b">"],
                b"<html",
            ),
            // Chunks count themselves.
            (
                &[
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nd\r\n0\r\n\r\n",
                    b"e",
                ],
                b"d",
            ),
        ] {
            let body = lingering(parts, HttpContent::TrackerReply, patient);
            assert_eq!(body.as_deref(), Some(expected));
        }
        // It never comes.
        let body = lingering(&[HEAD], HttpContent::TrackerReply, IMPATIENT);
        assert_eq!(body.as_deref(), Some(&b"d8:in"[..]));
        let body = lingering(&[HEAD, b"terv"], HttpContent::Anything, patient);
        assert_eq!(body.as_deref(), Some(&b"d8:in"[..]));
        // More than the limit does.
        const MORE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nd999:x";
        let parts = [MORE, &[b'x'; 60], &[b'x'; 60], &[b'x'; 60]];
        let body = lingering(&parts, HttpContent::TorrentFile, patient).expect("cut");
        assert_eq!(body.len(), 100);
    }

    #[test]
    fn behind_whole_bencoding_little_is_waited_for() {
        let only_behind = Patience {
            within: NEVER,
            behind: Duration::ZERO,
            beyond: NEVER,
        };
        for head in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n",
        ] {
            let reply =
                |body: &'static [u8], content| lingering(&[head, body], content, only_behind);
            let body = reply(b"de", HttpContent::TrackerReply);
            assert_eq!(body.as_deref(), Some(&b"de"[..]));
            assert_eq!(reply(b"d1", HttpContent::TrackerReply), None);
            assert_eq!(reply(b"de", HttpContent::Anything), None);
        }
    }

    #[test]
    fn torrent_files_are_waited_for_longer_than_replies() {
        let reply = Patience::for_content(HttpContent::TrackerReply);
        let file = Patience::for_content(HttpContent::TorrentFile);
        assert!(reply.within < file.within && reply.beyond < file.beyond);
        // Within the time that a fetch may take.
        assert!(file.within < crate::fetch::FETCH_TIMEOUT);
    }

    #[test]
    fn errors_are_told_in_words_alone() {
        let refused = io::Error::from_raw_os_error(io_code(io::ErrorKind::ConnectionRefused));
        assert_eq!(words(&refused), "connection refused");
        assert_eq!(words(&io::Error::other("what it says")), "what it says");
    }

    /// The number that this system has for a kind of error.
    fn io_code(kind: io::ErrorKind) -> i32 {
        (1..20_000)
            .find(|code| io::Error::from_raw_os_error(*code).kind() == kind)
            .expect("one of them")
    }
}
