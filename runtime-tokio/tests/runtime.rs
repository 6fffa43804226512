//! What is tokio's own: where a client runs, and what becomes of it when its runtime goes. What all
//! runtimes have in common is in the suites of `anabranch-tests`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anabranch_tokio::engine::Notice;
use anabranch_tokio::{Client, ClientBuilder, Error, Notices, StartError};
use tokio::runtime::{Builder, Runtime};

/// An address of our own, so that nobody else takes its ports the moment that they are free.
const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);

fn builder() -> ClientBuilder {
    ClientBuilder::new().listen([SocketAddr::from((HERE, 0))])
}

fn start_in(runtime: &Runtime) -> Client {
    let _inside = runtime.enter();
    builder().start().expect("a client")
}

#[test]
fn outside_of_a_runtime_a_start_fails_and_says_why() {
    let error = builder().start().expect_err("nowhere to run");
    assert!(matches!(error, StartError::Runtime(_)));
    assert!(error.to_string().contains("runtime"), "{error}");
}

#[test]
#[should_panic(expected = "timers are disabled")]
fn a_runtime_without_timers_shows_at_the_start() {
    let runtime = Builder::new_current_thread().enable_io().build();
    start_in(&runtime.expect("a runtime"));
}

#[test]
fn a_client_ends_with_its_runtime() {
    for runtime in [
        Builder::new_current_thread().enable_all().build(),
        Builder::new_multi_thread().enable_all().build(),
    ] {
        let runtime = runtime.expect("a runtime");
        let client = start_in(&runtime);
        let mut notices = client.notices();
        runtime.block_on(client.stats()).expect("running");
        drop(runtime);
        let other = Builder::new_current_thread().build().expect("a runtime");
        other.block_on(async {
            assert!(matches!(client.stats().await, Err(Error::Stopped)));
            assert!(matches!(client.shutdown().await, Err(Error::Stopped)));
            assert!(notices.next().await.is_none());
        });
        TcpListener::bind(client.listen_addrs()[0]).expect("the port is free");
    }
}

#[test]
fn handles_work_on_any_executor_and_thread() {
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let client = start_in(&runtime);
    // One without sockets and timers.
    let other = Builder::new_current_thread().build().expect("a runtime");
    let thread = std::thread::spawn(move || {
        other.block_on(async {
            client.stats().await.expect("running");
            client.shutdown().await.expect("a good end");
        });
    });
    thread.join().expect("no panic");
}

#[test]
fn notices_are_a_stream() {
    fn stream<T: futures_core::Stream<Item = Notice> + Send + Unpin + 'static>() {}
    stream::<Notices>();
}
