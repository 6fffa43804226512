//! The runtimes under test, as far as a suite needs to tell them apart.

use std::future::Future;
use std::path::Path;

use anabranch_driver::Runtime;

use crate::wait::LIMIT;

/// A runtime adapter, and how a test runs on it. A suite is written once, generic over this trait, and
/// instantiated by [`on_every_runtime!`](crate::on_every_runtime).
pub trait Subject: 'static {
    /// The adapter.
    type Runtime: Runtime + Default;

    /// The adapter with the certificate authorities in a file.
    fn with_authorities(file: &Path) -> Self::Runtime;

    /// Runs a test that waits as others do, in futures, as a program on this runtime would run.
    ///
    /// # Panics
    ///
    /// When it has not ended within [`LIMIT`].
    fn run<T>(test: impl Future<Output = T>) -> T;

    /// Runs a test that blocks its thread. What it starts runs beside it.
    fn host<T>(test: impl FnOnce() -> T) -> T;
}

/// smol: every client has a thread of its own.
#[derive(Debug)]
pub enum Smol {}

impl Subject for Smol {
    type Runtime = anabranch_smol::Smol;

    fn with_authorities(file: &Path) -> Self::Runtime {
        anabranch_smol::Smol::with_authorities(file)
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        smol::block_on(smol::future::or(test, async {
            smol::Timer::after(LIMIT).await;
            panic!("not done after {LIMIT:?}")
        }))
    }

    fn host<T>(test: impl FnOnce() -> T) -> T {
        test()
    }
}

/// tokio on one thread: all clients of a test, and the test itself.
#[derive(Debug)]
pub enum TokioThread {}

impl Subject for TokioThread {
    type Runtime = anabranch_tokio::Tokio;

    fn with_authorities(file: &Path) -> Self::Runtime {
        anabranch_tokio::Tokio::with_authorities(file)
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        run_in(&one_thread(), test)
    }

    fn host<T>(test: impl FnOnce() -> T) -> T {
        let runtime = one_thread();
        let (done, over) = tokio::sync::oneshot::channel::<()>();
        let _guard = runtime.enter();
        std::thread::scope(|scope| {
            // The end of the test, good or bad, drops `done`.
            let done = done;
            scope.spawn(|| runtime.block_on(over));
            let result = test();
            drop(done);
            result
        })
    }
}

/// tokio on several threads.
#[derive(Debug)]
pub enum TokioThreads {}

impl Subject for TokioThreads {
    type Runtime = anabranch_tokio::Tokio;

    fn with_authorities(file: &Path) -> Self::Runtime {
        anabranch_tokio::Tokio::with_authorities(file)
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        run_in(&threads(), test)
    }

    fn host<T>(test: impl FnOnce() -> T) -> T {
        let runtime = threads();
        let _guard = runtime.enter();
        test()
    }
}

fn one_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn run_in<T>(runtime: &tokio::runtime::Runtime, test: impl Future<Output = T>) -> T {
    runtime.block_on(async {
        match tokio::time::timeout(LIMIT, test).await {
            Ok(result) => result,
            Err(_) => panic!("not done after {LIMIT:?}"),
        }
    })
}

/// Makes tests of generic functions, `module::function::<S>()`, one for every [`Subject`]. Each is run
/// by a function that is named first, which is generic as well.
#[macro_export]
#[expect(
    clippy::crate_in_macro_def,
    reason = "the tests are those of the crate that calls it"
)]
macro_rules! on_every_runtime {
    ($run:ident: $($module:ident::$test:ident)*) => {
        mod on_smol {
            $(#[test] fn $test() {
                crate::$run::<$crate::subject::Smol>(crate::$module::$test::<$crate::subject::Smol>);
            })*
        }
        mod on_tokio_with_one_thread {
            $(#[test] fn $test() {
                crate::$run::<$crate::subject::TokioThread>(
                    crate::$module::$test::<$crate::subject::TokioThread>,
                );
            })*
        }
        mod on_tokio_with_threads {
            $(#[test] fn $test() {
                crate::$run::<$crate::subject::TokioThreads>(
                    crate::$module::$test::<$crate::subject::TokioThreads>,
                );
            })*
        }
    };
}
