//! BEP 3: tells payload from protocol in one direction of a connection.

/// Length of a handshake.
const HANDSHAKE_LEN: u8 = 68;
/// How a handshake in clear text begins.
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
/// The id of a `piece` message, and the length of its id, index and offset.
const PIECE: u8 = 7;
const PIECE_FIELDS: u32 = 9;

/// A run of bytes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// Protocol.
    Kept(&'a [u8]),
    /// So many bytes of blocks.
    Payload(usize),
}

/// Follows a stream however it is cut: a handshake, then messages with a length before each.
///
/// Whatever does not begin as a handshake is taken for protocol to its end, so that nothing is lost of
/// what is not understood here. Nothing is held, whatever lengths a peer claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Follower(State);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes of the handshake were there.
    Handshake(u8),
    /// Length and id, as far as they were there.
    Head {
        bytes: [u8; 5],
        have: u8,
    },
    /// What is left of a message, or of the fields before a block, and then of the block.
    Message {
        kept: u32,
        payload: u32,
    },
    Unknown,
}

impl Follower {
    pub(crate) const fn new() -> Self {
        Self(State::Handshake(0))
    }

    /// A stream of which the beginning was not seen.
    pub(crate) const fn unknown() -> Self {
        Self(State::Unknown)
    }

    /// Parts what comes next. Parts of a kind may follow each other; none is empty.
    pub(crate) fn split<'a>(&mut self, data: &'a [u8], mut each: impl FnMut(Part<'a>)) {
        let mut kept = data;
        let mut rest = data;
        while let Some(&first) = rest.first() {
            match &mut self.0 {
                State::Handshake(have) => {
                    if PROTOCOL
                        .get(usize::from(*have))
                        .is_some_and(|expected| *expected != first)
                    {
                        self.0 = State::Unknown;
                        continue;
                    }
                    *have += 1;
                    rest = &rest[1..];
                    if *have == HANDSHAKE_LEN {
                        self.0 = State::head();
                    }
                }
                State::Head { bytes, have } => {
                    bytes[usize::from(*have)] = first;
                    *have += 1;
                    rest = &rest[1..];
                    let [a, b, c, d, id] = *bytes;
                    let len = u32::from_be_bytes([a, b, c, d]);
                    match *have {
                        // A keep-alive.
                        4 if len == 0 => self.0 = State::head(),
                        5 => {
                            let (kept, payload) = match len.checked_sub(PIECE_FIELDS) {
                                Some(payload) if id == PIECE => (PIECE_FIELDS - 1, payload),
                                Some(_) | None => (len - 1, 0),
                            };
                            self.0 = State::message(kept, payload);
                        }
                        _ => {}
                    }
                }
                State::Message {
                    kept: left,
                    payload,
                } if *left > 0 => {
                    let here = at_most(rest, *left);
                    rest = &rest[here..];
                    // At most what is left, so the cast fits.
                    self.0 = State::message(*left - here as u32, *payload);
                }
                State::Message { payload, .. } => {
                    let before = kept.len() - rest.len();
                    if before > 0 {
                        each(Part::Kept(&kept[..before]));
                    }
                    let here = at_most(rest, *payload);
                    each(Part::Payload(here));
                    rest = &rest[here..];
                    kept = rest;
                    self.0 = State::message(0, *payload - here as u32);
                }
                State::Unknown => rest = &[],
            }
        }
        if !kept.is_empty() {
            each(Part::Kept(kept));
        }
    }
}

impl State {
    const fn head() -> Self {
        Self::Head {
            bytes: [0; 5],
            have: 0,
        }
    }

    const fn message(kept: u32, payload: u32) -> Self {
        if kept == 0 && payload == 0 {
            Self::head()
        } else {
            Self::Message { kept, payload }
        }
    }
}

fn at_most(data: &[u8], max: u32) -> usize {
    data.len().min(usize::try_from(max).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    /// What is kept, and where payload lies, in a stream that is cut at `cuts`.
    fn split(stream: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<bool>) {
        let mut follower = Follower::new();
        let (mut kept, mut payload) = (Vec::new(), Vec::new());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            follower.split(&stream[pair[0]..pair[1]], |part| match part {
                Part::Kept(bytes) => {
                    assert!(!bytes.is_empty());
                    kept.extend_from_slice(bytes);
                    payload.resize(payload.len() + bytes.len(), false);
                }
                Part::Payload(len) => {
                    assert!(len > 0);
                    payload.resize(payload.len() + len, true);
                }
            });
        }
        assert_eq!(payload.len(), stream.len());
        (kept, payload)
    }

    fn handshake() -> Vec<u8> {
        let mut stream = PROTOCOL.to_vec();
        stream.resize(68, 7);
        stream
    }

    fn put(stream: &mut Vec<u8>, id: u8, body: &[u8]) {
        stream.extend((body.len() as u32 + 1).to_be_bytes());
        stream.push(id);
        stream.extend_from_slice(body);
    }

    #[test]
    fn the_payload_of_blocks_is_told_apart_and_nothing_else() {
        let mut stream = handshake();
        let mut expected = stream.clone();
        for (id, len) in [
            (1, 0),
            (5, 40),
            (7, 8),
            (20, 300),
            (9, 2),
            (7, 3),
            (200, 50),
        ] {
            put(&mut stream, id, &vec![id; len]);
            put(&mut expected, id, &vec![id; len]);
            stream.extend([0; 4]);
            expected.extend([0; 4]);
            put(
                &mut stream,
                7,
                &[b"12345678".as_slice(), &[9; 1000]].concat(),
            );
            expected.extend(1009_u32.to_be_bytes());
            expected.extend(b"\x0712345678");
        }
        let (kept, payload) = split(&stream, &[]);
        assert_eq!(kept, expected);
        assert_eq!(payload.iter().filter(|is| **is).count(), 7 * 1000);
    }

    #[test]
    fn what_is_no_handshake_is_kept_to_the_end() {
        let mut stream = b"\x13BitTorrent protokoll".to_vec();
        stream.resize(68, 0);
        put(&mut stream, 7, &[0; 1000]);
        assert_eq!(split(&stream, &[5, 21, 90]).0, stream);
    }

    #[test]
    fn a_length_that_nobody_can_mean_costs_nothing() {
        let mut stream = handshake();
        stream.extend([0xff, 0xff, 0xff, 0xff, 7]);
        stream.extend([1; 108]);
        assert_eq!(split(&stream, &[]).1.iter().filter(|is| **is).count(), 100);
    }

    quickcheck! {
        fn cuts_do_not_matter(messages: Vec<(u8, Vec<u8>)>, noise: Vec<u8>, cuts: Vec<usize>) -> bool {
            let mut stream = handshake();
            for (id, body) in messages {
                put(&mut stream, id % 10, &body);
            }
            stream.extend(noise);
            let every: Vec<usize> = (0..stream.len()).collect();
            let whole = split(&stream, &[]);
            split(&stream, &cuts) == whole && split(&stream, &every) == whole
        }
    }
}
