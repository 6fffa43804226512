//! Every bound of uTP that is not [`Config`](super::Config), with what it can cost at worst.

use core::time::Duration;

/// Connections to one address and port: a NAT has more than one behind an address, but not behind a port.
pub const MAX_PER_ADDRESS: usize = 16;

/// SYNs that are remembered until the other end has shown that it is where it says: 256 × some 60 bytes. More of them
/// push out the oldest, which does no harm: the number that the other end was told shows that it was asked.
pub const MAX_HALF_OPEN: usize = 256;

/// How long a number that answered a SYN is taken for a proof of the address; up to twice that.
pub const COOKIE_AGE: Duration = Duration::from_secs(20);

/// Connections that have ended and still answer whoever did not hear of it: 1,024 × some 80 bytes.
pub const MAX_ENDED: usize = 1_024;

/// How long they do.
pub const ENDED_AGE: Duration = Duration::from_secs(20);

/// Packets that answer strangers, SYNs and packets of unknown connections, and that nobody has taken yet: 512 × some 80
/// bytes. More are dropped.
pub const MAX_ANSWERS: usize = 512;

/// Resets that are sent in a second at most.
pub const RESETS_PER_SECOND: u32 = 200;

/// Packets that a connection may have under way: less than half of what a sequence number of 16 bits tells apart.
/// 32,000 × some 40 bytes beside their payload.
pub const MAX_PACKETS: u64 = 32_000;

/// Stretches between gaps that a receiver keeps: 2,048 × some 100 bytes beside their payload. A packet that would begin
/// one more is dropped and comes again.
pub const MAX_RUNS: usize = 2_048;

/// Bytes that a slice of payload pins at most: what a buffer of a connection grows to.
pub const MAX_CHUNK: usize = 64 * 1024;

/// What that buffer begins with, so that an idle connection costs little.
pub const MIN_CHUNK: usize = 2 * 1024;

/// What a connection may always receive ahead of its reader, however much is kept for others.
pub const MIN_WINDOW: u32 = 64 * 1024;

/// The window that a connection opens with; it grows by what its reader has taken, up to
/// [`Config::receive_window`](super::Config::receive_window).
pub const FIRST_WINDOW: u32 = 1 << 20;

/// What one call of [`transmit`](super::Utp::transmit) yields at most: packets, and bytes.
pub const MAX_BATCH: usize = 44;
/// See [`MAX_BATCH`].
pub const MAX_BATCH_BYTES: usize = 65_000;

/// Timers that are looked at in one call of [`settle`](super::Utp::settle).
pub const TIMERS_PER_CALL: usize = 256;

/// How long an acknowledgement of less than two packets is kept.
pub const ACK_DELAY: Duration = Duration::from_millis(25);

/// The least, the first and the most that an acknowledgement is waited for.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(500);
/// See [`MIN_TIMEOUT`].
pub const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
/// See [`MIN_TIMEOUT`].
pub const MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the answer to a SYN is waited for, at first, as RFC 6298 has it: others wait for three seconds, in which a user
/// has given up on the peer.
pub const SYN_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a SYN is sent again.
pub const MAX_SYN_RESENDS: u8 = 3;

/// Time-outs without any sign of the other end, after which the connection is given up.
pub const MAX_TIMEOUTS: u8 = 6;

/// Time-outs of a FIN alone, after which the connection has ended all the same.
pub const MAX_FIN_TIMEOUTS: u8 = 3;

/// How long a closed connection goes on without progress.
pub const LINGER: Duration = Duration::from_secs(30);

/// After how much silence a packet tells the other end, and what stands between, that we are here.
pub const KEEP_ALIVE: Duration = Duration::from_secs(29);

/// How long a window that is closed is believed before a packet asks; twice as long each time.
pub const WINDOW_PROBE: Duration = Duration::from_secs(2);
/// See [`WINDOW_PROBE`].
pub const MAX_WINDOW_PROBE: Duration = Duration::from_secs(60);

/// The time of which the least delay is kept is so many buckets.
pub const BASE_BUCKETS: usize = 10;
/// How long each of them is.
pub const BASE_BUCKET: Duration = Duration::from_secs(30);

/// Packets that acknowledge less than what is acknowledged already, and by how much they may: those that another one
/// overtook on the way. Older ones are made up.
pub const MAX_OLD_ACK: u64 = 256;

/// Bytes of IPv4 and UDP headers.
pub const OVERHEAD_V4: u16 = 28;
/// Bytes of IPv6 and UDP headers.
pub const OVERHEAD_V6: u16 = 48;
/// What every IPv4 host takes.
pub const FLOOR_V4: u16 = 576;
/// What every IPv6 path carries, and nearly every other one.
pub const FLOOR_V6: u16 = 1_280;

/// Probes of one size that are lost before it is taken for too long.
pub const MTU_TRIES: u8 = 3;
/// Sizes closer together than so many bytes are not told apart.
pub const MTU_STEP: u16 = 16;
/// After how long a longer packet is tried again.
pub const MTU_AGAIN: Duration = Duration::from_secs(900);
