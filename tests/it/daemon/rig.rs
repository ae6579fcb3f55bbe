//! One seald with a folder of its own: started, listened to, killed, and looked at from outside.
//!
//! Waits for what the program says, never for time to pass; every wait ends in a failure after a bound.

use crate::root;
use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// A line that does not come within this time is a failure.
const PATIENCE: Duration = Duration::from_secs(90);

/// A process that is to end and does not within this time is a failure.
const LAST: Duration = Duration::from_secs(20);

/// The words by which a process of a run is known: its subcommand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Daemon,
    Worker,
    Devnet,
}

impl Kind {
    const fn subcommand(self) -> &'static str {
        match self {
            Self::Daemon => "run",
            Self::Worker => "worker",
            Self::Devnet => "devnet",
        }
    }
}

/// A folder with everything of one seald in it.
pub struct Rig {
    dir: tempfile::TempDir,
    pub repo: PathBuf,
    pub sectors: u64,
    /// The manifest; the example's, unless a test writes its own.
    pub config: PathBuf,
    /// More arguments of every command, such as `--set=pledge.max_in_flight=8`.
    pub more: Vec<String>,
    /// Arguments of `run`.
    pub run: Vec<String>,
    /// More environment.
    pub env: Vec<(String, String)>,
}

impl Rig {
    /// The devnet of the examples with the simulated prover.
    pub fn simulated(sectors: u64, stage_ms: u32) -> Self {
        let run = ["--until-target", "--simulate-proofs", "--devnet-epoch-ms=50"].map(str::to_owned).into();
        let env = vec![("SEALD_SIMULATED_STAGE_MS".to_owned(), stage_ms.to_string())];
        let mut rig = Self::real(sectors);
        (rig.run, rig.env) = (run, env);
        rig
    }

    /// The devnet of the examples as it is.
    pub fn real(sectors: u64) -> Self {
        // orphans of a killed daemon become ours: their end can be waited for
        prctl::set_child_subreaper(true).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        let config = root().join("examples/configs/devnet.toml");
        Self { dir, repo, sectors, config, more: vec![], run: vec!["--until-target".to_owned()], env: vec![] }
    }

    pub fn is_simulated(&self) -> bool {
        self.run.iter().any(|arg| arg == "--simulate-proofs")
    }

    /// A manifest of its own, with this text, which can be written anew.
    pub fn write_manifest(&mut self, text: &str) {
        self.config = self.dir.path().join("seald.toml");
        fs::write(&self.config, text).unwrap();
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// `seald` for this folder, with an environment by which its processes are found again.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seald"));
        command.args(args).arg("--config").arg(&self.config);
        command.arg(format!("--set=state.dir={}", self.state().display()));
        command.arg(format!("--set=repo.disk.path={}", self.repo.display()));
        command.arg(format!("--set=pledge.sectors={}", self.sectors)).args(&self.more);
        command.env_clear().env("HOME", self.dir.path()).envs(self.env.iter().cloned()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn ask(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command prints as JSON.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let Output { stdout, stderr, .. } = self.ask(args);
        serde_json::from_slice(&stdout)
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", String::from_utf8_lossy(&stderr)))
    }

    /// Starts `seald run`; what it prints and logs is read as one stream.
    pub fn start(&self) -> Run {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = self.command(&["run"]);
        command.args(&self.run).stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().unwrap();
        drop(command);
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines() {
                if line.ok().and_then(|line| sender.send(line).ok()).is_none() {
                    return;
                }
            }
        });
        Run { child, lines, told: Vec::new() }
    }

    /// Runs to the target.
    pub fn finish(&self) -> String {
        self.start().ends_well()
    }

    /// The living processes of this folder that are of a kind.
    pub fn processes(&self, kind: Kind) -> Vec<Pid> {
        let home = format!("HOME={}", self.dir.path().display());
        let of_kind = |pid: &Pid| {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let words = |bytes: Vec<u8>| -> Vec<String> {
                bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
            };
            words(read("environ")).contains(&home)
                && words(read("cmdline")).get(1).map(String::as_str) == Some(kind.subcommand())
        };
        let names = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        names.map(Pid::from_raw).filter(of_kind).collect()
    }

    /// Waits until nothing of this folder runs any more.
    pub fn all_gone(&self) {
        for kind in [Kind::Worker, Kind::Devnet, Kind::Daemon] {
            for pid in self.processes(kind) {
                let (sender, ended) = mpsc::channel();
                std::thread::spawn(move || sender.send(waitpid(pid, None)));
                assert!(ended.recv_timeout(LAST).is_ok(), "the {kind:?} {pid} outlives the run");
            }
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // after a failed assertion
        for kind in [Kind::Daemon, Kind::Worker, Kind::Devnet] {
            self.processes(kind).into_iter().for_each(slay);
        }
    }
}

/// SIGKILL; a process that has just ended is as dead as one can be.
pub fn slay(pid: Pid) {
    kill(pid, Signal::SIGKILL).unwrap_or_default();
}

/// A daemon in the foreground.
pub struct Run {
    child: Child,
    lines: mpsc::Receiver<String>,
    told: Vec<String>,
}

impl Run {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub fn told(&self) -> String {
        self.told.join("\n")
    }

    /// The first line with these words, whether it was said already or is yet to come.
    pub fn until(&mut self, words: &str) -> String {
        let mut seen = 0;
        loop {
            if let Some(line) = self.told[seen..].iter().find(|line| line.contains(words)) {
                return line.clone();
            }
            seen = self.told.len();
            assert!(self.more(PATIENCE), "ended or fell silent before it said {words:?}:\n{}", self.told());
        }
    }

    /// Waits for the next line; `false` when none comes: it ended, or the time is over.
    pub fn more(&mut self, within: Duration) -> bool {
        let line = self.lines.recv_timeout(within);
        line.map(|line| self.told.push(line)).is_ok()
    }

    /// What `status` says, once it is so.
    pub fn watch(&mut self, rig: &Rig, is_so: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let begun = Instant::now();
        loop {
            let status = rig.json(&["status", "--json"]);
            if is_so(&status) {
                return status;
            }
            let waiting = self.listen(Duration::from_millis(100)) && begun.elapsed() < PATIENCE;
            assert!(waiting, "it did not come to that: {status:#}\n{}", self.told());
        }
    }

    /// Listens for a while; `false` when it ended meanwhile.
    pub fn listen(&mut self, during: Duration) -> bool {
        let begun = Instant::now();
        loop {
            let left = during.saturating_sub(begun.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.told.push(line),
                Err(mpsc::RecvTimeoutError::Timeout) => return true,
                Err(mpsc::RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Waits until every sector is trimmed, which comes after it is proven and final.
    pub fn trimmed(&mut self, rig: &Rig) {
        for number in 1..=rig.sectors {
            let number = number.to_string();
            self.watch(rig, |_| !rig.json(&["sectors", "show", &number, "--json"])["sector"]["store"].is_null());
        }
    }

    /// Kills it and listens to its last words.
    pub fn killed(mut self) -> String {
        slay(self.pid());
        let (status, told) = self.end();
        assert!(status.signal() == Some(9) || status.success(), "it failed before it was killed: {status}\n{told}");
        told
    }

    /// Asks it to end as a service manager does.
    pub fn stopped(mut self) -> ExitStatus {
        kill(self.pid(), Signal::SIGTERM).unwrap();
        self.end().0
    }

    /// Its end, which is to come by itself, and everything it said.
    pub fn end(&mut self) -> (ExitStatus, String) {
        while self.more(PATIENCE) {}
        let ended = self.child.try_wait().unwrap();
        let status = ended.unwrap_or_else(|| {
            // the stream is closed an instant before the process is gone; a silent one is not going to end
            let closed = self.lines.try_recv() == Err(mpsc::TryRecvError::Disconnected);
            assert!(closed, "still runs, and has been silent for {PATIENCE:?}:\n{}", self.told());
            self.child.wait().unwrap()
        });
        (status, self.told())
    }

    /// As [`Run::end`], which must be with exit code 0.
    pub fn ends_well(mut self) -> String {
        let (status, told) = self.end();
        assert_eq!(status.code(), Some(0), "{told}");
        told
    }
}
