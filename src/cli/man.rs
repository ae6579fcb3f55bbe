//! `seald man` and `seald completions`: made from the same definition that parses the command line.

use super::{
    definition,
    failure::{Exit, OrHelp as _, Outcome, print},
    visible_definition,
};
use anyhow::Context as _;
use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

/// Arguments of `seald completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Arguments of `seald man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write one page per command into this folder
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Runs `seald completions`.
///
/// # Errors
/// Stdout cannot be written.
pub fn completions(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible_definition(), "seald", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Well)
}

/// Runs `seald man`.
///
/// # Errors
/// The folder or stdout cannot be written.
pub fn run(args: &ManArgs) -> Outcome {
    let help = "give a folder that can be written";
    match &args.dir {
        Some(dir) => {
            let made = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(definition(), dir));
            made.with_context(|| format!("cannot write manual pages to {}", dir.display())).or_help(help)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(definition()).render(&mut page).or_help("this is a defect of seald: report it")?;
            print(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(Exit::Well)
}
