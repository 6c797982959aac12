//! What log lines are written to: stdout, or `LOG_FILE`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::LoggingError;

/// A target. Lines are written as they come: nothing is buffered here.
pub(super) enum Target {
    /// Standard output.
    Stdout(Box<dyn Write + Send>),
    /// A file that is appended to.
    File(PathBuf, File),
}

impl Target {
    /// Opens `LOG_FILE` for appending; its folder is made. A new file is its owner's alone: lines hold addresses and names.
    ///
    /// # Errors
    /// When it cannot be opened, or is nothing to append to: a pipe would have the start wait for its reader.
    pub fn file(file: &Path) -> Result<Self, LoggingError> {
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|source| LoggingError::Folder { folder: folder.to_owned(), source })?;
        }
        let opened = open(file).map_err(|source| LoggingError::Open { file: file.to_owned(), source })?;
        Ok(Self::File(file.to_owned(), opened))
    }

    /// As operators know it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stdout(_) => "stdout",
            Self::File(..) => "LOG_FILE",
        }
    }

    /// Opens a file again by its name, which another program may have given to another file meanwhile. Returns whether there
    /// is one.
    ///
    /// # Errors
    /// When it cannot be opened: then lines go on into the one that is open.
    pub fn reopen(&mut self) -> io::Result<bool> {
        let Self::File(path, opened) = self else { return Ok(false) };
        *opened = open(path)?;
        Ok(true)
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => {
                let written = stdout.write(bytes)?;
                // What was taken must not be given again: where it cannot go on for the moment, it goes on later.
                match stdout.flush() {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                    _ => Ok(written),
                }
            }
            Self::File(_, file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Ok(found) = fs::metadata(path)
        && is_pipe_or_socket(&found)
    {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe or a socket, and not a file"));
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn is_pipe_or_socket(found: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;

    found.file_type().is_fifo() || found.file_type().is_socket()
}

#[cfg(not(unix))]
fn is_pipe_or_socket(_: &fs::Metadata) -> bool {
    false
}
