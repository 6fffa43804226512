//! BEP 5: tokens, which prove that an address is not made up.

use core::net::IpAddr;
use core::time::Duration;

use sha1::{Digest, Sha1};

use crate::rng::Rng;
use crate::time::Instant;
use crate::wire::krpc::NodeId;

/// Length of a token in bytes.
pub(crate) const TOKEN_LEN: usize = 8;

/// How long a secret is used to make tokens; for as long again, tokens made with it are accepted.
pub(crate) const ROTATION: Duration = Duration::from_secs(300);

/// Makes tokens, and knows those that it made, without a list of them.
#[derive(Debug)]
pub(crate) struct Tokens {
    secret: [u8; 20],
    earlier: [u8; 20],
    rotated: Instant,
}

impl Tokens {
    pub(crate) fn new(now: Instant, rng: &mut Rng) -> Self {
        let mut tokens = Self {
            secret: [0; 20],
            earlier: [0; 20],
            rotated: now,
        };
        rng.fill(&mut tokens.secret);
        rng.fill(&mut tokens.earlier);
        tokens
    }

    /// Takes a new secret if the present one is old.
    pub(crate) fn rotate(&mut self, now: Instant, rng: &mut Rng) {
        let age = now.since(self.rotated);
        if age < ROTATION {
            return;
        }
        self.earlier = self.secret;
        if age >= 2 * ROTATION {
            // Nobody looked for so long that the present one is too old to be accepted.
            rng.fill(&mut self.earlier);
        }
        rng.fill(&mut self.secret);
        self.rotated = now;
    }

    /// A token by which who is at `ip` may store something at `target`.
    pub(crate) fn make(&self, ip: IpAddr, target: &NodeId) -> [u8; TOKEN_LEN] {
        token(&self.secret, ip, target)
    }

    /// Whether a token was given to who is at `ip`, for `target`, in the last five to ten minutes.
    pub(crate) fn accepts(&self, token_of: &[u8], ip: IpAddr, target: &NodeId) -> bool {
        [&self.secret, &self.earlier].into_iter().any(|secret| {
            let expected = token(secret, ip, target);
            // No early end: the time taken must not tell how much of a guess is right.
            token_of.len() == TOKEN_LEN
                && token_of
                    .iter()
                    .zip(expected)
                    .fold(0, |wrong, (a, b)| wrong | (a ^ b))
                    == 0
        })
    }
}

fn token(secret: &[u8; 20], ip: IpAddr, target: &NodeId) -> [u8; TOKEN_LEN] {
    let mut hash = Sha1::new();
    hash.update(secret);
    match ip.to_canonical() {
        IpAddr::V4(ip) => hash.update(ip.octets()),
        IpAddr::V6(ip) => hash.update(ip.octets()),
    }
    hash.update(target.as_bytes());
    let hash: [u8; 20] = hash.finalize().into();
    core::array::from_fn(|at| hash[at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn a_token_is_good_for_its_address_and_target_and_for_five_to_ten_minutes() {
        let mut rng = Rng::new(Seed([3; 32]));
        let start = Instant::from_millis(77);
        let mut tokens = Tokens::new(start, &mut rng);
        let ip = IpAddr::from([203, 0, 113, 1]);
        let target = NodeId::new([1; 20]);
        let token = tokens.make(ip, &target);
        assert!(tokens.accepts(&token, ip, &target));
        assert!(!tokens.accepts(&token, IpAddr::from([203, 0, 113, 2]), &target));
        assert!(!tokens.accepts(&token, ip, &NodeId::new([2; 20])));
        assert!(!tokens.accepts(&token[..7], ip, &target));
        assert!(!tokens.accepts(&[], ip, &target));
        tokens.rotate(start + ROTATION, &mut rng);
        assert!(tokens.accepts(&token, ip, &target));
        assert_ne!(tokens.make(ip, &target), token);
        tokens.rotate(start + ROTATION + ROTATION, &mut rng);
        assert!(!tokens.accepts(&token, ip, &target));
        let token = tokens.make(ip, &target);
        tokens.rotate(start + 10 * ROTATION, &mut rng);
        assert!(!tokens.accepts(&token, ip, &target));
    }
}
