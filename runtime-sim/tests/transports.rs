//! Swarms over packets, and over both transports.

use std::ops::ControlFlow;
use std::time::Duration;

use anabranch_core::Transports;
use anabranch_sim::scenario::{End, Report, Scenario};

fn swarm(transports: Transports) -> Scenario {
    Scenario::new(11)
        .peers(12)
        .size(4 << 20)
        .piece_length(64 << 10)
        .rates(500_000, 2_000_000)
        .latency(Duration::from_millis(30))
        .transports(transports)
}

fn finished(scenario: Scenario) -> Report {
    let mut run = scenario.start().expect("a sensible scenario");
    match run.advance(|_| ControlFlow::Continue(())) {
        Ok(end) => assert_eq!(end, End::Complete),
        Err(failure) => panic!("{failure}"),
    }
    run.report()
}

#[test]
fn swarms_over_packets_are_no_slower_than_over_streams_by_much() {
    let tcp = finished(swarm(Transports::Tcp));
    for transports in [Transports::Utp, Transports::Both] {
        let report = finished(swarm(transports));
        assert_eq!((report.complete, report.unfinished), (12, 0));
        assert!(
            report.virtual_time <= tcp.virtual_time * 13 / 10,
            "{transports:?}: {:?}, and by TCP {:?}",
            report.virtual_time,
            tcp.virtual_time
        );
    }
}

#[test]
fn swarms_over_packets_survive_loss_and_churn() {
    for (transports, loss) in [(Transports::Utp, 10_000), (Transports::Both, 30_000)] {
        let report = finished(swarm(transports).loss(loss).churn(500_000));
        assert_eq!(report.unfinished, 0, "{transports:?}");
    }
}

#[test]
fn runs_over_packets_repeat() {
    let one = finished(swarm(Transports::Both).loss(5_000));
    let other = finished(swarm(Transports::Both).loss(5_000));
    assert_eq!(one.trace_hash, other.trace_hash);
}
