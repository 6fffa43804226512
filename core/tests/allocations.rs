//! What the engine allocates once a transfer is under way: nothing for a block, and little for a piece.

#[path = "../benches/workload/mod.rs"]
mod workload;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::workload::{Download, Have, Upload, Workload, probe};

/// Counts what is allocated within measured work. The tests of this file run on threads of their own,
/// but share the counter: hence one test.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is the system's allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if probe::is_inside() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if probe::is_inside() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations for a thousand units, once the work has found its pace.
fn per_thousand(mut workload: impl Workload) -> u64 {
    workload.run(20_000);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    workload.run(10_000);
    (ALLOCATIONS.load(Ordering::Relaxed) - before) / 10
}

#[test]
fn no_block_costs_an_allocation() {
    // Sixteen blocks a piece: a few allocations are a piece's, none is a block's.
    const PER_PIECE: u64 = 5;
    let allocations = per_thousand(Download::new());
    assert!(
        allocations <= PER_PIECE * 1_000 / 16,
        "{allocations} for a thousand blocks downloaded"
    );
    // The headers of some hundred blocks share a buffer.
    let allocations = per_thousand(Upload::new());
    assert!(
        allocations <= 10,
        "{allocations} for a thousand blocks uploaded"
    );
    let allocations = per_thousand(Have::new());
    assert!(
        allocations <= 1,
        "{allocations} for a thousand pieces that a peer has"
    );
}
