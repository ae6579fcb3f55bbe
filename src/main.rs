//! One line: everything is in the library.

fn main() -> std::process::ExitCode {
    seald::run(std::env::args_os())
}
