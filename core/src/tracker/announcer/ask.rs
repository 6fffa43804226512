//! BEP 3, 15, 48: what a tracker is asked, over either protocol.

use alloc::boxed::Box;
use core::time::Duration;

use super::tracker::Tracker;
use super::{Announcer, Facts, Flight, Handle, Purpose};
use crate::action::{Action, HttpRequest, LocalPaths};
use crate::ctx::{Ctx, Op};
use crate::gate::Lane;
use crate::limits;
use crate::time::Instant;
use crate::tracker::Means;
use crate::tracker::udp::{UdpFault, UdpQuery};
use crate::tracker::url::{Endpoint, UdpEndpoint};
use crate::wire::tracker::{AnnounceEvent, AnnounceQuery};
use crate::wire::tracker_http::scrape_url;
use crate::wire::tracker_udp::Announce;

/// What is added to the time that the driver has for an exchange before it is given up here as well.
const HTTP_GRACE: Duration = Duration::from_secs(5);

/// Doublings of the wait for a UDP tracker while others can be asked instead: 105 s in all.
const PATIENCE: u32 = 2;

/// Doublings of the wait for the only tracker: 465 s in all. BEP 15 goes on to two hours; by then the schedule's own
/// backoff, which begins again with short waits, has found a tracker or a network that came back, and the user knows.
const PATIENCE_ALONE: u32 = 4;

/// Why a request was not begun.
pub(super) enum Unbegun {
    /// Too many are under way; the torrent is called when it is its turn.
    Waits,
    /// There will be no answer.
    Failed(UdpFault),
}

impl Announcer {
    /// Begins a request. Nothing is begun where the tracker cannot be asked for that.
    ///
    /// # Errors
    ///
    /// It has to wait for its turn, or those of [`UdpTrackers::request`](super::super::UdpTrackers::request).
    pub(super) fn launch(
        &mut self,
        means: &mut Means<'_>,
        facts: &Facts,
        index: usize,
        purpose: Purpose,
    ) -> Result<(), Unbegun> {
        let goodbye = !self.running && purpose != Purpose::Scrape;
        let tracker = &self.trackers[index];
        let (handle, deadline) = match &tracker.endpoint {
            Ok(Endpoint::Http(url)) => {
                let url = match purpose {
                    Purpose::Announce(event) => {
                        Some(self.query(&means.ctx, facts, tracker, event).url(url))
                    }
                    Purpose::Scrape => scrape_url(url, &[*facts.info_hash.as_bytes()]),
                };
                let Some(url) = url else {
                    return Ok(());
                };
                let timeout = if goodbye {
                    means.ctx.config.goodbye_timeout
                } else {
                    limits::TRACKER_TIMEOUT
                };
                let gate = &mut means.ctx.gate;
                if purpose == Purpose::Scrape || goodbye {
                    gate.rush(Lane::Http);
                } else if !gate.enter(Lane::Http, facts.torrent) {
                    return Err(Unbegun::Waits);
                }
                let op = means.ctx.ops.insert(Op::TrackerHttp(facts.torrent));
                means.ctx.push(Action::Http {
                    op,
                    torrent: Some(facts.torrent),
                    request: Box::new(HttpRequest {
                        url,
                        body_limit: limits::TRACKER_REPLY_LEN,
                        redirects: limits::MAX_REDIRECTS,
                        timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
                        local_paths: match means.ctx.config.allow_local_trackers {
                            true => LocalPaths::Any,
                            false => LocalPaths::Trackers,
                        },
                    }),
                });
                (Handle::Http(op), means.ctx.now + timeout + HTTP_GRACE)
            }
            Ok(Endpoint::Udp(endpoint)) => {
                let query = match purpose {
                    Purpose::Announce(event) => {
                        let query = self.query(&means.ctx, facts, tracker, event);
                        UdpQuery::Announce(udp_announce(query, self.key, endpoint))
                    }
                    Purpose::Scrape => UdpQuery::Scrape(*facts.info_hash.as_bytes()),
                };
                if means.udp.is_full() && !goodbye {
                    means.ctx.gate.wait(Lane::Udp, facts.torrent);
                    return Err(Unbegun::Waits);
                }
                let usable = self.trackers.iter().filter(|t| t.is_usable()).count();
                let patience = if usable > 1 { PATIENCE } else { PATIENCE_ALONE };
                let id = means
                    .udp
                    .request(&mut means.ctx, facts.torrent, endpoint, query, patience)
                    .map_err(Unbegun::Failed)?;
                (Handle::Udp(id), Instant::FAR)
            }
            Err(_) => return Ok(()),
        };
        self.flights.push(Flight {
            handle,
            tracker: tracker.id,
            purpose,
            asked: means.ctx.now,
            deadline: if goodbye {
                means.ctx.now + means.ctx.config.goodbye_timeout
            } else {
                deadline
            },
        });
        Ok(())
    }

    fn query(
        &self,
        ctx: &Ctx<'_>,
        facts: &Facts,
        tracker: &Tracker,
        event: Option<AnnounceEvent>,
    ) -> AnnounceQuery {
        let num_want = if facts.want_peers && event != Some(AnnounceEvent::Stopped) {
            ctx.config.tracker_numwant
        } else {
            0
        };
        AnnounceQuery {
            info_hash: *facts.info_hash.as_bytes(),
            peer_id: facts.peer_id,
            port: facts.port,
            uploaded: facts.uploaded,
            downloaded: facts.downloaded,
            left: facts.left,
            event,
            compact: true,
            no_peer_id: true,
            num_want: Some(num_want),
            key: Some(self.key),
            tracker_id: tracker.tracker_id.clone(),
            ip: None,
        }
    }
}

fn udp_announce(query: AnnounceQuery, key: u32, endpoint: &UdpEndpoint) -> Announce {
    Announce {
        info_hash: query.info_hash,
        peer_id: query.peer_id,
        downloaded: query.downloaded,
        left: query.left,
        uploaded: query.uploaded,
        event: query.event,
        ip: None,
        key,
        num_want: query.num_want,
        port: query.port,
        url_data: endpoint.url_data.as_bytes().to_vec(),
    }
}
