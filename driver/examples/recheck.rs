//! How fast pieces are stored and rechecked here: writes a torrent of so many MiB to a temporary
//! folder, and verifies it on one thread and on all.
//!
//! `cargo run --release -p anabranch-driver --example recheck -- [MiB]`

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use anabranch_core::action::{DiskJob, OpenStorage, Segment};
use anabranch_core::event::{DiskDone, OpResult};
use anabranch_core::id::{OpId, StorageKey};
use anabranch_core::metainfo::{Creator, PieceIndex};
use anabranch_driver::buffers::BufferPool;
use anabranch_driver::pool::Pool;
use anabranch_driver::storage::{FileOptions, FileStorage, Storage};
use anabranch_hash::{Sha1, update_two};
use bytes::Bytes;

const PIECE: u32 = 1 << 20;
const BLOCK: usize = 16 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mib: u32 = match std::env::args().nth(1) {
        Some(mib) => mib.parse()?,
        None => 1024,
    };
    let piece: Bytes = (0..PIECE).map(|i| (i >> 9 ^ i) as u8).collect();
    let began = Instant::now();
    let digest: [u8; 20] = (0..256)
        .map(|_| Sha1::digest(&piece))
        .last()
        .ok_or("no digest")?;
    report("SHA-1 alone, 1 thread", 256, began);
    let began = Instant::now();
    for _ in 0..128 {
        let mut hashers = [Sha1::new(), Sha1::new()];
        update_two(&mut hashers, [&piece, &piece]);
        if hashers.map(Sha1::finish) != [digest; 2] {
            return Err("two hashes of one thing".into());
        }
    }
    report("SHA-1 of two at once, 1 thread", 256, began);

    let creator =
        Creator::single_file("recheck.bin", u64::from(mib) << 20).with_piece_length(PIECE);
    let metainfo = Arc::new(creator.finish(&digest.repeat(mib as usize))?.metainfo);
    let dir = tempfile::tempdir()?;
    let storage: Arc<dyn Storage> = Arc::new(FileStorage::new(
        dir.path().to_owned(),
        FileOptions::default(),
    ));
    storage.open(&OpenStorage {
        key: StorageKey(0),
        metainfo,
        wanted: vec![true],
        recheck: true,
        overwrite: false,
        fetched: false,
    })?;
    let blocks: Vec<Segment> = (0..piece.len())
        .step_by(BLOCK)
        .map(|at| Segment::Memory(piece.slice(at..at + BLOCK)))
        .collect();
    let store = |piece| DiskJob::Store {
        piece: PieceIndex::new(piece),
        digest,
        data: blocks.clone(),
        blocks: false,
    };
    let verify = |piece| DiskJob::Verify {
        piece: PieceIndex::new(piece),
        digest,
    };
    let cores = thread::available_parallelism()?;
    let one = NonZeroUsize::MIN;
    run("store, all threads", &storage, cores, mib, &store)?;
    run("recheck, 1 thread", &storage, one, mib, &verify)?;
    run("recheck, all threads", &storage, cores, mib, &verify)
}

fn run(
    what: &str,
    storage: &Arc<dyn Storage>,
    threads: NonZeroUsize,
    pieces: u32,
    job: &dyn Fn(u32) -> DiskJob,
) -> Result<(), Box<dyn Error>> {
    let pool = Pool::with_threads(threads, BufferPool::default());
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    // Who did what is of no interest, so that all may have the same id.
    let op: OpId = bt_bencode::from_slice(b"d10:generationi0e4:sloti0ee")?;
    let began = Instant::now();
    for piece in 0..pieces {
        pool.submit(op, Arc::clone(storage), job(piece));
    }
    let mut done = Vec::new();
    while done.len() < pieces as usize {
        match pool.poll(&mut Context::from_waker(&waker), &mut done) {
            Poll::Pending => thread::park(),
            Poll::Ready(()) => {}
        }
    }
    report(what, pieces, began);
    let fine = done.iter().all(|done| {
        matches!(
            done.result,
            OpResult::Disk(Ok(
                DiskDone::Verified { matches: true } | DiskDone::Stored { .. }
            ))
        )
    });
    if fine {
        Ok(())
    } else {
        Err("not as it should be".into())
    }
}

fn report(what: &str, mib: u32, began: Instant) {
    let ms = began.elapsed().as_millis().max(1);
    println!("{what}: {} MiB/s", u128::from(mib) * 1000 / ms);
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
