//! What the driver's loop asks of a runtime adapter, on every one of them. A third adapter is right when it
//! passes here: a [`Subject`] and a line in [`on_every_runtime!`](anabranch_tests::on_every_runtime) are all
//! that it takes.
//!
//! [`Subject`]: anabranch_tests::subject::Subject

mod http;
mod odd_http;
mod sockets;
mod support;

/// A test whose loop runs beside it.
fn hosted<S: anabranch_tests::subject::Subject>(test: fn()) {
    S::host(test);
}

anabranch_tests::on_every_runtime! {
    hosted:
    sockets::an_echo_comes_back_whole_and_every_byte_is_reported
    sockets::credit_is_obeyed_to_the_byte
    sockets::a_peer_that_never_reads_is_still_read_from
    sockets::a_peer_that_is_not_read_from_is_still_written_to
    sockets::a_firehose_does_not_drown_the_others
    sockets::every_dial_ends_once_and_for_the_right_reason
    sockets::a_connection_that_is_refused_sees_its_end
    sockets::operations_end_once_also_when_cancelled
    sockets::deadlines_are_kept_and_never_early
    sockets::a_machine_that_is_always_busy_leaves_room_for_the_rest
    sockets::packets_go_both_ways_from_the_port_that_listens
    sockets::packets_that_do_not_arrive_are_reported
    sockets::packets_leave_several_at_a_time_and_are_counted
    sockets::what_asks_for_a_connection_by_packets_has_to_have_leave
    sockets::the_end_frees_the_port_and_answers_later_calls_with_an_error
    sockets::the_last_handle_ends_the_loop_in_good_order
    http::replies_come_with_status_and_body
    http::the_query_reaches_the_server_as_it_was_written
    http::gzip_is_undone_and_a_bomb_is_not_unpacked
    http::a_body_may_be_as_long_as_the_limit_and_no_longer
    http::redirects_are_followed_within_the_web_and_not_in_circles
    http::what_is_not_http_is_an_error
    http::a_client_fetches_torrent_files_as_its_policy_allows
    http::https_works_with_an_authority_that_is_trusted
    http::https_fails_with_a_certificate_that_is_not_good
    http::authorities_that_cannot_be_read_are_tried_anew
    odd_http::a_head_is_taken_however_it_is_written
    odd_http::a_body_is_taken_however_its_length_is_told
    odd_http::a_body_tells_by_itself_how_it_is_packed
    odd_http::what_is_not_body_is_bounded_as_well
    odd_http::a_redirect_leads_on_whatever_becomes_of_the_connection
    odd_http::https_may_end_without_notice
}
