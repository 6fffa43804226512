//! What a torrent consists of, and how much of it is there.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::bitfield::Bitfield;
use crate::command::Priority;
use crate::id::OpId;
use crate::metainfo::{FileIndex, FileKind, Layout, Metainfo, PieceIndex};
use crate::shared::Shared;
use crate::torrent::blame::Suspects;
use crate::torrent::download::Storing;
use crate::torrent::partial::Partials;
use crate::torrent::picker::Picker;
use crate::wire::{BlockData, BlockRequest};

/// A torrent whose metadata is known.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) metainfo: Arc<Metainfo>,
    pub(super) layout: Layout,
    /// Whether what peers say that they have waits until the storage is open.
    pub(super) unjudged: bool,
    /// Knows what is verified and written, too.
    pub(super) picker: Picker,
    pub(super) partials: Partials<BlockData>,
    /// What of the incomplete pieces' memory is in the engine's sum.
    pub(super) accounted: u64,
    pub(super) suspects: Suspects,
    /// Pieces on their way through the digest to the disk.
    pub(super) storing: BTreeMap<u32, Storing>,
    /// Reads under way, and which requests each serves.
    pub(super) reads: BTreeMap<OpId, Vec<BlockRequest>>,
    /// Empty lists for those to come.
    pub(super) spare_runs: Vec<Vec<BlockRequest>>,
    pub(super) priorities: Vec<Priority>,
    pub(super) sequential: bool,
    /// Missing pieces of each file.
    pub(super) file_missing: Vec<u32>,
    /// Whether `Completed` has been told for what is wanted now.
    pub(super) completed: bool,
}

impl Content {
    /// Nothing of it is known to be there. What is not in `priorities` is wanted as usual.
    pub(super) fn new(
        metainfo: Metainfo,
        mut priorities: Vec<Priority>,
        sequential: bool,
        unjudged: bool,
    ) -> Self {
        priorities.resize(metainfo.files().len(), Priority::Normal);
        let layout = Layout::new(&metainfo);
        let mut content = Self {
            picker: Picker::new(layout.piece_count()),
            metainfo: Arc::new(metainfo),
            layout,
            unjudged,
            partials: Partials::default(),
            accounted: 0,
            suspects: Suspects::default(),
            storing: BTreeMap::new(),
            reads: BTreeMap::new(),
            spare_runs: Vec::new(),
            priorities,
            sequential,
            file_missing: Vec::new(),
            completed: false,
        };
        content.apply_priorities();
        content.count_missing();
        content
    }

    /// Brings the engine's sum of what incomplete pieces hold up to date.
    pub(super) fn account_partials(&mut self, ctx: &mut Shared) {
        let memory = self.partials.in_memory();
        ctx.budgets.partial = ctx
            .budgets
            .partial
            .saturating_sub(self.accounted)
            .saturating_add(memory);
        self.accounted = memory;
    }

    /// Whether everything that anybody could be asked for is asked of somebody. Before that, a peer that
    /// has nothing for us but what others are asked for is no reason to ask twice.
    pub(super) fn is_all_asked(&self) -> bool {
        !self.partials.has_open() && !self.picker.has_obtainable()
    }

    /// Whether there is such a piece. What a peer offers or advises about another one is of no use and does no
    /// harm: it counts as a message that leads to nothing. Who claims to have it, or asks for it, talks about
    /// another torrent than we do, and that is a fault.
    pub(super) fn is_piece(&self, piece: u32) -> bool {
        piece < self.layout.piece_count()
    }

    /// Bytes that are missing of the whole torrent.
    pub(super) fn left(&self) -> u64 {
        self.layout.total_length() - self.bytes_of(self.have())
    }

    /// One entry a file: whether anything of it is wanted. Pad files never are.
    pub(super) fn wanted_files(&self) -> Vec<bool> {
        self.priorities
            .iter()
            .map(|priority| *priority != Priority::Skip)
            .collect()
    }

    /// Gives each piece the highest priority among the files that it touches.
    pub(super) fn apply_priorities(&mut self) {
        let pieces = self.layout.piece_count();
        let mut by_piece: Vec<Priority> = Vec::new();
        by_piece.resize(pieces as usize, Priority::Skip);
        for (index, priority) in self.priorities.iter().enumerate() {
            let file = FileIndex::new(index as u32);
            let is_data = self.layout.file_kind(file) == Some(FileKind::Data);
            let Some(range) = self.layout.pieces_of_file(file) else {
                continue;
            };
            if !is_data {
                continue;
            }
            for piece in range {
                if let Some(slot) = by_piece.get_mut(piece as usize) {
                    *slot = (*slot).max(*priority);
                }
            }
        }
        for (piece, priority) in by_piece.into_iter().enumerate() {
            self.picker.set_priority(piece as u32, priority);
        }
    }

    /// Counts anew what each file lacks.
    pub(super) fn count_missing(&mut self) {
        let files = self.metainfo.files().len() as u32;
        let missing = |file: u32| {
            let pieces = self
                .layout
                .pieces_of_file(FileIndex::new(file))
                .unwrap_or_default();
            pieces.filter(|piece| !self.have().contains(*piece)).count() as u32
        };
        self.file_missing = (0..files).map(missing).collect();
    }

    /// What is verified and written.
    pub(super) fn have(&self) -> &Bitfield {
        self.picker.have()
    }

    pub(super) fn is_wanted(&self, piece: u32) -> bool {
        self.picker
            .priority(piece)
            .is_some_and(|priority| priority != Priority::Skip)
    }

    pub(super) fn piece_size(&self, piece: u32) -> u32 {
        self.layout
            .piece_size(PieceIndex::new(piece))
            .unwrap_or_default()
    }

    /// Bytes of the pieces in a map.
    pub(super) fn bytes_of(&self, map: &Bitfield) -> u64 {
        let Some(last) = self.layout.piece_count().checked_sub(1) else {
            return 0;
        };
        let full = u64::from(map.count()) * u64::from(self.layout.piece_length());
        if map.contains(last) {
            full - u64::from(self.layout.piece_length()) + u64::from(self.piece_size(last))
        } else {
            full
        }
    }

    /// Bytes of the wanted pieces.
    pub(super) fn wanted_bytes(&self) -> u64 {
        let Some(last) = self.layout.piece_count().checked_sub(1) else {
            return 0;
        };
        let full = u64::from(self.picker.wanted()) * u64::from(self.layout.piece_length());
        if self.is_wanted(last) {
            full - u64::from(self.layout.piece_length()) + u64::from(self.piece_size(last))
        } else {
            full
        }
    }

    /// Bytes of the wanted pieces that are there.
    pub(super) fn wanted_have_bytes(&self) -> u64 {
        let Some(last) = self.layout.piece_count().checked_sub(1) else {
            return 0;
        };
        let count = u64::from(self.picker.wanted() - self.picker.missing().count());
        let full = count * u64::from(self.layout.piece_length());
        if self.is_wanted(last) && self.have().contains(last) {
            full - u64::from(self.layout.piece_length()) + u64::from(self.piece_size(last))
        } else {
            full
        }
    }

    /// The folder of a file, as the torrent has it; none for what lies in the download folder itself.
    pub(super) fn folder_of(&self, file: FileIndex) -> Option<String> {
        let path = self.metainfo.download_path(file)?;
        Some(path.as_str().rsplit_once('/')?.0.into())
    }

    pub(super) fn name(&self) -> String {
        self.metainfo.name().to_string()
    }
}
