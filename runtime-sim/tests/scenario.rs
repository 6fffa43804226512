//! Scenarios: what they report, what they refuse, and what must not change them.

use std::ops::ControlFlow;
use std::time::Duration;

use anabranch_sim::scenario::{End, Faults, FaultsError, PRESETS, Run, Scenario, ScenarioError};
use anabranch_sim::{FailureKind, seeds};

fn small(seed: u64) -> Scenario {
    Scenario::new(seed)
        .peers(6)
        .size(1 << 20)
        .piece_length(16 << 10)
        .rates(500_000, 2_000_000)
        .latency(Duration::from_millis(20))
}

fn finished(scenario: Scenario) -> Run {
    let mut run = scenario.start().expect("a sensible scenario");
    match run.advance(|_| ControlFlow::Continue(())) {
        Ok(end) => assert_eq!(end, End::Complete),
        Err(failure) => panic!("{failure}"),
    }
    run
}

fn csv(run: &Run) -> String {
    let mut out = Vec::new();
    run.metrics().write_csv(&mut out).expect("memory takes it");
    String::from_utf8(out).expect("text")
}

#[test]
fn a_seed_decides_everything_and_another_decides_otherwise() {
    let churning = |seed| finished(small(seed).churn(500_000).loss(10_000));
    let (one, same, other) = (churning(7), churning(7), churning(8));
    assert_eq!(one.report(), same.report());
    assert_eq!(csv(&one), csv(&same));
    assert_eq!(one.plot(), same.plot());
    assert_ne!(one.report().trace_hash, other.report().trace_hash);
}

#[test]
fn whoever_watches_changes_nothing() {
    let plain = finished(small(3)).report();
    let often = finished(small(3).sample_every(Duration::from_millis(5))).report();
    assert_eq!(plain, often);
    // Broken off at every glance.
    let mut run = small(3).start().expect("a sensible scenario");
    let mut pauses = 0;
    while run.advance(|_| ControlFlow::Break(())).expect("no failure") == End::Paused {
        pauses += 1;
    }
    assert!(pauses > 10, "{pauses}");
    assert_eq!(plain, run.report());
}

#[test]
fn a_report_adds_up() {
    let run = finished(small(5));
    let report = run.report();
    let completion = report.completion.expect("all are complete");
    assert_eq!((report.complete, report.unfinished), (6, 0));
    assert_eq!(report.virtual_time, completion.max);
    assert!(completion.min <= completion.median && completion.median <= completion.p95);
    assert!(report.bound <= completion.max, "nobody beats physics");
    // F/u is the largest term: the seeder has to send a copy.
    assert_eq!(report.bound, Duration::from_nanos((1 << 20) * 2_000));
    let efficiency = report.bound.as_nanos() * 1_000 / completion.max.as_nanos();
    assert_eq!(report.efficiency_permille.map(u128::from), Some(efficiency));
    assert!(report.payload >= 6 << 20 && report.payload - report.wasted <= (6 << 20) + (64 << 10));
    assert!(report.overhead > 0 && report.overhead_ppm() < Some(200_000));
    assert!(report.sent_by_seeders >= 1 << 20);
    let last = run.metrics().samples().last().expect("samples");
    assert_eq!(last.copies_min, 7);
    assert_eq!(last.copies_mean_permille, 7_000);
    assert!(last.hosts.iter().all(|host| host.have == 1 << 20));
}

#[test]
fn every_preset_ends_well() {
    for seed in seeds(2) {
        for (name, _) in PRESETS {
            let faults = Faults::preset(name).expect("a preset");
            let scenario = small(seed).peers(12).faults(faults);
            let mut run = scenario.start().expect("a sensible scenario");
            match run.advance(|_| ControlFlow::Continue(())) {
                Ok(end) => assert_eq!(end, End::Complete, "{name}, seed {seed}"),
                Err(failure) => panic!("{name}: {failure}"),
            }
        }
    }
}

#[test]
fn traffic_outlives_a_crash() {
    let faults = "[[fault]]\nwhat = \"crash\"\nwho = \"peers\"\nat = \"50%\"\nfor = \"1s\"";
    let faults = Faults::parse(faults).expect("a description");
    let run = finished(small(2).faults(faults));
    let moved = run.report();
    assert!(moved.payload >= 6 << 20, "{moved:?}");
    let samples = run.metrics().samples();
    assert!(
        samples.iter().any(|sample| sample.up == 1),
        "all peers were off"
    );
    for pair in samples.windows(2) {
        for (before, after) in pair[0].hosts.iter().zip(&pair[1].hosts) {
            assert!(before.traffic.received <= after.traffic.received);
        }
    }
}

#[test]
fn who_never_comes_back_is_not_waited_for() {
    let faults = "[[fault]]\nwhat = \"leave\"\nwho = \"2\"\nat = \"20%\"";
    let faults = Faults::parse(faults).expect("a description");
    let mut run = small(1)
        .faults(faults)
        .start()
        .expect("a sensible scenario");
    let end = run
        .advance(|_| ControlFlow::Continue(()))
        .expect("no failure");
    assert_eq!(end, End::Deserted);
    let report = run.report();
    assert_eq!((report.complete, report.unfinished), (4, 2));
    assert_eq!(report.efficiency_permille, None);
    assert!(run.plot().contains("4 of 6 complete"));
}

#[test]
fn time_can_be_up() {
    let mut run = small(1)
        .until(Duration::from_secs(1))
        .start()
        .expect("a sensible scenario");
    let end = run
        .advance(|_| ControlFlow::Continue(()))
        .expect("no failure");
    assert_eq!(end, End::TimeUp);
    let report = run.report();
    assert_eq!((report.complete, report.completion), (0, None));
    assert_eq!(report.virtual_time, Duration::from_secs(1));
}

#[test]
fn a_fault_that_never_ends_fails_the_run_and_names_the_command() {
    let faults = "[[fault]]\nwhat = \"loss\"\nshare = \"100%\"\nat = \"10%\"";
    let faults = Faults::parse(faults).expect("a description");
    let mut run = small(1)
        .faults(faults)
        .start_with(|world| world.set_repeat_command("try this again"))
        .expect("a sensible scenario");
    let failure = run
        .advance(|_| ControlFlow::Continue(()))
        .expect_err("nobody gets on");
    assert!(matches!(failure.kind, FailureKind::Stalled(_)), "{failure}");
    assert!(failure.to_string().contains("repeat with: try this again"));
    assert_eq!(run.end(), None);
    assert_eq!(run.report().complete, 0);
}

#[test]
fn nonsense_is_refused() {
    let refused = |scenario: Scenario| scenario.start().map(|_| ()).expect_err("nonsense");
    assert_eq!(refused(small(1).peers(0)), ScenarioError::NoPeers);
    assert_eq!(refused(small(1).seeders(0)), ScenarioError::NoSeeders);
    assert_eq!(
        refused(small(1).peers(u32::MAX)),
        ScenarioError::TooManyHosts(u32::MAX)
    );
    assert_eq!(refused(small(1).size(0)), ScenarioError::NoSize);
    assert_eq!(refused(small(1).rates(1, 0)), ScenarioError::NoRate);
    assert_eq!(
        refused(small(1).loss(500_001)),
        ScenarioError::Loss(500_001)
    );
    assert_eq!(
        refused(small(1).churn(1_000_001)),
        ScenarioError::Churn(1_000_001)
    );
    assert_eq!(
        refused(small(1).until(Duration::ZERO)),
        ScenarioError::NoTime
    );
    assert_eq!(
        refused(small(1).piece_length(8_192)),
        ScenarioError::PieceLength(8_192)
    );
    let minute = Duration::from_secs(60);
    assert_eq!(
        refused(small(1).latency(minute)),
        ScenarioError::Latency(minute)
    );
    let many = refused(small(1).size(1 << 40));
    assert!(matches!(many, ScenarioError::TooManyPieces { pieces, .. } if pieces == 1 << 26));
    let faults = Faults::parse("[[fault]]\nwhat = \"rot\"\nwho = \"host 7\"\nat = \"1s\"");
    assert_eq!(
        refused(small(1).faults(faults.expect("a description"))),
        ScenarioError::Faults(FaultsError::NoHost(7))
    );
    let army = Faults::parse("[[hostile]]\nmanner = \"mute\"\ncount = \"4000000000\"");
    assert_eq!(
        refused(small(1).faults(army.expect("a description"))),
        ScenarioError::TooManyHosts(4_000_000_007)
    );
}

#[test]
fn a_table_has_a_row_for_every_host_and_one_for_the_swarm() {
    let hostile = Faults::parse("[[hostile]]\nmanner = \"corrupt\"\ncount = \"2\"").expect("two");
    let run = finished(small(1).faults(hostile));
    let table = csv(&run);
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next().expect("names").split(',').collect();
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == names.len()));
    assert_eq!(rows.len(), run.metrics().samples().len() * (1 + 6 + 2 + 1));
    let column = |name| {
        names
            .iter()
            .position(|known| *known == name)
            .expect("a column")
    };
    let number = |row: &Vec<&str>, name| row[column(name)].parse::<u64>().expect("a number");
    let (hosts, swarm) = rows[rows.len() - 10..].split_at(9);
    assert_eq!(swarm[0][column("role")], "swarm");
    assert_eq!(
        hosts
            .iter()
            .filter(|row| row[column("role")] == "hostile")
            .count(),
        2
    );
    for name in ["have", "received", "payload_sent", "connections"] {
        let sum: u64 = hosts.iter().map(|row| number(row, name)).sum();
        assert_eq!(sum, number(&swarm[0], name), "{name}");
    }
    assert_eq!(swarm[0][column("copies_mean")], "7.000");
}

#[test]
fn a_picture_is_well_formed_and_of_bounded_size() {
    for (peers, preset) in [(1, "none"), (5, "crashes"), (60, "hostile-peers")] {
        let faults = Faults::preset(preset).expect("a preset");
        let run = finished(small(1).peers(peers).size(512 << 10).faults(faults));
        let picture = run.plot();
        let document = roxmltree::Document::parse(&picture).expect("well-formed");
        let root = document.root_element();
        assert_eq!(root.tag_name().name(), "svg");
        let texts: Vec<&str> = document
            .descendants()
            .filter_map(|node| node.text())
            .collect();
        for name in ["Completion", "Availability, in copies", "virtual time"] {
            assert!(texts.contains(&name), "{name}");
        }
        assert!(texts.iter().any(|text| text.starts_with("Throughput, in ")));
        assert!(texts.iter().any(|text| text.contains("seed 0x1")));
        // A line for each peer.
        let lines = document
            .descendants()
            .filter(|node| node.attribute("class") == Some("peer"))
            .flat_map(|group| group.children().filter(|node| node.has_tag_name("path")))
            .count();
        assert_eq!(lines, peers as usize);
        assert!(
            picture.len() < 100_000 + peers as usize * 6_000,
            "{}",
            picture.len()
        );
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }
}

#[test]
fn a_picture_of_no_time_is_one_all_the_same() {
    let mut run = small(1).start().expect("a sensible scenario");
    for picture in [run.plot(), {
        run.advance(|_| ControlFlow::Break(())).expect("no failure");
        run.plot()
    }] {
        roxmltree::Document::parse(&picture).expect("well-formed");
        assert!(!picture.contains("NaN"));
    }
}
