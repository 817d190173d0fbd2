//! Where a command's results, warnings and progress go.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

/// Writes a line to stderr. That stderr is closed is no reason to stop.
pub fn warn(line: &str) {
    writeln!(io::stderr().lock(), "{line}").ok();
}

/// Whether an error means that nobody reads stdout any more.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == ErrorKind::BrokenPipe))
}

/// Results on stdout or in a file that appears whole or not at all.
pub enum Sink {
    /// Stdout.
    Stdout(BufWriter<io::Stdout>),
    /// A file that is written beside its place and moved there at the end.
    File {
        /// What is being written.
        writer: BufWriter<File>,
        /// Its place until it is whole; `None` if it is written in place (a device or a pipe).
        part: Option<Part>,
        /// Its place.
        place: PathBuf,
    },
}

/// A file that is not whole yet; removed when dropped.
pub struct Part(Option<PathBuf>);

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // Nothing more can be done about it, and what went wrong has been said.
            std::fs::remove_file(path).ok();
        }
    }
}

impl Sink {
    /// Opens `out`, else stdout.
    pub fn open(out: Option<&Path>) -> anyhow::Result<Self> {
        let Some(out) = out else { return Ok(Self::Stdout(BufWriter::new(io::stdout()))) };
        let cannot = || format!("cannot write {}", out.display());
        // A link is written through, not replaced.
        let place = out.canonicalize().unwrap_or_else(|_| out.to_path_buf());
        anyhow::ensure!(!place.is_dir(), "cannot write {}: it is a folder", out.display());
        if place.exists() && !place.is_file() {
            let writer = BufWriter::new(File::options().write(true).open(&place).with_context(cannot)?);
            return Ok(Self::File { writer, part: None, place });
        }
        let (file, path) = create_beside(&place).with_context(cannot)?;
        Ok(Self::File { writer: BufWriter::new(file), part: Some(Part(Some(path))), place })
    }

    /// Moves a file to its place.
    pub fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(mut writer) => writer.flush().context("cannot write to stdout"),
            Self::File { mut writer, part, place } => {
                let cannot = || format!("cannot write {}", place.display());
                writer.flush().with_context(cannot)?;
                if let Some(mut part) = part
                    && let Some(path) = &part.0
                {
                    writer.get_ref().sync_all().with_context(cannot)?;
                    std::fs::rename(path, &place).with_context(cannot)?;
                    part.0 = None;
                }
                Ok(())
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(writer) => writer.write(bytes),
            Self::File { writer, .. } => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(writer) => writer.flush(),
            Self::File { writer, .. } => writer.flush(),
        }
    }
}

/// A new file in the same folder, so that moving it is one step.
fn create_beside(place: &Path) -> io::Result<(File, PathBuf)> {
    let name = place.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
    for attempt in 0..100 {
        let path = place.with_file_name(format!(".{name}.{}-{attempt}.part", std::process::id()));
        match File::options().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// One line on stderr that tells how far a command is, if stderr is a terminal.
pub struct ProgressLine {
    shown: bool,
    last: Option<Instant>,
}

impl ProgressLine {
    /// Shows nothing yet.
    pub fn new() -> Self {
        Self { shown: io::stderr().is_terminal(), last: None }
    }

    /// Replaces the line, ten times a second at most.
    pub fn show(&mut self, text: &str) {
        if self.shown && self.last.is_none_or(|last| last.elapsed() > Duration::from_millis(100)) {
            self.last = Some(Instant::now());
            write!(io::stderr().lock(), "\r{text}\x1b[K").ok();
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.last.take().is_some() {
            write!(io::stderr().lock(), "\r\x1b[K").ok();
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}
