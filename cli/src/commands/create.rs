//! `anabranch create`: makes a torrent.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anabranch_core::metainfo::{Creation, Creator, FileIndex, Metainfo, Names};
use anabranch_driver::storage::system_names;
use anabranch_driver::{check_replaceable, replace_file};

use super::torrent;
use crate::args::Create;
use crate::content::{self, Found};
use crate::exit::{Exit, Failure};
use crate::hashing::{Part, hash_pieces};
use crate::output::{Event, Output};

pub(crate) fn run(args: &Create) -> Result<Exit, Failure> {
    let mut output = Output::new(args.json);
    let result = create(args, &mut output);
    output.clear();
    result.map(|()| Exit::Done)
}

fn create(args: &Create, output: &mut Output) -> Result<(), Failure> {
    let name = name_of(&args.path)?;
    let target = Target::new(args, &name)?;
    let date = date(args.no_date, std::env::var_os("SOURCE_DATE_EPOCH"))?;
    // Hashing may take an hour: a name that is taken is told before.
    if let Target::File(path) = &target {
        refuse_to_overwrite(path, args)?;
    }
    let (creator, parts) = collect(args, &content::file_name(&name), &target, output)?;
    if args.private && args.trackers.is_empty() {
        output.tell(&Event::Warning {
            message: "a private torrent without a tracker finds no peers; give --tracker".into(),
        })?;
    }

    let hashes = hash(&parts, &creator, output)?;
    let creation = with_fields(creator, args, date)
        .finish(&hashes)
        .map_err(|error| {
            Failure::new(format!(
                "cannot make a torrent of {}: {error}",
                args.path.display()
            ))
        })?;
    let path = match &target {
        Target::File(path) => {
            write(path, &creation, args.force)?;
            path.display().to_string()
        }
        Target::Stdout => {
            output.clear();
            let mut out = io::stdout().lock();
            out.write_all(&creation.torrent)
                .and_then(|()| out.flush())
                .map_err(|error| Failure::stdout(&error))?;
            "standard output".to_owned()
        }
    };
    if let Some(message) = changed_names(&creation.metainfo) {
        output.tell(&Event::Warning { message })?;
    }

    let metainfo = &creation.metainfo.clone().with_names(system_names());
    let created = Event::Created {
        torrent: torrent(metainfo),
        path,
        size: metainfo.total_length(),
        files: u32::try_from(metainfo.files().len()).unwrap_or(u32::MAX),
        pieces: metainfo.piece_count(),
        piece_length: metainfo.piece_length(),
    };
    output.clear();
    match target {
        Target::File(_) => output.result(&created),
        // That is where the torrent went.
        Target::Stdout => output.tell(&created),
    }
}

/// Where the torrent goes.
enum Target {
    File(PathBuf),
    Stdout,
}

impl Target {
    fn new(args: &Create, name: &OsStr) -> Result<Self, Failure> {
        match &args.output {
            Some(path) if path == Path::new("-") => {
                if args.json {
                    return Err(Failure::usage(
                        "--json and --output - both write to standard output",
                    )
                    .advise("name a file with --output"));
                }
                if io::stdout().is_terminal() {
                    return Err(Failure::usage("a torrent is nothing for a terminal to show")
                        .advise("send it to a file or a program, as in `anabranch create PATH -o - > x.torrent`"));
                }
                Ok(Self::Stdout)
            }
            Some(path) => Ok(Self::File(path.clone())),
            None => {
                let mut file = name.to_owned();
                file.push(".torrent");
                Ok(Self::File(file.into()))
            }
        }
    }

    /// Takes the file that is about to be overwritten out of those that the torrent is made of.
    fn leave_out(&self, files: &mut Vec<Found>, output: &mut Output) -> Result<(), Failure> {
        let Self::File(target) = self else {
            return Ok(());
        };
        let Ok(metadata) = fs::metadata(target) else {
            return Ok(());
        };
        // The length is known: no file but this one, as a rule, is looked at for it.
        let (out, rest) = std::mem::take(files)
            .into_iter()
            .partition(|found: &Found| {
                found.source.length == metadata.len() && is_same(target, &found.path)
            });
        *files = rest;
        for Found { path, .. } in out {
            output.tell(&Event::Warning {
                message: format!("{} is left out: the torrent goes there", path.display()),
            })?;
        }
        Ok(())
    }
}

/// Whether two paths lead to one file that is there.
fn is_same(one: &Path, two: &Path) -> bool {
    matches!((one.canonicalize(), two.canonicalize()), (Ok(one), Ok(two)) if one == two)
}

/// When the torrent is made, in seconds since 1970: now, unless the environment has another date, for
/// those who want the same file of the same input.
fn date(none: bool, epoch: Option<OsString>) -> Result<Option<u64>, Failure> {
    if none {
        return Ok(None);
    }
    let Some(epoch) = epoch.filter(|epoch| !epoch.is_empty()) else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        return Ok(now.ok().map(|now| now.as_secs()));
    };
    let seconds = epoch
        .to_str()
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok());
    seconds.map(Some).ok_or_else(|| {
        Failure::usage(format!(
            "SOURCE_DATE_EPOCH is {}, which is no number of seconds since 1970",
            epoch.display()
        ))
        .advise("set it to such a number, as `date +%s` prints it, or unset it")
    })
}

/// Names that other systems and clients will change, so that what they download is called otherwise.
fn changed_names(metainfo: &Metainfo) -> Option<String> {
    const SHOWN: usize = 3;
    let portable = metainfo.clone().with_names(Names::Portable);
    let mut changed = Vec::new();
    let mut note = |original: &[u8], safe: &str| {
        let original = String::from_utf8_lossy(original).into_owned();
        if original != safe {
            changed.push(format!("{original:?} becomes {safe:?}"));
        }
    };
    if metainfo.is_multi_file() {
        note(metainfo.original_name(), portable.name());
    }
    for (index, file) in (0..).map(FileIndex::new).zip(portable.files()) {
        let original = metainfo.original_path(index).unwrap_or_default();
        note(&original.join(&b'/'), file.path().as_str());
    }
    let count = changed.len();
    changed.truncate(SHOWN);
    let more = match count {
        0 => return None,
        count if count > SHOWN => ", ..",
        _ => "",
    };
    Some(format!(
        "{} not as every system takes them, and others will change them: {}{more}",
        match count {
            1 => "a name is".to_owned(),
            count => format!("{count} names are"),
        },
        changed.join(", ")
    ))
}

/// The name of a file or folder, also of `.` and the like.
fn name_of(path: &Path) -> Result<OsString, Failure> {
    let failed = |error: io::Error| Failure::io("read", path, &error);
    fs::metadata(path).map_err(failed)?;
    if let Some(name) = path.file_name() {
        return Ok(name.to_owned());
    }
    path.canonicalize()
        .map_err(failed)?
        .file_name()
        .map(ToOwned::to_owned)
        .ok_or_else(|| {
            Failure::new(format!(
                "{} has no name to give to the torrent",
                path.display()
            ))
            .advise("name a file or a folder below it")
        })
}

/// Finds the files, and says where their data is in the order in which it goes into the torrent.
fn collect(
    args: &Create,
    name: &[u8],
    target: &Target,
    output: &mut Output,
) -> Result<(Creator, Vec<Part>), Failure> {
    let metadata =
        fs::metadata(&args.path).map_err(|error| Failure::io("read", &args.path, &error))?;
    let (creator, mut parts) = if metadata.is_dir() {
        let mut folder = content::walk(&args.path)?;
        target.leave_out(&mut folder.files, output)?;
        for path in &folder.skipped {
            output.tell(&Event::Warning {
                message: format!(
                    "{} is left out: it is no file, belongs to downloads, or is the torrent itself",
                    path.display()
                ),
            })?;
        }
        if folder.files.is_empty() {
            return Err(
                Failure::new(format!("there is no file in {}", args.path.display()))
                    .advise("put in what the torrent is to have, or give another folder"),
            );
        }
        in_order(name, folder.files)
    } else if metadata.is_file() {
        let creator = Creator::single_file(name, metadata.len());
        let path = Some(args.path.clone());
        let length = metadata.len();
        (creator, vec![Part { path, length }])
    } else {
        return Err(Failure::new(format!(
            "{} is neither a file nor a folder",
            args.path.display()
        ))
        .advise("a torrent is made of regular files; name one, or a folder of them"));
    };
    let creator = match args.piece_length {
        Some(length) => creator.with_piece_length(length),
        None => creator,
    };
    if creator.total_length() == 0 {
        parts.clear();
    }
    Ok((creator, parts))
}

fn in_order(name: &[u8], mut files: Vec<Found>) -> (Creator, Vec<Part>) {
    files.sort_by(|a, b| anabranch_core::metainfo::compare_paths(&a.source.path, &b.source.path));
    let parts = files
        .iter()
        .map(|found| Part {
            path: Some(found.path.clone()),
            length: found.source.length,
        })
        .collect();
    let creator = Creator::multi_file(name, files.into_iter().map(|found| found.source));
    (creator, parts)
}

fn hash(parts: &[Part], creator: &Creator, output: &mut Output) -> Result<Vec<u8>, Failure> {
    let count = usize::try_from(creator.piece_count()).unwrap_or(usize::MAX);
    if count > anabranch_core::metainfo::limits::MAX_PIECES as usize {
        return Err(
            Failure::new(format!("{count} pieces are too many for a torrent"))
                .advise("choose a larger --piece-length"),
        );
    }
    let mut hashes = vec![[0; 20]; count];
    let mut failure = None;
    hash_pieces(
        parts,
        creator.piece_length(),
        output,
        |piece, result| match result {
            Ok(hash) => {
                hashes[piece as usize] = hash;
                ControlFlow::Continue(())
            }
            Err(failed) => {
                failure = Some(failed);
                ControlFlow::Break(())
            }
        },
    )?;
    if let Some(failed) = failure {
        let path = parts[failed.part].path.as_deref().unwrap_or(Path::new("?"));
        return Err(if failed.error.kind() == io::ErrorKind::UnexpectedEof {
            changed(path)
        } else {
            Failure::io("read", path, &failed.error)
        });
    }
    for part in parts {
        if let Some(path) = &part.path
            && fs::metadata(path).map(|metadata| metadata.len()).ok() != Some(part.length)
        {
            return Err(changed(path));
        }
    }
    Ok(hashes.into_flattened())
}

fn changed(path: &Path) -> Failure {
    Failure::new(format!("{} changed while it was read", path.display()))
        .advise("wait until nothing writes to it any more, and try again")
}

fn with_fields(creator: Creator, args: &Create, date: Option<u64>) -> Creator {
    let mut creator = creator
        .with_private(args.private)
        .with_created_by(concat!("anabranch ", env!("CARGO_PKG_VERSION")));
    for urls in &args.trackers {
        creator = creator.with_tracker_tier(urls.0.iter().map(String::as_str));
    }
    for url in args.web_seeds.iter().flat_map(|urls| &urls.0) {
        creator = creator.with_web_seed(url.as_str());
    }
    if let Some(comment) = &args.comment {
        creator = creator.with_comment(comment.as_str());
    }
    match date {
        Some(seconds) => creator.with_creation_date(seconds),
        None => creator,
    }
}

fn refuse_to_overwrite(target: &Path, args: &Create) -> Result<(), Failure> {
    if is_same(target, &args.path) && !args.path.is_dir() {
        return Err(Failure::usage(format!(
            "{} is what the torrent is to be made of, and would be overwritten",
            target.display()
        ))
        .advise("choose another name with --output"));
    }
    match fs::symlink_metadata(target) {
        Ok(metadata) if metadata.is_dir() => {
            Err(Failure::new(format!("{} is a folder", target.display()))
                .advise("name a file with --output"))
        }
        Ok(_) => match check_replaceable(target) {
            Err(error) => Err(Failure::io("write", target, &error)
                .advise("name a file, or a name that is not taken, with --output")),
            Ok(()) if !args.force => Err(exists(target)),
            Ok(()) => Ok(()),
        },
        // What cannot be written in the end is told before all is hashed.
        Err(_) => match fs::metadata(folder_of(target)) {
            Ok(folder) if !folder.is_dir() => Err(Failure::io(
                "write",
                target,
                &io::ErrorKind::NotADirectory.into(),
            )),
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::io("write", target, &error)
                .advise("make its folder first, or choose another with --output")),
        },
    }
}

/// The folder that a file is in, or will be.
fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    }
}

fn exists(target: &Path) -> Failure {
    Failure::new(format!("{} exists already", target.display()))
        .advise("choose another name with --output, or overwrite it with --force")
}

/// Writes the torrent beside its final name first, so that it is there whole or not at all.
fn write(target: &Path, creation: &Creation, force: bool) -> Result<(), Failure> {
    let failed = |error: &io::Error| Failure::io("write", target, error);
    if force {
        return replace_file(target, &creation.torrent).map_err(|error| failed(&error));
    }
    let folder = folder_of(target);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".anabranch-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // What the umask leaves of it, as for any new file; a temporary one is private by default.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder
        .tempfile_in(folder)
        .map_err(|error| failed(&error))?;
    file.write_all(&creation.torrent)
        .and_then(|()| file.as_file().sync_all())
        .map_err(|error| failed(&error))?;
    match file.persist_noclobber(target) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(exists(target)),
        Err(error) => Err(failed(&error.error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_told_before_anything_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let place = |file: &str| dir.path().join(file);
        fs::write(place("file"), "1").unwrap();
        let refused = |output: &str| {
            let args = Create {
                path: place("file"),
                output: Some(place(output)),
                trackers: Vec::new(),
                piece_length: None,
                private: false,
                comment: None,
                web_seeds: Vec::new(),
                no_date: false,
                force: false,
                json: false,
            };
            refuse_to_overwrite(&place(output), &args).err()
        };
        for output in ["nowhere/x.torrent", "file/x.torrent"] {
            let failure = refused(output).unwrap();
            assert!(failure.message().contains(output), "{failure}");
            assert!(failure.advice().is_some());
        }
        assert!(refused("x.torrent").is_none());
    }

    #[test]
    fn the_date_can_be_given_by_the_environment() {
        let date_of = |text: &str| date(false, Some(text.into()));
        assert_eq!(date_of("0").unwrap(), Some(0));
        assert_eq!(date_of("1700000000").unwrap(), Some(1_700_000_000));
        assert_eq!(date(true, Some("7".into())).unwrap(), None);
        assert!(date_of("").unwrap().is_some());
        assert!(date(false, None).unwrap().is_some());
        for text in ["yesterday", "-1", "+1", "1.5", "99999999999999999999"] {
            assert_eq!(date_of(text).unwrap_err().exit(), Exit::Usage, "{text}");
        }
    }
}
