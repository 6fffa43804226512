//! BEP 15: what it means for the requests to a tracker that a packet did not arrive.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{HostId, UdpFault, UdpId, UdpOutcome, UdpTrackers};
use crate::ctx::Ctx;
use crate::event::Undelivered;

impl UdpTrackers {
    /// A packet to this address did not arrive. If it is a tracker's that is waited for there, it is asked at its other
    /// address at once; without one, or when that one is out of reach as well, all that waits for it has failed.
    ///
    /// Whoever forges such a report can make us ask the next tracker, and this one again after a backoff, no more.
    pub(crate) fn on_undelivered(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: SocketAddr,
        reason: Undelivered,
    ) -> Vec<UdpOutcome> {
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        // Two names may lead to one address.
        let hosts: Vec<HostId> = self
            .hosts
            .iter()
            .filter(|(_, host)| host.addresses.get(host.at) == Some(&to))
            .filter(|(_, host)| host.connecting.is_some() || host.sent > 0)
            .map(|(id, _)| *id)
            .collect();
        let mut outcomes = Vec::new();
        for host_id in hosts {
            outcomes.extend(self.lose_address(ctx, host_id, reason));
        }
        self.arm(ctx);
        outcomes
    }

    fn lose_address(
        &mut self,
        ctx: &mut Ctx<'_>,
        host_id: HostId,
        reason: Undelivered,
    ) -> Vec<UdpOutcome> {
        let Some(host) = self.hosts.get_mut(&host_id) else {
            return Vec::new();
        };
        let others = host.address_count() - 1;
        if let Some(connecting) = &mut host.connecting
            && connecting.dead_ends < others
        {
            connecting.dead_ends += 1;
            host.at = (host.at + 1) % host.addresses.len().max(1);
            self.send_connect(ctx, host_id);
            return Vec::new();
        }
        host.connection = None;
        self.stop_connecting(host_id);
        let ids: Vec<UdpId> = self
            .requests
            .iter()
            .filter(|(_, request)| request.host == host_id)
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter()
            .filter_map(|id| self.fail(id, UdpFault::Undelivered(reason)))
            .collect()
    }
}
