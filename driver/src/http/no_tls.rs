//! A build without TLS, in the shape of one that has it.

use anabranch_core::event::ContactError;
use url::Url;

/// Nobody is trusted with HTTPS: the feature `tls` is off, and HTTPS ends in
/// [`ContactError::Tls`] before anybody is contacted.
#[derive(Clone, Debug, Default)]
pub struct Tls(());

impl Tls {
    pub(super) async fn session(&self, _: &Url) -> Result<Session, ContactError> {
        Err(ContactError::Tls(
            "this program was built without TLS; use an http:// tracker, or a build that has it"
                .into(),
        ))
    }
}

/// There is none.
#[derive(Debug)]
pub(super) enum Session {}

impl Session {
    pub(super) fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub(super) fn feed(&mut self, _: &[u8]) -> Result<(), ContactError> {
        match *self {}
    }

    pub(super) fn take(&mut self, _: &mut [u8]) -> Option<usize> {
        match *self {}
    }

    pub(super) fn put(&mut self, _: &[u8]) -> Result<(), ContactError> {
        match *self {}
    }

    pub(super) fn outgoing(&mut self) -> Vec<u8> {
        match *self {}
    }
}
