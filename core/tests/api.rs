//! What embedders rely on beside what the engine does: sizes, threads, errors.

use std::error::Error;

use anabranch_core::action::HttpRequest;
use anabranch_core::command::{AddTorrent, Reply};
use anabranch_core::error::{Blame, CommandError, Incompatibility, Misbehaviour};
use anabranch_core::event::{CloseReason, ContactError, DiskError, DiskErrorKind, OpResult};
use anabranch_core::id::{ConnId, OpId, TorrentId};
use anabranch_core::metainfo::{
    CreateError, Creator, Layout, Metainfo, MetainfoError, ParseInfoHashError, UnsafePathError,
};
use anabranch_core::notice::DisconnectReason;
use anabranch_core::status::{Hindrance, TorrentStatus};
use anabranch_core::wire::WireError;
use anabranch_core::{
    Action, Actions, Bitfield, BitfieldError, Command, Config, Engine, Event, Notice, Stats, Wake,
    bencode,
};

/// Both are moved for every message, through queues of the embedder's: what is large is in boxes.
#[test]
fn events_and_actions_are_small() {
    assert!(size_of::<Event>() <= 96, "{}", size_of::<Event>());
    assert!(size_of::<Action>() <= 128, "{}", size_of::<Action>());
    assert!(size_of::<Wake>() <= 16, "{}", size_of::<Wake>());
    assert_eq!(size_of::<ConnId>(), 8);
    assert_eq!(size_of::<Option<OpId>>(), 12);
}

#[test]
fn everything_can_go_to_another_thread() {
    fn assert_send_sync<T: Send + Sync + 'static>() {}
    assert_send_sync::<Engine>();
    assert_send_sync::<Actions>();
    assert_send_sync::<Action>();
    assert_send_sync::<Event>();
    assert_send_sync::<Command>();
    assert_send_sync::<Notice>();
    assert_send_sync::<Config>();
    assert_send_sync::<Stats>();
    assert_send_sync::<TorrentStatus>();
    assert_send_sync::<Metainfo>();
    assert_send_sync::<Layout>();
    assert_send_sync::<Creator>();
    assert_send_sync::<Bitfield>();
    assert_send_sync::<(AddTorrent, HttpRequest, OpResult, Reply, TorrentId)>();
}

#[test]
fn errors_are_errors() {
    fn assert_error<T: Error + Clone + PartialEq + Send + Sync + 'static>() {}
    assert_error::<BitfieldError>();
    assert_error::<Blame>();
    assert_error::<CloseReason>();
    assert_error::<CommandError>();
    assert_error::<ContactError>();
    assert_error::<CreateError>();
    assert_error::<DisconnectReason>();
    assert_error::<DiskError>();
    assert_error::<DiskErrorKind>();
    assert_error::<Hindrance>();
    assert_error::<Incompatibility>();
    assert_error::<MetainfoError>();
    assert_error::<Misbehaviour>();
    assert_error::<ParseInfoHashError>();
    assert_error::<UnsafePathError>();
    assert_error::<WireError>();
    assert_error::<bencode::Error>();
}

#[test]
fn an_error_names_its_cause_once() {
    let error = DiskError {
        kind: DiskErrorKind::NoSpace,
        file: "a/b".into(),
        message: "quota exceeded".into(),
    };
    assert_eq!(error.to_string(), "no space left: a/b: quota exceeded");
    let error = CommandError::from(error);
    assert_eq!(error.to_string(), "no space left: a/b: quota exceeded");
    assert!(matches!(
        error,
        CommandError::Disk(DiskError {
            kind: DiskErrorKind::NoSpace,
            ..
        })
    ));
    let error = Metainfo::parse(b"i1".to_vec().into()).unwrap_err();
    let source = error.source().map(ToString::to_string);
    assert!(source.is_some_and(|source| error.to_string().ends_with(&source)));
}
