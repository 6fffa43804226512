//! A small file system of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory; only root can mount one.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one on a folder, with options as `mount` takes them (`size=24m`, `ro`). None where that
    /// is not permitted.
    #[must_use]
    pub fn mount(path: PathBuf, options: &str) -> Option<Self> {
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(&path);
        let mounted = command.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self { path })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Mounts it anew with other options; what is in it stays.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let mut command = Command::new("mount");
        let status = command.args(["-o", &options]).arg(&self.path).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "mount {options}"
        );
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, since a process that is being killed may still have a file open on it.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(&self.path)
            .status();
    }
}
