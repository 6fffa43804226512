//! Temporary folders, in memory where there is room.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

const GIB: u64 = 1 << 30;

/// A folder of one test, removed with everything in it when dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
}

impl Scratch {
    /// A folder for less than a gibibyte.
    #[must_use]
    #[allow(
        clippy::new_without_default,
        reason = "making a folder is no default value"
    )]
    pub fn new() -> Self {
        Self::with_room(GIB)
    }

    /// A folder in another one.
    ///
    /// # Panics
    ///
    /// When it cannot be created.
    #[must_use]
    pub fn within(parent: &Path) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("anabranch-test-")
            .tempdir_in(parent)
            .expect("a temporary folder");
        // opentracker reads its list of torrents after it gave its privileges up.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
            .expect("permissions of the temporary folder");
        Self { folder }
    }

    /// A folder for some `bytes`: in `/dev/shm` where it has that room and a gibibyte to spare,
    /// otherwise where temporary files go.
    ///
    /// # Panics
    ///
    /// When there is not enough room anywhere.
    #[must_use]
    pub fn with_room(bytes: u64) -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if free(memory) >= bytes + GIB {
            memory.into()
        } else {
            std::env::temp_dir()
        };
        assert!(
            free(&parent) >= bytes,
            "{} has no room for {bytes} bytes of test data",
            parent.display()
        );
        Self::within(&parent)
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A path in it, not created.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A folder in it, created with its parents.
    ///
    /// # Panics
    ///
    /// When it cannot be created.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(&path).expect("a folder in the temporary folder");
        path
    }
}

/// Bytes free for us in the file system of `path`; 0 where that cannot be told.
#[must_use]
pub fn free(path: &Path) -> u64 {
    // Not by way of another process: for a moment it would hold the sockets of the tests beside it, and
    // their ports with them.
    rustix::fs::statvfs(path).map_or(0, |room| room.f_bavail.saturating_mul(room.f_frsize))
}
