//! A store that is one file in a directory, written at a clean stop.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use super::{Damage, Record, Store, StoreError, block, lock::DirectoryLock};
use crate::step::unix_nanos;

/// The file that is read at the start and replaced at the stop.
const NAME: &str = "almanet-broker.state";

/// The file that is written, before it takes the place of the other one.
const TEMPORARY: &str = "almanet-broker.state.tmp";

/// How much is read from the file at once.
const READ_BUFFER: usize = 256 * 1024;

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("another broker uses it")]
    InUse,
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// The state of a broker in the file `almanet-broker.state`, in a directory that is locked.
#[derive(Debug)]
pub(crate) struct Snapshot {
    directory: PathBuf,
    _lock: DirectoryLock,
}

impl Snapshot {
    /// Takes a directory into use. It is made if need be, but not those above it: a volume that is not mounted
    /// shall be noticed.
    pub(crate) fn open(directory: &Path) -> Result<Self, OpenError> {
        match fs::create_dir(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::on("make the directory", directory)(error).into()),
        }
        let lock =
            DirectoryLock::acquire(directory).map_err(StoreError::on("lock the directory", directory))?;
        Ok(Self {
            directory: directory.to_owned(),
            _lock: lock.ok_or(OpenError::InUse)?,
        })
    }

    fn set_aside(&self, path: &Path, now: i64) -> Result<PathBuf, StoreError> {
        let aside = self.directory.join(format!("{NAME}.damaged-{now}"));
        fs::rename(path, &aside).map_err(StoreError::on("set aside", path))?;
        Ok(aside)
    }

    fn write(&self, temporary: &Path, records: &mut dyn Iterator<Item = Record>) -> io::Result<()> {
        let file = create_private(temporary)?;
        block::write(&file, unix_nanos(), records)?;
        // The name shall not point to a file whose bytes are still on their way to the disk.
        file.sync_all()
    }
}

impl Store for Snapshot {
    fn load(&mut self, take: &mut dyn FnMut(Record)) -> Result<Option<Damage>, StoreError> {
        let path = self.directory.join(NAME);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::on("open", path)(error)),
        };
        let size = file.metadata().map_err(StoreError::on("look at", &path))?.len();
        let now = unix_nanos();
        let file = BufReader::with_capacity(READ_BUFFER, file);
        match block::read(file, size, now, take) {
            Ok(()) => Ok(None),
            Err(damage) => Ok(Some(Damage {
                reason: damage.to_string(),
                set_aside: self.set_aside(&path, now)?,
            })),
        }
    }

    fn save(&mut self, records: &mut dyn Iterator<Item = Record>) -> Result<(), StoreError> {
        let path = self.directory.join(NAME);
        let temporary = self.directory.join(TEMPORARY);
        let written = self.write(&temporary, records);
        if let Err(error) = written {
            // Half a file is of no use, and it may be what fills the disk.
            let _ = fs::remove_file(&temporary);
            return Err(StoreError::on("write", temporary)(error));
        }
        fs::rename(&temporary, &path).map_err(StoreError::on("replace", &path))?;
        sync_directory(&self.directory).map_err(StoreError::on("sync", &self.directory))
    }
}

/// A new file that only its owner reads: there are messages in it.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the new name last.
#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Makes the new name last. Elsewhere than on Unix a directory cannot be synced.
#[cfg(not(unix))]
fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}
