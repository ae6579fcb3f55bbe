//! What `check` says about hosts that lack something, and how it says it.

use super::*;
use crate::{
    host::{
        judge::judge,
        memory::of_meminfo,
        seen::{Access, Folder, Host, SecretFile, gpus},
    },
    repo::{finalized_size, sealing_peak},
};

const MANIFEST: &str = r#"
[miner]
sector_size = "32GiB"
actor = "f01000"
[chain]
endpoints = [{ url = "http://127.0.0.1:1234/rpc/v1", token_file = "/etc/seald/token" }]
[repo.nvme]
path = "/srv/nvme"
roles = ["seal"]
require_mount = true
[repo.store]
path = "/srv/store"
roles = ["store"]
reserve = "10GiB"
[slot.pc1]
tasks = ["precommit1"]
count = 2
cpus = "0-7"
memory = "64GiB"
[slot.gpu]
tasks = ["precommit2", "commit"]
gpu = "GPU-00000000-0000-0000-0000-000000000000"
[pledge]
sectors = 1
"#;

fn loaded() -> Loaded {
    loaded_from(MANIFEST.to_owned())
}

fn loaded_from(text: String) -> Loaded {
    let file = manifest::File { path: "seald.toml".into(), text };
    manifest::parse(&[file], &Overrides { cwd: "/".into(), ..Overrides::default() }).unwrap()
}

fn gib(n: u64) -> crate::units::Bytes {
    crate::units::Bytes::new(n << 30)
}

fn folder(access: Access, mounted: bool, free_gib: u64) -> Folder {
    Folder { access, mounted, capacity: gib(1000), free: gib(free_gib) }
}

/// A host that has all that the manifest asks for.
fn right_host() -> Host {
    let folders = ["/srv/nvme", "/srv/store", "/var/lib/seald", "/var/tmp/filecoin-proof-parameters"];
    Host {
        folders: folders.map(|path| (path.into(), folder(Access::Writable, true, 900))).into(),
        secrets: [("/etc/seald/token".into(), SecretFile::Readable(0o100_640))].into(),
        cpus: "0-15".parse().ok(),
        memory: Some(gib(256)),
        gpus: vec!["GPU-00000000-0000-0000-0000-000000000000".to_owned()],
        computes_on_gpus: true,
        open_files: Some(4096),
        locked: Some(u64::MAX),
        no_units: None,
    }
}

fn findings(host: &Host) -> (Vec<String>, Vec<String>) {
    let Loaded { manifest, provenance, .. } = loaded();
    let found = judge(&manifest, &provenance, host);
    let lines = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
    (lines(found.problems), lines(found.warnings))
}

#[test]
fn units_are_needed_only_where_they_are_asked_for() {
    let host = Host { no_units: Some("/run/seald-spawn.sock: No such file or directory".to_owned()), ..right_host() };
    assert_eq!(findings(&host), (Vec::new(), Vec::new()), "auto");
    let Loaded { manifest, provenance, .. } = loaded_from(format!("{MANIFEST}[workers]\nlauncher = \"systemd\"\n"));
    assert_eq!(judge(&manifest, &provenance, &right_host()).problems, []);
    let [problem] = &judge(&manifest, &provenance, &host).problems[..] else { panic!("no problem") };
    let text = problem.to_string();
    assert!(text.contains("has no socket") && text.contains("systemctl start seald-worker.socket"), "{text}");
}

#[test]
fn a_host_with_everything_is_right() {
    assert_eq!(findings(&right_host()), (Vec::new(), Vec::new()));
}

#[test]
fn everything_that_a_host_lacks_is_said_at_once() {
    let mut host = right_host();
    host.folders.insert("/srv/nvme".into(), folder(Access::Writable, false, 900));
    host.folders.insert("/srv/store".into(), folder(Access::ReadOnly, true, 900));
    host.folders.insert("/var/lib/seald".into(), folder(Access::Unusable("permission denied".into()), false, 9));
    host.secrets.insert("/etc/seald/token".into(), SecretFile::Readable(0o100_644));
    host.cpus = "0-3".parse().ok();
    host.memory = Some(gib(100));
    host.gpus = Vec::new();
    host.open_files = Some(64);
    host.computes_on_gpus = false;
    let (problems, warnings) = findings(&host);
    assert_eq!(
        problems,
        [
            "default: state.dir: \"/var/lib/seald\" cannot be used: permission denied; accepted: a folder that seald \
             can write to, or one that it can make",
            "seald.toml:8:8: repo.nvme.path: \"/srv/nvme\" has nothing mounted on it or above it; accepted: a \
             folder on a mount other than /, or repo.nvme.require_mount = false",
            "seald.toml:12:8: repo.store.path: \"/srv/store\" cannot be written to; accepted: a folder that seald can \
             write to, or one that it can make",
            "seald.toml:6:13: chain.endpoints[0].token_file: \"/etc/seald/token\" is open to every user; accepted: a \
             file that seald can read and others cannot: chmod 640",
            "seald.toml:18:8: slot.pc1.cpus: \"0-7\" names CPUs that are not there: 4 5 6 7; accepted: of 0-3",
            "seald.toml:19:10: slot.pc1.memory: \"64GiB\" and the other slots together may take 128 GiB of memory; \
             this machine has 100 GiB; accepted: 100 GiB in all, counts included",
            "seald.toml:22:7: slot.gpu.gpu: \"GPU-00000000-0000-0000-0000-000000000000\" is not a GPU of this \
             machine; accepted: no NVIDIA GPU on this machine",
        ]
    );
    assert_eq!(
        warnings,
        [
            "seald.toml:22:7: slot.gpu.gpu: \"GPU-00000000-0000-0000-0000-000000000000\" is bound and watched, and not \
             used: this seald is built without cuda and opencl",
            "a process may open 64 files here; 448 are enough for the declared slots; accepted: LimitNOFILE=448 in the \
          unit, or ulimit -n 448"
        ]
    );
}

#[test]
fn a_full_disk_warns_and_a_small_one_is_refused() {
    let size = crate::units::SectorSize::GiB32;
    let mut host = right_host();
    host.folders.insert("/srv/nvme".into(), folder(Access::Writable, true, 400));
    let (problems, warnings) = findings(&host);
    assert_eq!(problems, Vec::<String>::new());
    let said = format!(
        "seald.toml:8:8: repo.nvme.path: \"/srv/nvme\" has 400 GiB for seald; to seal one sector takes {} now; \
         nothing new fits until space is freed",
        sealing_peak(size)
    );
    assert_eq!(warnings, [said]);
    let small = Folder { capacity: gib(40), ..folder(Access::Creatable, true, 40) };
    host.folders.insert("/srv/store".into(), small);
    let (problems, _) = findings(&host);
    let need = finalized_size(size);
    let said = format!(
        "seald.toml:12:8: repo.store.path: \"/srv/store\" has 30 GiB for seald; to store one sector takes {need}; \
         accepted: {need} or more"
    );
    assert_eq!(problems, [said]);
}

#[test]
fn the_kernel_s_files_are_read() {
    assert_eq!(of_meminfo("MemTotal:  1048576 kB\nMemFree: 1 kB\n"), Some(gib(1)));
    let driver = tempfile::tempdir().unwrap();
    let card = driver.path().join("0000:01:00.0");
    std::fs::create_dir(&card).unwrap();
    std::fs::write(card.join("information"), "Model: \t\t X\nGPU UUID: \t GPU-1\nBus Type: \t PCIe\n").unwrap();
    assert_eq!((gpus(driver.path()), gpus(Path::new("/nowhere"))), (vec!["GPU-1".to_owned()], Vec::new()));
}

#[test]
fn the_report_is_told_in_text_and_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let set = vec!["pledge.sectors=3".to_owned(), "params.dir=params".to_owned()];
    let overrides = Overrides { set, cwd: folder.path().to_owned(), ..Overrides::default() };
    let args = CheckArgs { file: None, json: false, explain: true, schema_only: false, schema: false };
    let report = examine(Path::new("examples/configs/devnet.toml"), &args, &overrides);
    assert_eq!(report.problems, [], "an empty folder is all that a devnet needs");
    let text = as_text(&report);
    assert!(text.contains("\npledge.sectors = 3  # --set pledge.sectors\n"), "{text}");
    assert!(text.contains("\nwarning: --set params.dir: params.dir: ") && text.contains(" parameter"), "{text}");
    assert!(text.contains("\nexamples/configs/devnet.toml: no problems, 1 warning"), "{text}");
    let json = as_json(&report);
    assert_eq!(json["format_version"], 1);
    assert_eq!(json["settings"]["pledge.sectors"]["origin"]["set"], "pledge.sectors");
    assert_eq!(json["warnings"][0]["key"], "params.dir");
    let brief =
        as_json(&examine(Path::new("examples/configs/devnet.toml"), &CheckArgs { explain: false, ..args }, &overrides));
    assert_eq!(brief["settings"], Value::Null);
}

#[test]
fn a_state_folder_too_deep_for_a_socket_is_found_before_the_start() {
    let found = |dir: &str| {
        let file = manifest::File { path: "seald.toml".into(), text: MANIFEST.to_owned() };
        let overrides = Overrides { cwd: "/".into(), set: vec![format!("state.dir={dir}")], ..Overrides::default() };
        let Loaded { manifest, provenance, .. } = manifest::parse(&[file], &overrides).unwrap();
        let problems = judge(&manifest, &provenance, &right_host()).problems;
        problems.into_iter().filter(|problem| problem.key == "state.dir").count()
    };
    // 107 bytes with `/control.sock`, and one more
    assert_eq!(found(&format!("/{}", "d".repeat(93))), 0);
    assert_eq!(found(&format!("/{}", "d".repeat(94))), 1);
}
