//! One connection over a stream that never blocks.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use anabranch_core::Event;
use anabranch_core::event::CloseReason;
use anabranch_core::id::ConnId;
use bytes::{Buf, Bytes};

use super::common::close_reason;

pub(crate) struct Conn<S> {
    pub(crate) id: ConnId,
    pub(crate) stream: S,
    /// Whether it stands, or is still being made.
    pub(crate) connected: bool,
    /// What the system said last. It says so once, so it is remembered until it says `WouldBlock`.
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// How much the engine is willing to receive, and what it has to send.
    pub(crate) credit: usize,
    pub(crate) unsent: VecDeque<Bytes>,
}

impl<S: Read + Write> Conn<S> {
    pub(crate) fn new(id: ConnId, stream: S, connected: bool) -> Self {
        Self {
            id,
            stream,
            connected,
            readable: false,
            writable: false,
            credit: 0,
            unsent: VecDeque::new(),
        }
    }

    /// Whether a step would lead anywhere.
    pub(crate) fn can_go_on(&self) -> bool {
        (self.writable && !self.unsent.is_empty()) || (self.readable && self.credit > 0)
    }

    /// Writes once and reads once, as far as the system and the engine allow. Neither waits for the
    /// other: if both ends waited to write before they read, both would wait forever.
    pub(crate) fn step(
        &mut self,
        buffer: &mut [u8],
        events: &mut VecDeque<Event>,
    ) -> Result<(), CloseReason> {
        let conn = self.id;
        if self.writable
            && let Some(bytes) = self.unsent.front_mut()
            && let Some(written) = progress(self.stream.write(bytes), &mut self.writable)?
        {
            bytes.advance(written);
            if bytes.is_empty() {
                self.unsent.pop_front();
            }
            let len = written as u64;
            events.push_back(Event::Sent { conn, len });
        }
        let room = self.credit.min(buffer.len());
        if self.readable
            && room > 0
            && let Some(len) = progress(self.stream.read(&mut buffer[..room]), &mut self.readable)?
        {
            if len == 0 {
                return Err(CloseReason::Remote);
            }
            self.credit -= len;
            // The engine keeps what it is given, so it gets these bytes and no larger buffer.
            let data = Bytes::copy_from_slice(&buffer[..len]);
            events.push_back(Event::Received { conn, data });
        }
        Ok(())
    }
}

/// How much was read or written; none if it has to be tried again, and `ready` says when.
fn progress(done: io::Result<usize>, ready: &mut bool) -> Result<Option<usize>, CloseReason> {
    match done {
        Ok(len) => Ok(Some(len)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            *ready = false;
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(close_reason(&error)),
    }
}
