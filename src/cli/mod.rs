//! The command line: one file a subcommand, exit codes in one enum. Commands parse, call one function of another
//! room, and print; they decide nothing about sealing.

pub mod api;
pub mod bench;
pub mod check;
pub mod devnet;
pub mod failure;
pub mod info;
pub mod init;
pub mod live;
pub mod log;
pub mod logs;
pub mod man;
pub mod metrics;
pub mod orders;
pub mod params;
pub mod plan;
pub mod reload;
pub mod run;
pub mod screen;
pub mod sectors;
pub mod slots;
pub mod state_dir;
pub mod status;
pub mod version;

use crate::{
    control::ManifestOrder,
    control::SlotOrder,
    daemon::{Proposal, Source},
    manifest::{Loaded, Overrides},
    proofs::Prover,
    status::paint::Colour,
    supervisor,
};
use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use failure::{Exit, Failure, OrHelp as _, Outcome};
use std::{ffi::OsString, io, io::IsTerminal, path::PathBuf, process::ExitCode};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "seald",
    version,
    about = "The sealing appliance for Filecoin storage providers: one manifest in, proven sectors out.",
    after_help = Exit::HELP,
    max_term_width = 100,
    propagate_version = false,
    arg_required_else_help = true,
    infer_subcommands = false
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The manifest; seald.d/*.toml beside it is read too
    #[arg(long, global = true, value_name = "FILE", env = "SEALD_CONFIG", hide_env_values = true)]
    #[arg(default_value = state_dir::MANIFEST, help_heading = "Global options")]
    pub config: PathBuf,
    /// Override one key of the manifest, such as pledge.sectors=5; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = parse_set, help_heading = "Global options")]
    pub set: Vec<String>,
    /// What to log: error, warn, info, debug, trace, or such as seald=debug,sqlx=warn
    #[arg(long, global = true, value_name = "LEVEL", env = "SEALD_LOG", hide_env_values = true)]
    #[arg(value_parser = log::parse_level, help_heading = "Global options")]
    pub log: Option<String>,
}

impl Global {
    /// What is laid over the manifest's files: the environment and `--set`.
    ///
    /// # Errors
    /// The working directory cannot be read.
    pub fn overrides(&self) -> Outcome<Overrides> {
        let overrides = Overrides::of_process(self.set.clone()).context("cannot read the working directory");
        overrides.or_help("start seald in a folder that is there")
    }

    /// Where the manifest is read, now and again.
    ///
    /// # Errors
    /// The working directory cannot be read.
    pub fn source(&self) -> Outcome<Source> {
        Ok(Source { path: self.config.clone(), overrides: self.overrides()? })
    }

    /// The manifest with its texts; it must be right.
    ///
    /// # Errors
    /// Every problem of it, with [`Exit::BadManifest`].
    pub fn propose(&self) -> Outcome<Proposal> {
        self.source()?.read().map_err(|problems| {
            let lines: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
            let config = self.config.display();
            let failure = Failure::new(
                format!("the manifest {config} cannot be used:{lines}"),
                format!("correct it, then `seald check --config {config}` looks at all of it again"),
            );
            failure.exit(Exit::BadManifest)
        })
    }

    /// The manifest, which must be right.
    ///
    /// # Errors
    /// As [`Global::propose`].
    pub fn load(&self) -> Outcome<Loaded> {
        self.propose().map(|proposal| proposal.loaded)
    }

    /// Starts logging at the level of `--log`, or else at `level`: to the journal under systemd, else to stderr.
    ///
    /// # Errors
    /// As [`log::start`].
    pub fn start_log(&self, level: &str) -> Outcome<()> {
        log::start(self.log.as_deref().unwrap_or(level), &log::Sink::choose())
    }
}

fn parse_set(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.trim().is_empty() => Ok(text.to_owned()),
        Some(_) | None => Err("give key=value, such as pledge.sectors=5".to_owned()),
    }
}

/// The fake prover, for fault and load tests on a devnet.
#[derive(Debug, Clone, Copy, Args)]
pub struct ProverArgs {
    /// Prove nothing: hashes in place of proofs, for tests on a devnet
    #[arg(long, hide = true)]
    pub simulate_proofs: bool,
}

impl ProverArgs {
    /// The prover it means.
    pub const fn prover(self) -> Prover {
        if self.simulate_proofs { Prover::Simulated } else { Prover::Real }
    }
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground until it is told to stop
    Run(run::RunArgs),
    /// Check the manifest, then this host against it; show every problem at once
    Check(check::CheckArgs),
    /// Show what a reload would change and a start would do, in order
    Plan(plan::PlanArgs),
    /// Bring the manifest as it is now into force; a wrong one changes nothing
    Reload(reload::ReloadArgs),
    /// Bring the manifest that was in force before the present one into force again
    Rollback(reload::ReloadArgs),
    /// Show what the daemon does, how far it is, and what needs an operator
    Status(status::StatusArgs),
    /// Look at sectors, and give orders about them
    Sectors(sectors::SectorsArgs),
    /// Keep a slot from new tasks; its workers stay
    Cordon(slots::WhichArgs),
    /// Keep a slot from new tasks; its workers leave when their task is done
    Drain(slots::DrainArgs),
    /// Keep a slot from new tasks for a while; --now ends those that run
    Pause(slots::PauseArgs),
    /// Let a slot that was cordoned, drained or paused take tasks again
    Resume(slots::WhichArgs),
    /// Show the miner on chain: power, balances, sectors by state
    Info(info::InfoArgs),
    /// Show what was logged, all of it or about one sector or slot
    Logs(logs::LogsArgs),
    /// Make tokens for the StorageMiner API, which lotus-miner and its dashboards ask
    Api(api::ApiArgs),
    /// Print the status as metrics for Prometheus
    Metrics(metrics::MetricsArgs),
    /// Do only what must exist before sealing can start, then end
    Init(init::InitArgs),
    /// Check or make available the proof parameters
    Params(params::ParamsArgs),
    /// Measure waits of free workers, and stages against the bare proofs library
    Bench(bench::BenchArgs),
    /// Run a local chain in a box that speaks Lotus JSON-RPC
    Devnet(devnet::DevnetArgs),
    /// Show the version of seald, of its proofs library, and of its formats
    Version(version::VersionArgs),
    /// Print a shell completion script
    Completions(man::CompletionsArgs),
    /// Print the manual page, or write one page per command
    Man(man::ManArgs),
    /// Take jobs from the daemon over the socket that is stdin
    #[command(hide = true)]
    Worker(crate::worker::Options),
    /// Become the worker that the daemon asks for over the socket that is stdin; for seald-worker@.service
    #[command(hide = true)]
    WorkerStart,
    /// Write down how a worker's unit ended; for ExecStopPost= of seald-worker@.service
    #[command(hide = true)]
    WorkerExit,
}

/// Runs what the arguments say and gives the exit code of the process.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Well };
            // help for a closed pipe has no reader left; the exit code is right either way
            return match error.print() {
                Ok(()) | Err(_) => exit.into(),
            };
        }
    };
    let Cli { global, command } = cli;
    if let Command::Worker(options) = command {
        // before any other thread is started: a worker pins itself to its processors first
        return crate::worker::serve(options);
    }
    dispatch(&global, command).unwrap_or_else(|failure| failure.report()).into()
}

fn dispatch(global: &Global, command: Command) -> Outcome {
    match command {
        Command::Run(args) => run::run(global, &args),
        Command::Check(args) => check::run(global, &args),
        Command::Plan(args) => plan::run(global, &args),
        Command::Reload(args) => reload::run(global, &args, ManifestOrder::Reload),
        Command::Rollback(args) => reload::run(global, &args, ManifestOrder::Rollback),
        Command::Status(args) => status::run(global, &args),
        Command::Sectors(args) => sectors::run(global, &args),
        Command::Cordon(args) => slots::order(global, &args, SlotOrder::Cordon),
        Command::Drain(args) => slots::drain(global, &args),
        Command::Pause(args) => slots::pause(global, &args),
        Command::Resume(args) => slots::order(global, &args, SlotOrder::Resume),
        Command::Info(args) => info::run(global, &args),
        Command::Logs(args) => logs::run(global, &args),
        Command::Api(args) => api::run(global, &args),
        Command::Metrics(args) => metrics::run(global, &args),
        Command::Init(args) => init::run(global, &args),
        Command::Params(args) => params::run(global, &args),
        Command::Bench(args) => bench::run(global, &args),
        Command::Devnet(args) => global.start_log("info").and_then(|()| devnet::run(global, &args)),
        Command::Version(args) => version::run(&args),
        Command::Worker(_) => Ok(Exit::Usage),
        Command::WorkerStart => Err(worker_unit(supervisor::become_worker())),
        Command::WorkerExit => {
            supervisor::record_own_end(&supervisor::exits()).map_err(worker_unit).map(|()| Exit::Well)
        }
        Command::Completions(args) => man::completions(&args),
        Command::Man(args) => man::run(&args),
    }
}

/// What only a unit file that does not belong to this version brings about.
fn worker_unit(why: String) -> Failure {
    Failure::new(why, "this command is for the units that the package brings along, not to be called by hand")
}

/// The runtime of a command that needs one; most do not.
///
/// # Errors
/// The system has no threads or descriptors left.
pub fn runtime() -> Outcome<tokio::runtime::Runtime> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.or_help("raise the limits on tasks and open files (TasksMax=, LimitNOFILE=)")
}

/// The clap definition, for manual pages.
pub fn definition() -> clap::Command {
    Cli::command()
}

/// The clap definition without anything hidden, for completions: their generators show hidden things too.
pub fn visible_definition() -> clap::Command {
    fn visible(command: &clap::Command) -> clap::Command {
        let args = command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned();
        let below = command.get_subcommands().filter(|below| !below.is_hide_set()).map(visible);
        let about = command.get_about().cloned().unwrap_or_default();
        clap::Command::new(command.get_name().to_owned()).about(about).args(args).subcommands(below)
    }
    visible(&definition()).version(env!("CARGO_PKG_VERSION"))
}

/// Whether text on stdout may have colours.
pub fn colour() -> Colour {
    colour_of(&io::stdout())
}

/// Whether text on `stream` may have colours: on a terminal that can, unless NO_COLOR is set to anything.
pub fn colour_of(stream: &impl IsTerminal) -> Colour {
    let says_no = |name: &str, no: fn(&str) -> bool| std::env::var_os(name).is_some_and(|v| no(&v.to_string_lossy()));
    let refused = says_no("NO_COLOR", |value| !value.is_empty()) || says_no("TERM", |value| value == "dumb");
    if stream.is_terminal() && !refused { Colour::Ansi } else { Colour::Plain }
}
