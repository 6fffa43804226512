//! Stand-in until the storage branch lands.
use anabranch_core::action::DiskJob;
use anabranch_core::event::{DiskDone, DiskError};

/// Where a torrent's data lives.
pub trait Storage: Send + Sync + 'static {
    /// Does a job.
    fn run(&self, job: DiskJob) -> Result<DiskDone, DiskError>;
}

pub(crate) fn in_files(
    _dir: std::path::PathBuf,
    _preallocate: bool,
) -> std::sync::Arc<dyn Storage> {
    struct Nowhere;
    impl Storage for Nowhere {
        fn run(&self, _job: DiskJob) -> Result<DiskDone, DiskError> {
            Ok(DiskDone::Closed)
        }
    }
    std::sync::Arc::new(Nowhere)
}
