use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Wake;

use anabranch_core::Bitfield;
use anabranch_core::action::{OpenStorage, Segment};
use anabranch_core::event::{DiskDone, Opened};
use anabranch_core::metainfo::PieceIndex;
use anabranch_hash::Sha1;
use bytes::Bytes;

use super::queues::STORES_A_THREAD;
use super::*;
use crate::storage::MemoryStorage;
use crate::storage::testing::Torrent;

fn op(number: u32) -> OpId {
    let bytes = format!("d10:generationi0e4:sloti{number}ee");
    bt_bencode::from_slice(bytes.as_bytes()).unwrap()
}

/// Says when a job begins, and ends it when it is told to.
struct Gate {
    begun: Sender<String>,
    go: Mutex<Receiver<()>>,
    running: AtomicUsize,
    writing: AtomicUsize,
}

impl Gate {
    fn new() -> (Arc<Self>, Receiver<String>, Sender<()>) {
        let (begun, begins) = channel();
        let (go, gos) = channel();
        let gate = Self {
            begun,
            go: Mutex::new(gos),
            running: AtomicUsize::new(0),
            writing: AtomicUsize::new(0),
        };
        (Arc::new(gate), begins, go)
    }

    fn pass(&self, name: &str) {
        self.running.fetch_add(1, Ordering::SeqCst);
        self.begun.send(name.to_owned()).unwrap();
        lock(&self.go).recv().unwrap();
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Storage for Gate {
    fn open(&self, _: &OpenStorage) -> Result<Opened, DiskError> {
        self.pass("open");
        Ok(Opened::default())
    }
    fn verify(&self, piece: PieceIndex, _: &[u8; 20]) -> Result<bool, DiskError> {
        self.pass(&format!("verify {}", piece.get()));
        Ok(true)
    }
    fn verify_two(&self, pieces: [(PieceIndex, &[u8; 20]); 2]) -> [Result<bool, DiskError>; 2] {
        let [one, two] = pieces.map(|(piece, _)| piece.get());
        self.pass(&format!("verify {one} and {two}"));
        [Ok(true), Ok(false)]
    }
    fn write(&self, piece: PieceIndex, _: u32, _: &[Bytes]) -> Result<(), DiskError> {
        assert_eq!(self.writing.fetch_add(1, Ordering::SeqCst), 0);
        self.pass(&format!("write {}", piece.get()));
        self.writing.fetch_sub(1, Ordering::SeqCst);
        assert_ne!(piece.get(), 13, "piece 13 makes it panic");
        Ok(())
    }
    fn read(&self, _: PieceIndex, _: u32, _: &mut [u8]) -> Result<(), DiskError> {
        self.pass("read");
        Ok(())
    }
    fn select(&self, _: &[bool]) -> Result<(), DiskError> {
        assert_eq!(self.running.load(Ordering::SeqCst), 0);
        self.pass("select");
        Ok(())
    }
    fn checkpoint(&self, _: &Bitfield, up: u64, _: u64) -> Result<(), DiskError> {
        self.pass(&format!("checkpoint {up}"));
        Ok(())
    }
    fn probe(&self, _: u64) -> Result<(), DiskError> {
        panic!("probing makes it panic");
    }
    fn close(&self) -> Result<(), DiskError> {
        assert_eq!(self.running.load(Ordering::SeqCst), 0);
        self.pass("close");
        Ok(())
    }
    fn remove(&self, _: bool) -> Result<(), DiskError> {
        Ok(())
    }
}

fn verify(piece: u32) -> DiskJob {
    DiskJob::Verify {
        piece: PieceIndex::new(piece),
        digest: [0; 20],
    }
}

fn read() -> DiskJob {
    DiskJob::Read {
        piece: PieceIndex::new(0),
        begin: 0,
        len: 5,
    }
}

/// Stores a piece that is right.
fn store(piece: u32) -> DiskJob {
    let data = Bytes::from(piece.to_be_bytes().to_vec());
    DiskJob::Store {
        piece: PieceIndex::new(piece),
        digest: Sha1::digest(&data),
        data: vec![Segment::Memory(data)],
        blocks: false,
    }
}

fn checkpoint(uploaded: u64) -> DiskJob {
    DiskJob::Checkpoint {
        have: Bitfield::new(0),
        partial: Vec::new(),
        uploaded,
        downloaded: 0,
    }
}

/// A waker that a test can wait for.
struct Bell(Sender<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // The test may have seen enough.
        let _ = self.0.send(());
    }
}

/// Waits for so many completions; says how often it was woken.
fn collect(pool: &Pool, count: usize) -> (Vec<Completion>, usize) {
    let (ring, rung) = channel();
    let waker = Waker::from(Arc::new(Bell(ring)));
    let mut done = Vec::new();
    let mut woken = 0;
    while done.len() < count {
        if pool
            .poll(&mut Context::from_waker(&waker), &mut done)
            .is_pending()
        {
            rung.recv().unwrap();
            woken += 1;
        }
    }
    (done, woken)
}

fn pool(threads: usize) -> Pool {
    Pool::with_threads(NonZeroUsize::new(threads).unwrap(), BufferPool::default())
}

#[test]
fn reads_overtake_a_recheck_that_takes_all_it_may() {
    let pool = pool(2);
    let (gate, begins, go) = Gate::new();
    for piece in 0..50 {
        pool.submit(op(piece), gate.clone(), verify(piece));
    }
    let mut first = [begins.recv().unwrap(), begins.recv().unwrap()];
    first.sort();
    assert!(first[0].starts_with("verify 0"), "{first:?}");
    assert!(first[1].starts_with("verify "), "{first:?}");
    pool.submit(op(99), gate.clone(), read());
    assert_eq!(begins.recv().unwrap(), "read");
    (0..51).for_each(|_| go.send(()).unwrap());
    assert_eq!(collect(&pool, 51).0.len(), 51);
}

#[test]
fn a_thread_verifies_two_pieces_at_once_where_two_wait() {
    let pool = pool(1);
    let (gate, begins, go) = Gate::new();
    pool.submit(op(0), gate.clone(), verify(0));
    assert_eq!(begins.recv().unwrap(), "verify 0");
    for piece in 1..4 {
        pool.submit(op(piece), gate.clone(), verify(piece));
    }
    (0..3).for_each(|_| go.send(()).unwrap());
    let (done, _) = collect(&pool, 4);
    let begun: Vec<_> = begins.try_iter().collect();
    assert_eq!(begun, ["verify 1 and 2", "verify 3"]);
    let order: Vec<_> = done
        .iter()
        .map(|done| {
            let OpResult::Disk(Ok(DiskDone::Verified { matches })) = done.result else {
                panic!("{done:?}");
            };
            (done.op, matches)
        })
        .collect();
    let expected = [(0, true), (1, true), (2, false), (3, true)];
    assert_eq!(
        order,
        expected.map(|(number, matches)| (op(number), matches))
    );
}

#[test]
fn closing_waits_for_what_came_before_and_holds_back_what_comes_after() {
    let pool = pool(4);
    let (gate, begins, go) = Gate::new();
    pool.submit(op(0), gate.clone(), verify(0));
    pool.submit(op(1), gate.clone(), checkpoint(1));
    pool.submit(op(2), gate.clone(), checkpoint(2));
    pool.submit(op(3), gate.clone(), DiskJob::Close);
    pool.submit(op(4), gate.clone(), read());
    (0..5).for_each(|_| go.send(()).unwrap());
    let (done, _) = collect(&pool, 5);
    let order: Vec<_> = done.iter().map(|done| done.op).collect();
    assert_eq!(order[3..], [op(3), op(4)]);
    let begun: Vec<_> = begins.try_iter().collect();
    assert_eq!(begun[3..], ["close", "read"]);
}

#[test]
fn selecting_runs_alone_and_other_storages_do_not_wait() {
    let pool = pool(4);
    let (one, one_begins, one_go) = Gate::new();
    let (other, other_begins, other_go) = Gate::new();
    pool.submit(op(0), one.clone(), read());
    let select = DiskJob::Select { wanted: Vec::new() };
    pool.submit(op(1), one.clone(), select);
    pool.submit(op(2), one.clone(), read());
    assert_eq!(one_begins.recv().unwrap(), "read");
    pool.submit(op(3), other.clone(), read());
    assert_eq!(other_begins.recv().unwrap(), "read");
    assert!(one_begins.try_recv().is_err());
    one_go.send(()).unwrap();
    assert_eq!(one_begins.recv().unwrap(), "select");
    assert!(one_begins.try_recv().is_err());
    one_go.send(()).unwrap();
    assert_eq!(one_begins.recv().unwrap(), "read");
    one_go.send(()).unwrap();
    other_go.send(()).unwrap();
    collect(&pool, 4);
}

#[test]
fn a_storage_has_one_checkpoint_at_a_time_and_reads_go_on() {
    let pool = pool(4);
    let (gate, begins, go) = Gate::new();
    for number in 0..3 {
        pool.submit(op(number), gate.clone(), checkpoint(number.into()));
    }
    pool.submit(op(9), gate.clone(), read());
    let mut begun = [begins.recv().unwrap(), begins.recv().unwrap()];
    begun.sort();
    assert_eq!(begun, ["checkpoint 0", "read"]);
    (0..4).for_each(|_| go.send(()).unwrap());
    let (done, _) = collect(&pool, 4);
    let order: Vec<_> = done
        .iter()
        .map(|done| done.op)
        .filter(|id| *id != op(9))
        .collect();
    assert_eq!(order, [op(0), op(1), op(2)]);
}

#[test]
fn slow_jobs_of_many_storages_leave_threads_for_others() {
    let pool = pool(2);
    let gates: Vec<_> = (0..8).map(|_| Gate::new()).collect();
    for (number, (gate, ..)) in (0..).zip(&gates) {
        pool.submit(op(number), gate.clone(), checkpoint(0));
    }
    gates[0].1.recv().unwrap();
    pool.submit(op(20), gates[7].0.clone(), verify(1));
    pool.submit(op(21), gates[7].0.clone(), read());
    let mut begun = [gates[7].1.recv().unwrap(), gates[7].1.recv().unwrap()];
    begun.sort();
    assert_eq!(begun, ["read", "verify 1"]);
    for (_, _, go) in &gates {
        (0..3).for_each(|_| go.send(()).unwrap());
    }
    collect(&pool, 10);
}

#[test]
fn a_panic_is_an_error_of_its_job_only() {
    let pool = pool(1);
    let (gate, _begins, go) = Gate::new();
    pool.submit(op(0), gate.clone(), DiskJob::Probe { space: 0 });
    pool.submit(op(1), gate.clone(), DiskJob::Close);
    go.send(()).unwrap();
    let (done, _) = collect(&pool, 2);
    let OpResult::Disk(Err(error)) = &done[0].result else {
        panic!("{done:?}");
    };
    assert_eq!(error.kind, DiskErrorKind::Io);
    assert!(error.message.contains("probing makes it panic"));
    assert!(matches!(
        done[1].result,
        OpResult::Disk(Ok(DiskDone::Closed))
    ));
}

#[test]
fn what_has_not_begun_is_taken_back() {
    let pool = pool(1);
    let (gate, begins, go) = Gate::new();
    pool.submit(op(0), gate.clone(), verify(0));
    begins.recv().unwrap();
    pool.submit(op(1), gate.clone(), verify(1));
    pool.submit(op(2), gate.clone(), DiskJob::Close);
    pool.submit(op(3), gate.clone(), read());
    for number in 0..5 {
        pool.cancel(op(number));
    }
    go.send(()).unwrap();
    go.send(()).unwrap();
    let (done, _) = collect(&pool, 4);
    let cancelled: Vec<_> = done
        .iter()
        .filter(|done| matches!(done.result, OpResult::Cancelled))
        .map(|done| done.op)
        .collect();
    assert_eq!(cancelled, [op(1), op(3)]);
    assert_eq!(done.last().unwrap().op, op(2));
}

#[test]
fn many_completions_wake_once() {
    let pool = pool(2);
    let (gate, _begins, go) = Gate::new();
    let (ring, rung) = channel();
    let waker = Waker::from(Arc::new(Bell(ring)));
    let mut done = Vec::new();
    assert!(
        pool.poll(&mut Context::from_waker(&waker), &mut done)
            .is_pending()
    );
    for number in 0..20 {
        pool.submit(op(number), gate.clone(), read());
        go.send(()).unwrap();
    }
    // The last to end is the closing of the storage, and nobody has polled meanwhile.
    let (last, ended) = (Arc::downgrade(&gate), rung.recv());
    ended.unwrap();
    pool.submit(op(20), gate, DiskJob::Close);
    go.send(()).unwrap();
    while last.strong_count() > 0 {
        thread::yield_now();
    }
    assert!(rung.try_recv().is_err());
    assert!(
        pool.poll(&mut Context::from_waker(&waker), &mut done)
            .is_ready()
    );
    assert_eq!(done.len(), 21);
}

#[test]
fn threads_start_when_there_is_work_and_no_more_than_allowed() {
    let pool = pool(3);
    let started = |pool: &Pool| lock(&pool.shared.queues).started;
    assert_eq!(started(&pool), 0);
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let torrent = Torrent::new(16 << 10, &[("a", 100)]);
    let open = DiskJob::Open(Box::new(torrent.open_all()));
    pool.submit(op(0), Arc::clone(&storage), open);
    assert_eq!(started(&pool), 1);
    for number in 1..500 {
        pool.submit(op(number), Arc::clone(&storage), verify(0));
    }
    assert!(started(&pool) <= 4);
    let (done, _) = collect(&pool, 500);
    let fine = |done: &Completion| matches!(done.result, OpResult::Disk(Ok(_)));
    assert!(done.iter().all(fine));
    assert!(lock(&pool.shared.queues).lanes.is_empty());
}

#[test]
fn dropping_the_pool_lets_go_of_what_has_not_begun() {
    let (gate, begins, go) = Gate::new();
    {
        let pool = pool(1);
        pool.submit(op(0), gate.clone(), verify(0));
        begins.recv().unwrap();
        pool.submit(op(1), gate.clone(), verify(1));
        pool.submit(op(2), gate.clone(), DiskJob::Close);
    }
    assert_eq!(Arc::strong_count(&gate), 2);
    go.send(()).unwrap();
    while Arc::strong_count(&gate) > 1 {
        thread::yield_now();
    }
    assert!(begins.try_recv().is_err());
}

#[test]
fn one_thread_writes_to_a_storage_while_others_hash_and_read() {
    let pool = pool(2);
    let (gate, begins, go) = Gate::new();
    pool.submit(op(0), gate.clone(), store(0));
    assert_eq!(begins.recv().unwrap(), "write 0");
    for piece in 1..6 {
        pool.submit(op(piece), gate.clone(), store(piece));
    }
    let storage: Arc<dyn Storage> = gate.clone();
    let lined_up = || {
        let queues = lock(&pool.shared.queues);
        queues.lanes[&lane_key(&storage)].writes.len()
    };
    while lined_up() < 5 {
        thread::yield_now();
    }
    pool.submit(op(6), gate.clone(), read());
    assert_eq!(begins.recv().unwrap(), "read");
    (0..7).for_each(|_| go.send(()).unwrap());
    let (done, _) = collect(&pool, 7);
    let fine = |done: &Completion| matches!(done.result, OpResult::Disk(Ok(_)));
    assert!(done.iter().all(fine), "{done:?}");
    let mut written: Vec<_> = begins.try_iter().collect();
    written.sort();
    assert_eq!(
        written,
        [1, 2, 3, 4, 5].map(|piece| format!("write {piece}"))
    );
}

#[test]
fn a_write_that_panics_is_an_error_of_its_job_only() {
    let pool = pool(1);
    let (gate, begins, go) = Gate::new();
    pool.submit(op(0), gate.clone(), store(0));
    assert_eq!(begins.recv().unwrap(), "write 0");
    for piece in [13, 14] {
        pool.submit(op(piece), gate.clone(), store(piece));
    }
    pool.submit(op(15), gate.clone(), DiskJob::Close);
    (0..4).for_each(|_| go.send(()).unwrap());
    let (done, _) = collect(&pool, 4);
    for done in &done {
        let failed = matches!(&done.result, OpResult::Disk(Err(error)) if error.message.contains("piece 13"));
        assert_eq!(failed, done.op == op(13), "{done:?}");
    }
    assert_eq!(done.last().unwrap().op, op(15));
}

#[test]
fn who_writes_lets_others_take_their_turn() {
    let pool = pool(1);
    let (gate, begins, go) = Gate::new();
    let (other, other_begins, other_go) = Gate::new();
    // One thread writes, the other one reads from elsewhere, and hashes when it may go on.
    pool.submit(op(100), gate.clone(), store(100));
    assert_eq!(begins.recv().unwrap(), "write 100");
    let storage: Arc<dyn Storage> = gate.clone();
    let count = 2 * WRITES_IN_A_ROW as u32;
    for piece in 0..count {
        pool.submit(op(piece), gate.clone(), store(200 + piece));
    }
    while lock(&pool.shared.queues).lanes[&lane_key(&storage)]
        .writes
        .len()
        // The last few wait for the thread that writes.
        < count as usize - STORES_A_THREAD
    {
        thread::yield_now();
    }
    for number in [101, 102] {
        pool.submit(op(number), other.clone(), read());
    }
    assert_eq!(other_begins.recv().unwrap(), "read");
    // The second read waits for the one who writes.
    (0..WRITES_IN_A_ROW).for_each(|_| go.send(()).unwrap());
    assert_eq!(other_begins.recv().unwrap(), "read");
    assert_eq!(begins.try_iter().count(), WRITES_IN_A_ROW - 1);
    (0..2).for_each(|_| other_go.send(()).unwrap());
    (WRITES_IN_A_ROW..=count as usize).for_each(|_| go.send(()).unwrap());
    assert_eq!(
        collect(&pool, count as usize + 3).0.len(),
        count as usize + 3
    );
}

#[test]
fn few_pieces_wait_for_the_thread_that_stores_others_and_many_call_another() {
    let pool = pool(2);
    let (gate, begins, go) = Gate::new();
    let started = || lock(&pool.shared.queues).started;
    pool.submit(op(0), gate.clone(), store(0));
    assert_eq!(begins.recv().unwrap(), "write 0");
    for piece in 1..5 {
        pool.submit(op(piece), gate.clone(), store(piece));
    }
    assert_eq!(started(), 1);
    pool.submit(op(5), gate.clone(), store(5));
    assert_eq!(started(), 2);
    // Those of another storage wait for nobody.
    let (other, other_begins, other_go) = Gate::new();
    pool.submit(op(9), other.clone(), store(9));
    assert_eq!(other_begins.recv().unwrap(), "write 9");
    other_go.send(()).unwrap();
    (0..6).for_each(|_| go.send(()).unwrap());
    assert_eq!(collect(&pool, 7).0.len(), 7);
    while !lock(&pool.shared.queues).lanes.is_empty() {
        thread::yield_now();
    }
    assert_eq!(lock(&pool.shared.queues).calling(), 0);
}
