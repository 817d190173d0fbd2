//! Arguments in, one call, an exit status out.

fn main() -> std::process::ExitCode {
    diaret::cli::main()
}
