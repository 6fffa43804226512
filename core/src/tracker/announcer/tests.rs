use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::time::Duration;

use quickcheck::quickcheck;

use super::*;
use crate::event::{HttpReply, Undelivered};
use crate::rng::Seed;
use crate::tracker::TrackerServer;
use crate::tracker::testing::{Client, Exchange, OWN};
use crate::wire::tracker::AnnounceQuery;
use crate::wire::tracker_udp::{Announce, Family, Request, Response};

const A: &str = "http://a.example/announce";
const B: &str = "http://b.example/announce";
const C: &str = "http://c.example/announce";
const UDP: &str = "udp://192.0.2.9:6969/announce";

/// A reply with an interval of half an hour and nobody to name.
const NOBODY: &str = "d8:completei0e8:intervali1800e5:peers0:e";

/// A reply with an interval of half an hour and one peer.
const SOMEBODY: &[u8] = b"d8:completei1e8:intervali1800e5:peers6:\xc0\x00\x02\x63\x00\x50e";

const REFUSED: &str = "d14:failure reason2:noe";

fn hosts(client: &Client) -> Vec<String> {
    let statuses = client.announcer.statuses(client.world.now);
    let host = |url: &str| url.split('/').nth(2).unwrap().to_string();
    statuses.iter().map(|status| host(&status.url)).collect()
}

/// Lets every exchange fail for so many seconds; returns when (in seconds) each was begun, and its host.
fn fail_for(client: &mut Client, seconds: u64) -> Vec<(u64, String)> {
    let begin = client.world.now;
    let mut asked = Vec::new();
    for _ in 0..=seconds {
        while !client.exchanges.is_empty() {
            let exchange = client.refuse();
            asked.push((client.world.now.since(begin).as_secs(), exchange.host()));
        }
        client.pass(1);
    }
    asked
}

#[test]
fn a_query_says_what_the_tracker_must_know() {
    let mut client = Client::started(1, &[&["http://a.example/announce?passkey=x"]]);
    let exchange = client.take();
    let start = "http://a.example/announce?passkey=x&info_hash=";
    assert!(exchange.url.starts_with(start), "{}", exchange.url);
    assert_eq!(exchange.timeout_ms, 30_000);
    let expected = AnnounceQuery {
        info_hash: [7; 20],
        peer_id: PeerId([8; 20]),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: Some(AnnounceEvent::Started),
        compact: true,
        no_peer_id: true,
        num_want: Some(200),
        key: Some(client.announcer.key),
        tracker_id: None,
        ip: None,
    };
    assert_eq!(exchange.query(), expected);
}

#[test]
fn who_does_not_listen_announces_port_0() {
    let mut client = Client::new(1, &[&[A]]);
    client.listen(None);
    client.call(Announcer::start);
    assert_eq!(client.take().query().port, 0);
}

#[test]
fn no_peers_are_asked_for_when_none_are_wanted() {
    let mut client = Client::new(1, &[&[A]]);
    client.facts.want_peers = false;
    client.call(Announcer::start);
    assert_eq!(client.take().query().num_want, Some(0));
}

#[test]
fn a_tier_is_shuffled_and_tiers_stay_in_order() {
    let mut firsts = Vec::new();
    for seed in 0..40 {
        let hosts = hosts(&Client::new(seed, &[&[A, B], &[], &[C]]));
        assert_eq!(hosts[2], "c.example");
        firsts.push(hosts[0].clone());
    }
    firsts.sort();
    firsts.dedup();
    assert_eq!(firsts, ["a.example", "b.example"]);
}

#[test]
fn the_next_tier_is_asked_when_all_of_one_fail() {
    let mut client = Client::started(1, &[&[A, B], &[C]]);
    let mut first = [client.refuse().host(), client.refuse().host()];
    first.sort();
    assert_eq!(first, ["a.example", "b.example"]);
    assert_eq!(client.refuse().host(), "c.example");
    assert!(client.exchanges.is_empty());
}

#[test]
fn the_tracker_that_answered_moves_to_the_front_of_its_tier() {
    let mut client = Client::started(1, &[&[A, B, C], &["http://d.example/announce"]]);
    let before = hosts(&client);
    client.refuse();
    client.refuse();
    assert_eq!(client.reply(SOMEBODY).host(), before[2]);
    let after = hosts(&client);
    let expected = [2, 0, 1, 3].map(|index: usize| before[index].clone());
    assert_eq!(after, expected);
    client.pass(1_800);
    assert_eq!(client.take().host(), before[2]);
}

#[test]
fn a_better_tier_is_come_back_to_once_its_backoff_is_over() {
    let mut client = Client::started(1, &[&[A], &[B]]);
    assert_eq!(client.refuse().host(), "a.example");
    assert_eq!(client.reply(SOMEBODY).host(), "b.example");
    client.pass(1_799);
    assert!(client.exchanges.is_empty());
    client.pass(1);
    assert_eq!(client.reply(SOMEBODY).host(), "a.example");
    assert!(client.exchanges.is_empty());
}

#[test]
fn a_tracker_is_left_out_until_its_backoff_is_over() {
    let mut client = Client::started(1, &[&[A], &[B]]);
    // A fails again and again, until its backoff is past the interval of B.
    for _ in 0..10 {
        while client.exchanges[0].host() == "a.example" {
            client.refuse();
        }
        client.reply("d8:completei0e8:intervali60e5:peers6:peers!e");
        client.pass(60);
    }
    assert_eq!(client.reply(SOMEBODY).host(), "b.example");
    let statuses = client.announcer.statuses(client.world.now);
    assert!(statuses[0].next_announce > Some(60), "{statuses:?}");
    assert_eq!(statuses[1].next_announce, Some(1_800));
}

#[test]
fn a_working_tracker_that_fails_is_replaced_at_once() {
    let mut client = Client::started(1, &[&[A], &[B]]);
    client.reply(SOMEBODY);
    client.pass(1_800);
    assert_eq!(client.refuse().host(), "a.example");
    let exchange = client.reply(SOMEBODY);
    assert_eq!(exchange.host(), "b.example");
    assert_eq!(exchange.event(), Some(AnnounceEvent::Started));
}

#[test]
fn the_interval_is_kept() {
    for (body, seconds) in [
        ("d8:completei0e8:intervali900e5:peers0:e", 900),
        ("d8:completei0e8:intervali0e5:peers0:e", 60),
        (
            "d8:completei0e8:intervali1e12:min intervali300e5:peers0:e",
            300,
        ),
        ("d8:completei0e8:intervali4000000000e5:peers0:e", 86_400),
        (
            "d8:completei0e8:intervali60e12:min intervali4000000000e5:peers0:e",
            86_400,
        ),
        ("d8:completei0e5:peers0:e", 1_800),
    ] {
        let mut client = Client::started(1, &[&[A]]);
        client.reply(body);
        let status = client.announcer.statuses(client.world.now).remove(0);
        assert_eq!(status.next_announce, Some(seconds), "{body}");
        client.pass(seconds - 1);
        assert!(client.exchanges.is_empty(), "{body}");
        client.pass(1);
        assert_eq!(client.take().event(), None, "{body}");
    }
}

#[test]
fn started_is_repeated_until_it_is_acknowledged() {
    let mut client = Client::started(1, &[&[A]]);
    client.refuse();
    client.pass(10);
    assert_eq!(client.reply(REFUSED).event(), Some(AnnounceEvent::Started));
    client.pass(20);
    assert_eq!(client.reply(NOBODY).event(), Some(AnnounceEvent::Started));
    client.pass(1_800);
    assert_eq!(client.take().event(), None);
}

#[test]
fn a_completed_event_is_sent_once() {
    let mut client = Client::started(1, &[&[A]]);
    client.reply(NOBODY);
    client.pass(5);
    client.facts.left = 0;
    client.complete();
    let exchange = client.refuse();
    assert_eq!(exchange.event(), Some(AnnounceEvent::Completed));
    assert_eq!(exchange.query().left, 0);
    // It was not acknowledged, so it is still owed.
    client.pass(10);
    assert_eq!(client.reply(NOBODY).event(), Some(AnnounceEvent::Completed));
    client.complete();
    assert!(client.exchanges.is_empty());
    client.pass(1_800);
    assert_eq!(client.reply(NOBODY).event(), None);
}

#[test]
fn a_torrent_that_starts_complete_does_not_tell_that_it_was_completed() {
    let mut client = Client::new(1, &[&[A]]);
    client.facts.left = 0;
    client.call(Announcer::start);
    client.reply(NOBODY);
    client.complete();
    assert!(client.exchanges.is_empty());
    client.pass(1_800);
    assert_eq!(client.take().event(), None);
}

#[test]
fn what_completes_before_the_first_answer_is_told_after_it() {
    let mut client = Client::started(1, &[&[A]]);
    client.facts.left = 0;
    client.complete();
    assert_eq!(client.reply(NOBODY).event(), Some(AnnounceEvent::Started));
    assert_eq!(client.reply(NOBODY).event(), Some(AnnounceEvent::Completed));
    assert!(client.exchanges.is_empty());
}

#[test]
fn stopped_goes_to_those_that_acknowledged_started() {
    let mut client = Client::started(1, &[&[A], &[B], &[C]]);
    client.refuse();
    client.reply(SOMEBODY);
    client.call(Announcer::stop);
    let exchange = client.take();
    assert_eq!(exchange.host(), "b.example");
    assert_eq!(exchange.event(), Some(AnnounceEvent::Stopped));
    assert_eq!(exchange.query().num_want, Some(0));
    assert!(!client.announcer.is_idle());
    client.http(exchange.op, OpResult::Http(Err(ContactError::TimedOut)));
    assert!(client.announcer.is_idle());
    // Nothing follows, and nobody is told of the failure.
    client.pass(100_000);
    assert!(client.exchanges.is_empty());
    assert_eq!(client.failures().len(), 1);
}

#[test]
fn a_download_that_ends_when_it_is_complete_tells_both() {
    // Whether the announce is under way or not when the end comes.
    for launched in [false, true] {
        let mut client = Client::started(1, &[&[A]]);
        client.reply(NOBODY);
        client.facts.left = 0;
        client.announcer.complete();
        if launched {
            client.complete();
        }
        client.call(Announcer::stop);
        assert_eq!(client.reply(NOBODY).event(), Some(AnnounceEvent::Completed));
        assert_eq!(client.reply(NOBODY).event(), Some(AnnounceEvent::Stopped));
        assert!(client.exchanges.is_empty() && client.announcer.is_idle());
    }
}

#[test]
fn a_tracker_that_never_answered_is_not_told_goodbye() {
    for tracker in [A, UDP] {
        let mut client = Client::started(1, &[&[tracker]]);
        client.pass(3);
        client.call(Announcer::stop);
        assert!(client.exchanges.is_empty());
        assert!(client.announcer.is_idle());
        assert_eq!(client.cancelled.len(), usize::from(tracker == A));
        assert!(client.failures().is_empty());
    }
}

#[test]
fn a_goodbye_does_not_hold_up_the_end() {
    for tracker in [A, UDP] {
        let mut client = Client::started(1, &[&[tracker]]);
        let mut server = TrackerServer::new(Seed([1; 32]), Duration::from_secs(1_800));
        client.serve(&mut server, OWN.parse().unwrap());
        client.call(Announcer::stop);
        assert!(!client.announcer.is_idle());
        client.pass(2);
        assert!(!client.announcer.is_idle());
        client.pass(1);
        assert!(client.announcer.is_idle());
        assert_eq!(client.udp.len(), 0);
        assert_eq!(client.cancelled.len(), client.world.ops.len());
    }
}

#[test]
fn a_start_does_not_overtake_the_goodbye_before_it() {
    let mut client = Client::started(1, &[&[A]]);
    client.reply(NOBODY);
    client.call(Announcer::stop);
    client.call(Announcer::start);
    assert_eq!(client.reply(NOBODY).event(), Some(AnnounceEvent::Stopped));
    assert_eq!(client.reply(NOBODY).event(), Some(AnnounceEvent::Started));
}

#[test]
fn abandoning_leaves_nothing_under_way() {
    let mut client = Client::started(1, &[&[UDP], &[A]]);
    client.call(|announcer, means, facts| {
        announcer.abandon(&mut means.ctx);
        means.udp.forget(&mut means.ctx, facts.torrent);
    });
    assert!(client.announcer.is_idle());
    assert_eq!(client.udp.len(), 0);
    client.pass(100_000);
    assert!(client.exchanges.is_empty() && client.notices.is_empty());
}

#[test]
fn backoff_grows_from_five_seconds_to_an_hour() {
    let mut client = Client::started(3, &[&[A]]);
    let asked = fail_for(&mut client, 40_000);
    let gaps: Vec<u64> = asked.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    for (index, gap) in gaps.iter().enumerate() {
        let base = (5_u64 << index.min(20)).min(3_600);
        let range = (base * 3 / 4).max(5)..=(base * 5 / 4 + 1).min(3_601);
        assert!(range.contains(gap), "{index}: {gap} {range:?}");
    }
    assert!(gaps.len() > 15, "{gaps:?}");
    // Jitter: not all of the last ones are alike.
    assert!(gaps[11..].iter().any(|gap| *gap != gaps[11]));
}

#[test]
fn a_round_does_not_ask_a_tracker_twice() {
    let mut client = Client::started(1, &[&[A], &[B], &[C]]);
    client.pass(20);
    let hosts: Vec<String> = client.exchanges.iter().map(Exchange::host).collect();
    assert_eq!(hosts, ["a.example", "b.example", "c.example"]);
    // They fail one by one; the first one is left alone for its backoff.
    client.refuse_first();
    client.pass(4);
    client.refuse_first();
    client.refuse_first();
    assert!(client.exchanges.is_empty());
    client.pass(3);
    assert_eq!(client.take().host(), "a.example");
}

#[test]
fn a_refusal_without_a_reason_is_told_as_one() {
    let mut client = Client::started(1, &[&[A]]);
    client.reply("d14:failure reason0:e");
    let (_, error, _) = client.failures().remove(0);
    assert_eq!(error, "refused without a reason");
}

#[test]
fn a_tracker_that_says_when_to_come_back_is_obeyed() {
    let mut client = Client::started(1, &[&[A]]);
    client.reply("d14:failure reason4:busy8:retry ini20ee");
    let (url, error, retry_in) = client.failures().remove(0);
    assert_eq!(
        (url.as_str(), error.as_str(), retry_in),
        (A, "busy", Some(1_200))
    );
    client.call(Announcer::reannounce);
    client.pass(1_199);
    assert!(client.exchanges.is_empty());
    client.pass(1);
    client.reply("d14:failure reason4:gone8:retry in5:nevere");
    let (_, error, retry_in) = client.failures().remove(1);
    assert_eq!(error, "gone");
    assert_eq!(retry_in, None);
    client.pass(1_000_000);
    client.call(Announcer::reannounce);
    assert!(client.exchanges.is_empty());
    assert_eq!(client.world.timers.next(), None);
}

#[test]
fn more_peers_are_asked_for_after_the_minimum_interval() {
    let mut client = Client::started(1, &[&[A]]);
    client.reply("d8:completei0e8:intervali1800e12:min intervali300e5:peers0:e");
    client.pass(100);
    client.call(Announcer::want_peers);
    client.pass(199);
    assert!(client.exchanges.is_empty());
    client.pass(1);
    assert_eq!(client.reply(NOBODY).event(), None);
}

#[test]
fn a_tracker_without_a_minimum_interval_is_not_asked_before_its_interval() {
    let mut client = Client::started(1, &[&[A]]);
    for _ in 0..3 {
        client.reply(NOBODY);
        for _ in 0..1_799 {
            client.call(Announcer::want_peers);
            client.pass(1);
        }
        assert!(client.exchanges.is_empty());
        client.pass(1);
    }
    // The user may ask once a minute.
    client.reply(NOBODY);
    client.pass(59);
    client.call(Announcer::reannounce);
    assert!(client.exchanges.is_empty());
    client.pass(1);
    assert_eq!(client.take().event(), None);
}

#[test]
fn peers_that_are_not_wanted_any_more_are_not_asked_for() {
    let mut client = Client::started(1, &[&[A]]);
    client.reply(NOBODY);
    client.call(Announcer::want_peers);
    client.facts.want_peers = false;
    client.pass(1_000);
    assert!(client.exchanges.is_empty());
    // The user's wish stands all the same.
    client.call(Announcer::reannounce);
    assert_eq!(client.take().event(), None);
}

#[test]
fn wanting_peers_does_not_shorten_a_backoff_but_the_user_does() {
    let mut client = Client::started(1, &[&[A]]);
    fail_for(&mut client, 600);
    client.call(Announcer::want_peers);
    assert!(client.exchanges.is_empty());
    client.call(Announcer::reannounce);
    assert_eq!(client.take().event(), Some(AnnounceEvent::Started));
}

#[test]
fn the_tracker_id_is_given_back() {
    let mut client = Client::started(1, &[&[A]]);
    client.reply("d8:completei0e8:intervali60e5:peers0:10:tracker id3:a&be");
    client.pass(60);
    let exchange = client.reply(NOBODY);
    assert_eq!(exchange.query().tracker_id.as_deref(), Some(&b"a&b"[..]));
    client.pass(1_800);
    assert!(client.take().query().tracker_id.is_some());
}

#[test]
fn a_warning_is_passed_on() {
    let mut client = Client::started(1, &[&[A]]);
    client.reply("d8:completei0e8:intervali60e5:peers0:15:warning message5:old\x1b!e");
    let warning = Some("old\u{fffd}!".to_string());
    let status = client.announcer.statuses(client.world.now).remove(0);
    assert!(status.working);
    assert_eq!(status.message, warning);
    assert_eq!(
        client.notices,
        [Notice::TrackerReplied {
            torrent: client.facts.torrent,
            url: A.to_string(),
            peers: 0,
            warning,
        }]
    );
}

#[test]
fn foreign_text_is_bounded() {
    let mut client = Client::started(1, &[&[A]]);
    let exchange = client.take();
    let long = ContactError::Failed("x".repeat(1 << 20));
    client.http(exchange.op, OpResult::Http(Err(long)));
    assert_eq!(client.failures()[0].1.len(), limits::MAX_FOREIGN_TEXT);
}

#[test]
fn secrets_are_not_in_notices() {
    let mut client = Client::started(1, &[&["http://u:p@a.example/announce?passkey=s3"]]);
    client.reply(REFUSED);
    client.pass(10);
    client.reply(NOBODY);
    let text = format!("{:?}", client.notices);
    assert!(text.contains("http://a.example/announce"));
    assert!(!text.contains("s3") && !text.contains("u:p"), "{text}");
}

#[test]
fn unusable_peers_and_ourselves_are_left_out() {
    let mut client = Client::started(1, &[&[A]]);
    let mut body =
        b"d8:completei0e11:external ip4:\xcb\x00\x71\x058:intervali60e5:peers48:".to_vec();
    for (ip, port) in [
        ([192, 0, 2, 7], 80_u16),
        ([192, 0, 2, 7], 0),
        ([0, 0, 0, 0], 80),
        ([224, 0, 0, 1], 80),
        ([255, 255, 255, 255], 80),
        ([192, 0, 2, 1], 6881),
        ([192, 0, 2, 1], 6882),
        // What the tracker calls our own address.
        ([203, 0, 113, 5], 6881),
    ] {
        body.extend(ip);
        body.extend(port.to_be_bytes());
    }
    body.extend(b"e");
    client.reply(&body);
    let expected: Vec<SocketAddr> = ["192.0.2.7:80", "192.0.2.1:6882"]
        .iter()
        .map(|addr| addr.parse().unwrap())
        .collect();
    assert_eq!(client.peers, expected);
}

#[test]
fn peers_with_names_are_looked_up_within_bounds() {
    let mut client = Client::started(1, &[&[A], &[B]]);
    let entry = |n: u32| format!("d2:ip{}:{n}.example4:porti6881ee", n.to_string().len() + 8);
    let body = |range: core::ops::Range<u32>| {
        let entries: String = range.map(entry).collect();
        format!("d8:completei0e8:intervali60e5:peersl{entries}ee")
    };
    // Who names somebody by a name has named somebody.
    client.reply(body(0..3));
    assert!(client.exchanges.is_empty());
    assert_eq!(client.lookups.len(), 3);
    assert_eq!(client.lookups[0].1, "0.example");
    let found = |ips: &[&str]| {
        let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        OpResult::Resolved(Ok(ips))
    };
    client.resolved(found(&[
        "192.0.2.7",
        "0.0.0.0",
        "192.0.2.1",
        "::ffff:192.0.2.8",
    ]));
    client.resolved(OpResult::Resolved(Err(ContactError::Denied)));
    let expected = ["192.0.2.7:6881", "192.0.2.8:6881"].map(|addr| addr.parse().unwrap());
    assert_eq!(client.peers, expected, "neither nonsense nor ourselves");
    client.resolved(found(&["192.0.2.9"; 100]));
    assert_eq!(client.peers.len(), 2 + limits::MAX_PEER_NAME_ADDRESSES);
    // What is under way counts.
    for _ in 0..3 {
        client.pass(60);
        client.reply(body(0..10));
    }
    assert_eq!(client.lookups.len(), limits::MAX_PEER_LOOKUPS);
    client.resolved(OpResult::Cancelled);
    client.pass(60);
    client.reply(body(0..10));
    assert_eq!(client.lookups.len(), limits::MAX_PEER_LOOKUPS);
}

#[test]
fn a_tracker_on_this_machine_does_not_send_us_to_ourselves() {
    let mut client = Client::new(1, &[&[A]]);
    client.listen(Some("0.0.0.0:6881".parse().unwrap()));
    client.call(Announcer::start);
    client
        .reply(b"d8:completei0e8:intervali60e5:peers12:\x7f\0\0\x01\x1a\xe1\x7f\0\0\x01\x1a\xe2e");
    assert_eq!(client.peers, ["127.0.0.1:6882".parse().unwrap()]);
}

#[test]
fn no_more_peers_are_taken_than_the_limit() {
    let mut client = Client::started(1, &[&[A]]);
    let count = limits::MAX_TRACKER_PEERS + 10;
    let mut body = format!("d8:completei0e8:intervali60e5:peers{}:", count * 6).into_bytes();
    for index in 0..count as u32 {
        body.extend((0x0a00_0000 + index).to_be_bytes());
        body.extend([0x1a, 0xe1]);
    }
    body.push(b'e');
    client.reply(&body);
    assert_eq!(client.peers.len(), limits::MAX_TRACKER_PEERS);
}

#[test]
fn an_error_page_is_a_failure() {
    for (status, body, expected) in [
        (404, "<html>", "HTTP status 404"),
        (500, NOBODY, "HTTP status 500"),
        (400, REFUSED, "no"),
    ] {
        let mut client = Client::started(1, &[&[A]]);
        client.reply_status(status, body);
        assert_eq!(client.failures()[0].1, expected);
        assert_eq!(client.announcer.last_error(), Some(expected));
    }
    let mut client = Client::started(1, &[&[A]]);
    client.reply("<html>");
    assert_eq!(client.failures().len(), 1);
}

#[test]
fn a_reply_that_cannot_be_read_is_told_by_what_it_looks_like() {
    let deep = format!("d1:a{}{}e", "l".repeat(200), "e".repeat(200));
    for (body, expected) in [
        ("", "the reply is empty"),
        ("\u{feff}\r\n", "the reply is empty"),
        (" <html>", "the reply is a web page, and no tracker's"),
        ("hello", "the reply is no tracker's"),
        ("le", "the reply is no tracker's"),
        ("i5e", "the reply is no tracker's"),
        ("5:hello", "the reply is no tracker's"),
        ("d", "the reply ends too early, at byte 1"),
        ("d8:interva", "the reply ends too early, at byte 1"),
        ("d8:intervali60", "the reply ends too early, at byte 14"),
        ("d8:intervali60e", "the reply ends too early, at byte 15"),
        ("dxe", "the reply is damaged at byte 1: unexpected byte"),
        (
            "d8:intervalxe",
            "the reply is damaged at byte 11: unexpected byte",
        ),
        (&deep, "the reply is damaged at byte 103: nested too deep"),
    ] {
        let mut client = Client::started(1, &[&[A]]);
        client.reply(body);
        assert_eq!(client.failures()[0].1, expected, "{body}");
    }
}

#[test]
fn an_exchange_that_never_ends_is_given_up() {
    let mut client = Client::started(1, &[&[A], &[B]]);
    let op = client.exchanges[0].op;
    client.pass(3);
    client.exchanges.remove(0);
    assert_eq!(client.refuse().host(), "b.example");
    client.pass(31);
    assert!(client.cancelled.is_empty());
    client.exchanges.clear();
    client.pass(1);
    assert!(client.cancelled.contains(&op));
    assert_eq!(client.failures()[1].0, A);
    // Its end, when it comes, is of no more interest.
    let reply = HttpReply {
        status: 200,
        body: SOMEBODY.into(),
        retry_after: None,
    };
    client.http(op, OpResult::Http(Ok(reply)));
    assert!(client.peers.is_empty());
}

#[test]
fn trackers_of_other_schemes_are_reported_and_skipped() {
    let tiers: &[&[&str]] = &[
        &["wss://a.example/announce"],
        &[" \t", " http://b.example/a \n"],
    ];
    let mut client = Client::started(1, tiers);
    let (url, error, retry_in) = client.failures().remove(0);
    assert_eq!(url, "wss://a.example/announce");
    assert!(error.contains("udp"), "{error}");
    assert_eq!(retry_in, None);
    assert_eq!(client.reply(SOMEBODY).host(), "b.example");
    let statuses = client.announcer.statuses(client.world.now);
    assert_eq!(statuses.len(), 2);
    assert!(!statuses[0].working && statuses[0].message.is_some());
    assert_eq!(
        (statuses[1].tier, statuses[1].next_announce),
        (1, Some(1_800))
    );
}

#[test]
fn trackers_are_bounded_and_not_repeated() {
    let many: Vec<String> = (0..limits::MAX_TRACKERS * 2)
        .map(|number| format!("http://t{}.example/announce", number / 2))
        .collect();
    let mut rng = Rng::new(Seed([1; 32]));
    let announcer = Announcer::new(&vec![many; 3], false, &mut rng);
    assert_eq!(announcer.trackers.len(), limits::MAX_TRACKERS);
    let mut ids: Vec<usize> = announcer.trackers.iter().map(|t| t.id.0).collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..limits::MAX_TRACKERS));
}

#[test]
fn trackers_that_come_later_are_asked_after_the_others() {
    let add = |client: &mut Client, urls: &[&str]| {
        let urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
        client.call(|announcer, means, facts| announcer.add(means, facts, &urls));
    };
    // There were none: whoever is added is asked at once, and once.
    let mut client = Client::started(1, &[]);
    assert!(client.exchanges.is_empty());
    add(&mut client, &[" ", B, B, "nonsense"]);
    assert_eq!(client.reply(SOMEBODY).host(), "b.example");
    assert_eq!(client.failures().len(), 1);
    assert_eq!(client.announcer.statuses(client.world.now).len(), 2);
    // One answers: another one is asked when it fails.
    add(&mut client, &[A, B]);
    assert!(client.exchanges.is_empty());
    client.pass(1_800);
    assert_eq!(client.refuse().host(), "b.example");
    assert_eq!(client.reply(SOMEBODY).host(), "a.example");
    // Before the start nobody is asked.
    let mut client = Client::new(1, &[&[A]]);
    add(&mut client, &[C]);
    assert!(client.exchanges.is_empty());
    client.call(Announcer::start);
    assert_eq!(client.refuse().host(), "a.example");
    assert_eq!(client.refuse().host(), "c.example");
    let many: Vec<String> = (0..2 * limits::MAX_TRACKERS)
        .map(|n| format!("http://{n}.example/announce"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    add(&mut client, &many);
    let all = client.announcer.statuses(client.world.now);
    assert_eq!(all.len(), limits::MAX_TRACKERS);
}

#[test]
fn a_torrent_without_usable_trackers_is_at_rest() {
    for tiers in [&[][..], &[&["nonsense"][..]][..]] {
        let mut client = Client::started(1, tiers);
        client.call(Announcer::want_peers);
        client.call(Announcer::reannounce);
        client.call(Announcer::scrape);
        client.call(Announcer::stop);
        assert!(client.announcer.is_idle());
        assert_eq!(client.world.timers.next(), None);
    }
}

#[test]
fn a_udp_tracker_that_is_silent_is_left_for_another_one() {
    let mut client = Client::started(1, &[&[UDP], &[A]]);
    client.pass(2);
    assert!(client.exchanges.is_empty());
    client.pass(1);
    assert_eq!(client.reply(SOMEBODY).host(), "a.example");
    // It has not failed yet: packets get lost.
    client.pass(101);
    assert!(client.failures().is_empty());
    client.pass(1);
    assert_eq!(client.failures()[0].1, "no answer");
}

#[test]
fn ten_silent_trackers_cost_some_seconds() {
    let dead: Vec<String> = (1..=10).map(|n| format!("udp://192.0.2.{n}:1/")).collect();
    let mut tiers: Vec<Vec<&str>> = dead.iter().map(|url| [url.as_str()].into()).collect();
    for (count, seconds) in [(10, 12), (2, 4)] {
        tiers.truncate(count);
        let mut all: Vec<&[&str]> = tiers.iter().map(Vec::as_slice).collect();
        all.push(&[A]);
        let mut client = Client::started(1, &all);
        client.pass(seconds - 1);
        assert!(client.exchanges.is_empty());
        client.pass(1);
        client.reply(SOMEBODY);
        assert_eq!(client.peers.len(), 1, "after {seconds} s");
    }
}

#[test]
fn an_answer_that_comes_late_counts() {
    let mut client = Client::started(1, &[&[A], &[B]]);
    client.pass(3);
    let late = client.exchanges.remove(0);
    assert_eq!(client.reply(SOMEBODY).host(), "b.example");
    client.pass(10);
    let reply = HttpReply {
        status: 200,
        body: b"d8:completei1e8:intervali900e5:peers6:\xc0\x00\x02\x64\x00\x50e"[..].into(),
        retry_after: None,
    };
    client.http(late.op, OpResult::Http(Ok(reply)));
    assert_eq!(client.peers.len(), 2);
    // It is of a better tier: from now on it is the one to ask, and the other one is let be.
    client.pass(899);
    assert!(client.exchanges.is_empty());
    client.pass(1);
    assert_eq!(client.reply(SOMEBODY).host(), "a.example");
    client.pass(1_000);
    assert!(client.exchanges.is_empty());
    // Both know of us, and both are told that we go.
    client.call(Announcer::stop);
    assert_eq!(client.exchanges.len(), 2);
}

#[test]
fn a_tracker_that_the_network_cannot_reach_is_left_at_once() {
    let mut client = Client::started(1, &[&[UDP], &["udp://192.0.2.8:1/"], &[A]]);
    client.undelivered("192.0.2.9:6969", Undelivered::Refused);
    assert_eq!(client.failures()[0].1, "port unreachable");
    client.undelivered("192.0.2.8:1", Undelivered::Unreachable);
    assert_eq!(client.failures()[1].1, "network unreachable");
    assert_eq!(client.reply(SOMEBODY).host(), "a.example");
    // Nobody waits for these.
    client.undelivered("192.0.2.9:6969", Undelivered::Refused);
    client.undelivered("192.0.2.7:1", Undelivered::Denied);
    assert_eq!(client.failures().len(), 2);
}

#[test]
fn no_more_trackers_are_asked_at_a_time_than_the_limit() {
    let urls: Vec<String> = (0..40)
        .map(|n| format!("http://{n}.example/announce"))
        .collect();
    let tiers: Vec<[&str; 1]> = urls.iter().map(|url| [url.as_str()]).collect();
    let tiers: Vec<&[&str]> = tiers.iter().map(<[&str; 1]>::as_slice).collect();
    let mut client = Client::started(1, &tiers);
    let mut asked: Vec<String> = Vec::new();
    for _ in 0..45 {
        assert!(client.exchanges.len() <= limits::MAX_TRACKERS_ASKED);
        asked.extend(client.exchanges.iter().map(Exchange::host));
        client.pass(1);
    }
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(
        asked.len(),
        40,
        "nobody is left out for the silence of others"
    );
}

#[test]
fn a_tracker_that_knows_nobody_does_not_end_the_search() {
    let mut client = Client::started(1, &[&[A], &[B], &[C]]);
    assert_eq!(client.reply(NOBODY).host(), "a.example");
    let exchange = client.reply("d8:completei1e8:intervali900e5:peers6:peers!e");
    assert_eq!(exchange.host(), "b.example");
    assert_eq!(exchange.event(), Some(AnnounceEvent::Started));
    assert!(client.exchanges.is_empty());
    // Both are asked from now on, each after its own interval.
    client.pass(900);
    assert_eq!(client.reply(SOMEBODY).host(), "b.example");
    client.pass(900);
    assert_eq!(client.reply(NOBODY).host(), "a.example");
    client.pass(900);
    assert_eq!(client.reply(SOMEBODY).host(), "b.example");
    client.call(Announcer::stop);
    assert_eq!(client.exchanges.len(), 2);
}

#[test]
fn when_all_know_nobody_each_is_asked_after_its_interval() {
    let mut client = Client::started(1, &[&[A, B], &[C]]);
    for _ in 0..3 {
        client.reply(NOBODY);
    }
    client.pass(1_799);
    assert!(client.exchanges.is_empty());
    client.pass(1);
    for _ in 0..3 {
        assert_eq!(client.reply(NOBODY).event(), None);
    }
    assert!(client.exchanges.is_empty());
}

#[test]
fn who_seeds_is_content_with_the_first_answer() {
    let mut client = Client::new(1, &[&[A], &[B]]);
    client.facts.left = 0;
    client.call(Announcer::start);
    client.reply(NOBODY);
    assert!(client.exchanges.is_empty());
}

#[test]
fn who_still_wants_peers_asks_the_others_as_well() {
    let mut client = Client::started(1, &[&[A], &[B]]);
    client.reply(SOMEBODY);
    client.call(Announcer::want_peers);
    assert_eq!(client.reply(SOMEBODY).host(), "b.example");
    client.call(Announcer::want_peers);
    assert!(client.exchanges.is_empty());
    // One is enough for the regular announces.
    client.pass(1_800);
    assert_eq!(client.reply(SOMEBODY).host(), "a.example");
}

#[test]
fn a_private_torrent_uses_one_tracker_at_a_time() {
    let mut client = Client::new(1, &[&[A], &[B], &[C]]);
    client.facts.private = true;
    client.call(Announcer::start);
    client.pass(14);
    assert_eq!(client.exchanges.len(), 1);
    client.pass(1);
    // Whoever is silent is given up before another one is asked.
    assert_eq!(client.cancelled.len(), 1);
    assert_eq!(client.exchanges.len(), 1);
    assert_eq!(client.refuse().host(), "b.example");
    // Whoever answers is stayed with.
    assert_eq!(client.reply(NOBODY).host(), "c.example");
    client.call(Announcer::want_peers);
    assert!(client.exchanges.is_empty());
    // A slow one is given more time when it is asked again.
    client.pass(1_800);
    assert_eq!(client.exchanges[0].host(), "a.example");
    client.pass(29);
    assert_eq!(client.exchanges.len(), 1);
    assert_eq!(client.exchanges[0].host(), "a.example");
    client.pass(1);
    assert_eq!(client.exchanges[0].host(), "b.example");
}

#[test]
fn a_refusal_that_names_an_interval_is_obeyed() {
    for (body, retry_after, seconds) in [
        ("d14:failure reason2:no8:intervali1800ee", None, 1_800),
        ("d14:failure reason2:no12:min intervali1800ee", None, 1_800),
        (
            "d14:failure reason2:no8:intervali0e12:min intervali600ee",
            None,
            600,
        ),
        (
            "d14:failure reason2:no8:intervali4000000000ee",
            None,
            86_400,
        ),
        (
            "d14:failure reason2:no8:intervali900e8:retry ini2ee",
            None,
            120,
        ),
        (REFUSED, Some(300), 300),
        ("<html>", Some(300), 300),
        ("d14:failure reason2:no8:intervali900ee", Some(300), 900),
    ] {
        let mut client = Client::started(1, &[&[A]]);
        let exchange = client.take();
        let reply = HttpReply {
            status: 503,
            body: body.into(),
            retry_after,
        };
        client.http(exchange.op, OpResult::Http(Ok(reply)));
        assert_eq!(client.failures()[0].2, Some(seconds), "{body}");
        client.call(Announcer::want_peers);
        client.call(Announcer::reannounce);
        client.pass(seconds.into());
        assert!(client.take().event().is_some(), "{body}");
    }
}

#[test]
fn what_a_refusal_names_does_not_shorten_the_backoff() {
    let mut client = Client::started(1, &[&[A]]);
    fail_for(&mut client, 7_000);
    while client.exchanges.is_empty() {
        client.pass(1);
    }
    client.reply("d14:failure reason2:no8:intervali60ee");
    assert!(client.failures().last().unwrap().2 > Some(1_000));
}

#[test]
fn a_torrent_that_ends_before_the_first_answer_says_stopped_after_it() {
    let mut client = Client::new(1, &[&[A]]);
    client.facts.left = 0;
    client.call(Announcer::start);
    client.call(Announcer::stop);
    assert_eq!(client.reply(NOBODY).event(), Some(AnnounceEvent::Started));
    assert_eq!(client.reply(NOBODY).event(), Some(AnnounceEvent::Stopped));
    assert!(client.announcer.is_idle());
    // One that fails knows nothing of us.
    let mut client = Client::started(1, &[&[A]]);
    client.call(Announcer::stop);
    client.refuse();
    assert!(client.announcer.is_idle() && client.failures().is_empty());
}

#[test]
fn a_udp_announce_that_was_sent_is_followed_by_stopped() {
    let mut client = Client::started(1, &[&[UDP]]);
    let mut server = TrackerServer::new(Seed([1; 32]), Duration::from_secs(1_800));
    let (to, connect) = client.datagrams.remove(0);
    let from = OWN.parse().unwrap();
    let answer = server.udp(client.world.now, from, &connect).unwrap();
    assert!(client.datagram(to, &answer));
    assert_eq!(client.datagrams.len(), 1);
    client.call(Announcer::stop);
    client.serve(&mut server, from);
    assert!(client.announcer.is_idle());
    let swarm = server.scrape_http(client.world.now, "");
    assert!(!swarm.windows(13).any(|part| part == b"incompletei1e"));
}

#[test]
fn the_only_udp_tracker_is_given_more_time() {
    let mut client = Client::started(1, &[&[UDP]]);
    client.pass(464);
    assert!(client.failures().is_empty());
    client.pass(1);
    assert_eq!(client.failures().len(), 1);
}

#[test]
fn a_udp_announce_says_what_the_tracker_must_know() {
    let mut client = Client::started(1, &[&[UDP]]);
    let (to, data) = client.datagrams.remove(0);
    let Ok(Request::Connect { transaction }) = Request::decode(&data) else {
        panic!("no connect request");
    };
    let mut answer = Vec::new();
    let response = Response::Connect {
        transaction,
        connection: 99,
    };
    response.encode(Family::V4, &mut answer);
    assert!(client.datagram(to, &answer));
    let (_, data) = client.datagrams.remove(0);
    let Ok(Request::Announce {
        connection,
        announce,
        ..
    }) = Request::decode(&data)
    else {
        panic!("no announce");
    };
    assert_eq!(connection, 99);
    let expected = Announce {
        info_hash: [7; 20],
        peer_id: PeerId([8; 20]),
        downloaded: 2,
        left: 3,
        uploaded: 1,
        event: Some(AnnounceEvent::Started),
        ip: None,
        key: client.announcer.key,
        num_want: Some(200),
        port: 6881,
        url_data: b"/announce".to_vec(),
    };
    assert_eq!(announce, expected);
}

#[test]
fn the_counts_of_a_scrape_show_in_the_status() {
    for tracker in [A, UDP] {
        let mut server = TrackerServer::new(Seed([1; 32]), Duration::from_secs(1_800));
        let mut seed = Client::new(2, &[&[tracker]]);
        seed.facts.left = 0;
        seed.listen(Some("192.0.2.2:1".parse().unwrap()));
        seed.call(Announcer::start);
        seed.serve(&mut server, "192.0.2.2:1".parse().unwrap());

        let mut client = Client::new(1, &[&[tracker]]);
        client.call(Announcer::scrape);
        client.serve(&mut server, OWN.parse().unwrap());
        let status = client.announcer.statuses(client.world.now).remove(0);
        assert_eq!((status.seeds, status.leechers), (Some(1), Some(0)));
        assert!(!status.working);
        // Once a minute at most.
        client.call(Announcer::scrape);
        assert!(client.announcer.is_idle());
    }
}

#[test]
fn a_tracker_whose_answer_has_no_counts_is_scraped() {
    let mut client = Client::started(1, &[&[A]]);
    client.reply("d8:intervali60e5:peers0:e");
    let exchange = client.take();
    assert!(
        exchange
            .url
            .starts_with("http://a.example/scrape?info_hash=%07")
    );
    let mut body = b"d5:filesd20:".to_vec();
    body.extend([7; 20]);
    body.extend(b"d8:completei4e10:downloadedi5e10:incompletei6eeee");
    let reply = HttpReply {
        status: 200,
        body: body.into(),
        retry_after: None,
    };
    client.http(exchange.op, OpResult::Http(Ok(reply)));
    let status = client.announcer.statuses(client.world.now).remove(0);
    assert_eq!((status.seeds, status.leechers), (Some(4), Some(6)));
    // A scrape that fails is no failure of the tracker.
    client.pass(60);
    client.reply("d8:intervali60e5:peers0:e");
    assert!(client.refuse().url.contains("/scrape"));
    assert!(client.failures().is_empty());
    let status = client.announcer.statuses(client.world.now).remove(0);
    assert!(status.working);
}

#[test]
fn a_tracker_that_cannot_be_scraped_is_not() {
    let mut client = Client::new(1, &[&["http://a.example/x"]]);
    client.call(Announcer::scrape);
    assert!(client.exchanges.is_empty() && client.announcer.is_idle());
}

#[test]
fn clients_find_each_other_through_our_own_tracker_over_both_protocols() {
    for tracker in [A, UDP] {
        let mut server = TrackerServer::new(Seed([1; 32]), Duration::from_secs(900));
        let (first, second) = (OWN.parse().unwrap(), "192.0.2.2:6882".parse().unwrap());
        let mut seed = Client::started(1, &[&[tracker]]);
        seed.serve(&mut server, first);
        assert!(seed.peers.is_empty());

        let mut client = Client::new(2, &[&[tracker]]);
        client.listen(Some(second));
        client.call(Announcer::start);
        client.serve(&mut server, second);
        assert_eq!(client.peers, [first]);

        client.facts.left = 0;
        client.complete();
        client.serve(&mut server, second);
        let status = client.announcer.statuses(client.world.now).remove(0);
        assert_eq!((status.seeds, status.leechers), (Some(1), Some(1)));
        assert_eq!((status.working, status.next_announce), (true, Some(900)));

        client.pass(900);
        client.call(Announcer::stop);
        client.serve(&mut server, second);
        seed.pass(900);
        seed.serve(&mut server, first);
        assert!(seed.peers.is_empty());
        assert!(seed.failures().is_empty() && client.failures().is_empty());
    }
}

quickcheck! {
    fn any_reply_is_survived(bodies: Vec<Vec<u8>>, statuses: Vec<u16>) -> bool {
        let mut client = Client::started(1, &[&[A, B], &[UDP]]);
        for (index, body) in bodies.iter().enumerate() {
            while !client.exchanges.is_empty() {
                let exchange = client.exchanges.remove(0);
                let status = statuses.get(index).copied().unwrap_or(200);
                let body = body.clone().into();
                client.http(exchange.op, OpResult::Http(Ok(HttpReply { status, body, retry_after: None })));
            }
            client.pass(50);
        }
        client.call(Announcer::stop);
        client.pass(3);
        client.announcer.is_idle()
    }

    fn any_order_of_calls_asks_a_tracker_one_thing_at_a_time(calls: Vec<u8>) -> bool {
        let mut client = Client::new(1, &[&[A, B], &[C]]);
        for call in calls {
            match call % 10 {
                0 | 1 => client.call(Announcer::start),
                2 => {
                    client.facts.left = 0;
                    client.complete();
                }
                3 => client.call(Announcer::want_peers),
                4 => client.call(Announcer::reannounce),
                5 => client.call(Announcer::stop),
                6 if !client.exchanges.is_empty() => {
                    let op = client.exchanges.remove(0).op;
                    client.http(op, OpResult::Http(Err(ContactError::TimedOut)));
                }
                7 | 8 if !client.exchanges.is_empty() => {
                    let op = client.exchanges.remove(0).op;
                    let reply = HttpReply { status: 200, body: NOBODY.into(), retry_after: None };
                    client.http(op, OpResult::Http(Ok(reply)));
                }
                _ => client.pass(u64::from(call)),
            }
            let mut hosts: Vec<String> = client.exchanges.iter().map(Exchange::host).collect();
            hosts.sort_unstable();
            if hosts.windows(2).any(|pair| pair[0] == pair[1]) {
                return false;
            }
        }
        true
    }
}
