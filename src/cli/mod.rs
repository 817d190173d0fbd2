//! Arguments come in; one call and an exit status go out: 0 done, 1 failure, 2 usage, 3 some photographs skipped.

use std::process::ExitCode;

/// Parses the arguments and runs what they ask for.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
