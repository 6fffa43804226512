//! One suite for all runtimes: whole clients on real files and loopback sockets, and the same in the
//! simulator.
//!
//! Each scenario is written once, over [`Ground`](ground::Ground), and says what a client does and what it tells. Where
//! the notices hang on the scenario alone they are spelled out ([`stage::Ear::story`]), so every runtime
//! tells the same in the same order. Scenarios wait for events; a limit only ends those that hang. They
//! run with one client a thread (smol), with all clients on the test's own thread and with clients spread
//! over threads (tokio). The simulator plays them in virtual time, in several worlds each.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a scenario looks for one kind of notice among all"
)]

mod control;
mod disk;
mod ground;
mod misuse;
mod real;
mod simulated;
mod stage;
mod swarm;
mod trackers;

use anabranch_tests::subject::Subject;

use crate::ground::Ground;
use crate::simulated::Simulator;

fn played<S: Subject>(scenario: impl AsyncFnOnce()) {
    S::play(scenario());
}

/// Plays a scenario in several worlds, in virtual time.
fn simulated<F: Future<Output = ()>>(scenario: impl Fn() -> F) {
    for seed in anabranch_sim::seeds(5) {
        Simulator::play_with(seed, scenario());
    }
}

/// Makes tests of scenarios, for every runtime and for the simulator.
macro_rules! on_every_ground {
    ($($module:ident::$test:ident)*) => {
        anabranch_tests::on_every_runtime! {
            played:
            $($module::$test)*
        }
        mod on_the_simulator {
            $(#[test] fn $test() {
                crate::simulated(crate::$module::$test::<crate::simulated::Simulator>);
            })*
        }
    };
}

on_every_ground! {
    swarm::a_torrent_travels_from_one_client_to_another
    swarm::many_peers_share_what_one_has
    swarm::only_selected_files_are_downloaded
    swarm::a_sequential_download_asks_in_order
    swarm::rate_limits_are_obeyed
    swarm::no_more_peers_are_unchoked_than_there_are_slots
    swarm::the_last_blocks_are_asked_of_everybody
    swarm::a_peer_that_sends_corrupt_data_is_banned
    swarm::fifty_torrents_complete_at_once
    swarm::a_torrent_travels_over_ipv6
    swarm::a_torrent_travels_over_packets
    swarm::who_has_one_transport_is_reached_by_it
    trackers::a_tracker_of_a_later_tier_takes_over
    disk::a_kill_loses_nothing_that_was_saved
    disk::a_recheck_finds_what_was_spoiled
    disk::a_full_disk_is_told_and_waited_for
    disk::removing_deletes_what_was_downloaded_and_nothing_else
    control::a_paused_torrent_stops_and_goes_on
    control::a_seed_that_reached_its_goal_pauses
    control::a_busy_client_shuts_down_in_good_order
}

/// What is about the driver's handles, its files and its sockets has no counterpart in the simulator,
/// which drives the engine itself.
mod of_drivers {
    anabranch_tests::on_every_runtime! {
        played:
        misuse::calls_that_are_given_up_do_no_harm
        misuse::a_torrent_is_taken_on_once
        misuse::a_handle_takes_the_name_that_the_metadata_brings
        misuse::handles_outlive_what_they_are_handles_to
        misuse::a_folder_that_cannot_be_written_is_named
        misuse::a_file_of_somebody_elses_is_refused_until_the_user_says_otherwise
        misuse::a_port_that_is_taken_is_named
        misuse::what_is_no_torrent_is_refused
        misuse::a_client_that_is_dropped_saves_what_it_has
    }
}
