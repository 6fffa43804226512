//! Names and web servers, and all that goes wrong with them.

mod common;

use std::time::Duration;

use anabranch_core::Instant;
use anabranch_core::action::LocalPaths;
use anabranch_core::command::AddTorrent;
use anabranch_core::event::{ContactError, HttpReply};
use anabranch_sim::{
    Content, DnsMode, Family, Fault, HostConfig, HttpGet, WebMode, World, WorldConfig,
};
use common::{HOUR, MINUTE, real, strict};

type Outcome = Result<HttpReply, ContactError>;

/// Makes one exchange in a world of its own. Says what came of it, and after how many seconds.
fn get(mode: WebMode, get: impl FnOnce(String) -> HttpGet) -> (Outcome, f64) {
    let content = real(300_000, 65_536);
    let mut world = World::new(1);
    let web = world.add_web_server(Some(100_000));
    let url = world.publish(web, "file", &content);
    world.schedule(Duration::ZERO, Fault::Web(web, mode));
    let host = world.add_host(HostConfig::default());
    let soon = world.run_for(Duration::from_millis(1));
    soon.expect("nothing happens");
    let began = world.now();
    let fetch = world.http_get(host, get(url));
    let ended = world.run_until(HOUR, |world| world.fetched(fetch).is_some());
    ended.expect("every exchange ends");
    let took = world.now().since(began).as_secs_f64();
    let outcome = world.fetched(fetch).expect("it has ended");
    (outcome.clone(), took)
}

fn body(content: &Content, from: u64, to: u64) -> Vec<u8> {
    let whole: Vec<u8> = (0..content.pieces())
        .flat_map(|piece| content.slice(piece, 0, u32::MAX))
        .collect();
    whole[from as usize..to as usize].to_vec()
}

#[test]
fn a_web_server_answers_for_ranges_of_a_file_in_the_time_that_they_take() {
    let content = real(300_000, 65_536);
    for (from, to, seconds) in [
        (0, 100_000, 1.0),
        (65_000, 66_000, 0.01),
        (299_999, 300_000, 0.0),
        (100_000, 300_000, 2.0),
    ] {
        let (reply, took) = get(WebMode::Working, |url| {
            HttpGet::new(url).with_range(from..to)
        });
        let reply = reply.unwrap();
        assert_eq!(reply.status, 206);
        assert!(reply.body == body(&content, from, to));
        assert!(took >= seconds && took < seconds + 0.25, "{took}");
    }
    let (reply, took) = get(WebMode::Working, HttpGet::new);
    let reply = reply.unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, 300_000));
    assert!((3.0..3.25).contains(&took), "{took}");
    // What is past the end is cut off, or not there.
    let (reply, _) = get(WebMode::Working, |url| {
        HttpGet::new(url).with_range(299_000..400_000)
    });
    assert_eq!(reply.unwrap().body.len(), 1_000);
    let (reply, _) = get(WebMode::Working, |url| {
        HttpGet::new(url).with_range(300_000..300_001)
    });
    assert_eq!(reply.unwrap().status, 416);
    let (reply, _) = get(WebMode::Working, |url| HttpGet::new(url + "s"));
    assert_eq!(reply.unwrap().status, 404);
}

#[test]
fn a_web_server_can_be_wrong_in_every_way() {
    let content = real(300_000, 65_536);
    let range = |url| HttpGet::new(url).with_range(1_000..2_000);
    let (outcome, took) = get(WebMode::Refusing, range);
    assert!(
        matches!(outcome, Err(ContactError::Unreachable(_))),
        "{outcome:?}"
    );
    assert!(took < 1.0);
    let (outcome, took) = get(WebMode::Silent, range);
    assert_eq!(outcome, Err(ContactError::TimedOut));
    assert!((59.9..60.1).contains(&took), "{took}");
    let (outcome, took) = get(WebMode::Slow(Duration::from_secs(7)), range);
    assert_eq!(outcome.unwrap().body.len(), 1_000);
    assert!((7.0..7.3).contains(&took), "{took}");
    let (outcome, _) = get(WebMode::Slow(Duration::from_secs(70)), range);
    assert_eq!(outcome, Err(ContactError::TimedOut));
    let (outcome, _) = get(WebMode::Status(503), range);
    assert_eq!(outcome.unwrap().status, 503);
    let (outcome, _) = get(WebMode::Short(10), range);
    assert!(outcome.unwrap().body == body(&content, 1_000, 1_990));
    let (outcome, _) = get(WebMode::Short(2_000), range);
    assert!(outcome.unwrap().body.is_empty());
    let (outcome, _) = get(WebMode::Long(10), range);
    assert_eq!(outcome.unwrap().body.len(), 1_010);
    let (outcome, _) = get(WebMode::Corrupt, range);
    let wrong = outcome.unwrap().body;
    assert_ne!(wrong[0], body(&content, 1_000, 1_001)[0]);
    assert!(wrong[1..] == body(&content, 1_001, 2_000));
    let (outcome, _) = get(WebMode::NoRanges, range);
    let reply = outcome.unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, 300_000));
    let (outcome, _) = get(WebMode::NoRanges, |url| HttpGet {
        body_limit: 1_000,
        ..range(url)
    });
    assert_eq!(outcome, Err(ContactError::TooLarge { limit: 1_000 }));
}

#[test]
fn those_that_ask_a_web_server_share_its_link_and_their_own() {
    let content = real(300_000, 65_536);
    let mut world = World::new(1);
    let web = world.add_web_server(Some(100_000));
    let url = world.publish(web, "file", &content);
    let fast = world.add_host(HostConfig::default());
    let slow = world.add_host(HostConfig::with_rate(20_000));
    let whole = world.http_get(fast, HttpGet::new(url.clone()));
    let part = world.http_get(slow, HttpGet::new(url).with_range(0..100_000));
    world
        .run_until(MINUTE, |world| world.fetched(whole).is_some())
        .unwrap();
    let took = world.now().since(Instant::ZERO).as_secs_f64();
    assert!((4.0..4.3).contains(&took), "{took}");
    assert!(world.fetched(part).is_none());
    world
        .run_until(MINUTE, |world| world.fetched(part).is_some())
        .unwrap();
    let took = world.now().since(Instant::ZERO).as_secs_f64();
    assert!((5.0..5.4).contains(&took), "{took}");
    assert_eq!(world.web_requests(web), 2);
}

#[test]
fn a_partition_cuts_off_web_servers_and_names() {
    let content = real(300_000, 65_536);
    let mut world = World::new(1);
    let web = world.add_web_server(None);
    let by_number = world.publish(web, "file", &content);
    world.set_name(
        "web.test",
        world.web_addresses(web).map(|at| at.ip()).to_vec(),
    );
    let host = world.add_host(HostConfig::default());
    world.schedule(Duration::ZERO, Fault::Partition(vec![host]));
    world.run_for(Duration::from_secs(1)).unwrap();
    let by_name = String::from("http://web.test/file");
    for url in [by_number.clone(), by_name.clone()] {
        let fetch = world.http_get(host, HttpGet::new(url));
        world.run_for(2 * MINUTE).unwrap();
        assert_eq!(world.fetched(fetch), Some(&Err(ContactError::TimedOut)));
    }
    world.schedule(Duration::ZERO, Fault::Heal);
    for url in [by_number, by_name] {
        let fetch = world.http_get(host, HttpGet::new(url));
        world.run_for(2 * MINUTE).unwrap();
        let reply = world.fetched(fetch).unwrap().as_ref().unwrap();
        assert_eq!(reply.body.len(), 300_000);
    }
}

#[test]
fn a_name_leads_to_the_address_of_a_family_that_one_has() {
    let content = real(1_000, 65_536);
    for family in [Family::V4, Family::V6, Family::Both] {
        let mut world = World::new(1);
        let web = world.add_web_server(None);
        world.publish(web, "file", &content);
        let [v4, v6] = world.web_addresses(web);
        let mut config = HostConfig::default();
        config.family = family;
        let host = world.add_host(config);
        let mut check = |addresses: &[std::net::IpAddr], there: bool| {
            world.set_name("web.test", addresses.to_vec());
            let fetch = world.http_get(host, HttpGet::new("http://web.test/file"));
            world.run_for(MINUTE).unwrap();
            let outcome = world.fetched(fetch).unwrap();
            assert_eq!(outcome.is_ok(), there, "{family:?}: {outcome:?}");
        };
        check(&[v4.ip(), v6.ip()], true);
        check(&[v4.ip()], family != Family::V6);
        check(&[v6.ip()], family != Family::V4);
        check(&[], false);
    }
}

/// A swarm whose tracker has a name, with look-ups that are broken until later.
fn named(mode: DnsMode) -> (World, Result<(), anabranch_sim::Failure>) {
    let content = real(300_000, 65_536);
    let mut world = World::with_config(strict(1));
    let tracker = world.add_tracker(MINUTE);
    let address = world.tracker_address(tracker);
    world.set_name("tracker.test", vec![address.ip()]);
    let urls = ["http", "udp"]
        .map(|scheme| format!("{scheme}://tracker.test:{}/announce", address.port()));
    let add = AddTorrent {
        trackers: Some(vec![urls.to_vec()]),
        ..AddTorrent::default()
    };
    world.schedule(Duration::ZERO, Fault::Dns(mode));
    world.schedule(5 * MINUTE, Fault::Dns(DnsMode::Working));
    let seed = world.add_host(HostConfig::default());
    let leecher = world.add_host(HostConfig::default());
    let soon = world.run_for(Duration::from_millis(1));
    soon.expect("nothing happens");
    let seeding = world.seed_torrent(seed, &content, add.clone());
    seeding.expect("the seed takes it on");
    let leeching = world.add_torrent(leecher, &content, add);
    leeching.expect("the leecher takes it on");
    let outcome = world.run_until_complete(HOUR);
    (world, outcome)
}

#[test]
fn look_ups_that_fail_take_long_or_end_in_nothing_delay_a_swarm_and_no_more() {
    let late = |mode: DnsMode| {
        let (world, outcome) = named(mode.clone());
        if let Err(failure) = outcome {
            panic!("{mode:?}: {failure}");
        }
        world.now() > Instant::ZERO + 5 * MINUTE
    };
    assert!(!late(DnsMode::Working));
    assert!(!late(DnsMode::Slow(Duration::from_secs(3))));
    // Slower than anybody waits.
    assert!(late(DnsMode::Slow(Duration::from_secs(30))));
    assert!(late(DnsMode::Failing));
    assert!(late(DnsMode::Silent));
}

#[test]
fn a_peer_by_name_is_found_when_names_are() {
    let content = real(300_000, 65_536);
    for mode in [DnsMode::Working, DnsMode::Slow(Duration::from_secs(5))] {
        let mut world = World::with_config(WorldConfig::new(1));
        let seed = world.add_host(HostConfig::default());
        let leecher = world.add_host(HostConfig::default());
        world
            .seed_torrent(seed, &content, AddTorrent::default())
            .unwrap();
        let torrent = world
            .add_torrent(leecher, &content, AddTorrent::default())
            .unwrap();
        let address = world.address(seed);
        world.set_name("peer.test", vec![address.ip()]);
        world.schedule(Duration::ZERO, Fault::Dns(mode));
        world.run_for(Duration::from_millis(1)).unwrap();
        let add = anabranch_core::Command::AddPeerHost {
            torrent,
            host: String::from("peer.test"),
            port: address.port(),
        };
        world.command(leecher, add);
        world.run_until_complete(MINUTE).unwrap();
    }
}

#[test]
fn a_hosts_own_machine_is_asked_for_paths_of_trackers_alone() {
    let here = "127.0.0.1".parse().unwrap();
    for (url, paths, is_refused) in [
        ("http://127.0.0.1/admin", LocalPaths::Trackers, true),
        ("http://here/admin?x=/announce", LocalPaths::Trackers, true),
        ("http://here/announce", LocalPaths::Trackers, false),
        ("http://here/admin", LocalPaths::Any, false),
    ] {
        let mut world = World::new(1);
        world.set_name("here", vec![here]);
        let host = world.add_host(HostConfig::default());
        let fetch = world.http_get(host, HttpGet::new(url).with_local_paths(paths));
        let ended = world.run_until(HOUR, |world| world.fetched(fetch).is_some());
        ended.expect("every exchange ends");
        let outcome = world.fetched(fetch).unwrap().clone();
        match outcome {
            Err(ContactError::Failed(words)) => {
                assert!(
                    is_refused && words.contains("no path of a tracker"),
                    "{url}: {words}"
                );
            }
            // Nothing answers there.
            outcome => assert_eq!(
                (outcome, is_refused),
                (Err(ContactError::TimedOut), false),
                "{url}"
            ),
        }
    }
}
