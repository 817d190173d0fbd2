//! Where a command's results, warnings and progress go.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

/// Writes a line to stderr. That stderr is closed is no reason to stop.
pub fn warn(line: &str) {
    writeln!(io::stderr().lock(), "{line}").ok();
}

/// A name or a reason on one line, without what moves a terminal's cursor.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
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

/// A file that is not whole yet, beside its place: `worklist.csv.part`. Dropped before it is whole it is removed, unless its records
/// are worth keeping.
pub struct Part {
    path: Option<PathBuf>,
    /// Whether what was flushed is of use without the rest.
    keeps: bool,
    /// Bytes that are.
    kept: u64,
}

impl Drop for Part {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        // Nothing more can be done about what fails here, and what went wrong before has been said.
        if self.kept == 0 {
            std::fs::remove_file(path).ok();
        } else if let Ok(file) = File::options().write(true).open(path) {
            // Without the record that was being written.
            file.set_len(self.kept).ok();
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
        let part = Part { path: Some(path), keeps: false, kept: 0 };
        Ok(Self::File { writer: BufWriter::new(file), part: Some(part), place })
    }

    /// The same; if it never becomes whole, what was flushed stays in [`Sink::part`].
    pub fn keeping(mut self) -> Self {
        if let Self::File { part: Some(part), .. } = &mut self {
            part.keeps = true;
        }
        self
    }

    /// The file that stays if this one never becomes whole, once there is something in it.
    pub fn part(&self) -> Option<&Path> {
        match self {
            Self::File { part: Some(Part { path, kept: 1.., .. }), .. } => path.as_deref(),
            _ => None,
        }
    }

    /// Moves a file to its place.
    pub fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(mut writer) => writer.flush().context("cannot write to stdout"),
            Self::File { mut writer, part, place } => {
                let cannot = || format!("cannot write {}", place.display());
                writer.flush().with_context(cannot)?;
                if let Some(mut part) = part
                    && let Some(path) = &part.path
                {
                    writer.get_ref().sync_all().with_context(cannot)?;
                    std::fs::rename(path, &place).with_context(cannot)?;
                    part.path = None;
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
            Self::File { writer, part, .. } => {
                writer.flush()?;
                if let Some(part) = part.as_mut().filter(|part| part.keeps) {
                    part.kept = writer.stream_position()?;
                }
                Ok(())
            }
        }
    }
}

/// A new file in the same folder, so that moving it is one step.
fn create_beside(place: &Path) -> io::Result<(File, PathBuf)> {
    let name = place.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
    // One that was left by an earlier run is not overwritten.
    for attempt in 1..100 {
        let number = if attempt == 1 { String::new() } else { format!(".{attempt}") };
        let path = place.with_file_name(format!("{name}{number}.part"));
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
            write!(io::stderr().lock(), "\r{}\x1b[K", visible(text)).ok();
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
