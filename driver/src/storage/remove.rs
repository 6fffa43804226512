//! Deleting what a torrent has on the disk, and nothing else.

use std::collections::BTreeSet;
use std::io;

use anabranch_core::event::DiskError;
use anabranch_core::metainfo::Metainfo;

use super::disk_error;
use super::files::FileStorage;
use super::locate::Route;
use super::resume::{self, parts_name, resume_name};

impl FileStorage {
    pub(super) fn remove_files(
        &self,
        metainfo: &Metainfo,
        ours: impl Fn(u32) -> bool,
    ) -> Result<(), DiskError> {
        let mut walker = match self.walker() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            walker => walker.map_err(|error| disk_error(&self.dir, &error))?,
        };
        let mut folders = BTreeSet::new();
        let mut failure = None;
        let routes = self.routes();
        for (file, route) in routes.files(metainfo) {
            if !ours(file) || matches!(route, Route::Elsewhere(_)) {
                continue;
            }
            let mut parents = route.folders().to_vec();
            while !parents.is_empty() {
                folders.insert(parents.clone());
                parents.pop();
            }
            let removed = walker.parent(&route, false).and_then(|(folder, name)| {
                match folder.stat(name)? {
                    Some(stat) if stat.regular => folder.remove_file(name),
                    Some(_) | None => Ok(()),
                }
            });
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    failure.get_or_insert_with(|| disk_error(&route.path(&self.dir), &error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        // A folder comes before those in it, so this is from the inside out.
        for folder in folders.iter().rev() {
            if let Some((name, parents)) = folder.split_last() {
                // What is not empty has files of somebody else's, and stays.
                let _ = walker
                    .enter(parents, false)
                    .and_then(|parent| parent.remove_folder(name));
            }
        }
        failure.map_or(Ok(()), Err)
    }

    pub(super) fn remove_resume(
        &self,
        metainfo: &Metainfo,
        has_parts: bool,
    ) -> Result<(), DiskError> {
        let info_hash = metainfo.info_hash();
        let path = self.resume_path().join(resume_name(info_hash));
        let folder = match self.resume_folder(false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            folder => folder.map_err(|error| disk_error(&path, &error))?,
        };
        resume::forget(&folder, info_hash)
            .and_then(|()| match has_parts {
                true => resume::remove_if_there(&folder, &parts_name(info_hash)),
                false => Ok(()),
            })
            .and_then(|()| self.forget_spare(info_hash))
            .map_err(|error| disk_error(&path, &error))?;
        self.drop_resume_folder();
        Ok(())
    }
}
