//! The manifest's promises: every problem is found and placed, every layer wins where it should, every example is
//! right.

use super::*;
use std::{fs, path::PathBuf};

/// The directives `# env: NAME=VALUE` and `# set: KEY=VALUE` of a fixture.
fn overrides(text: &str) -> Overrides {
    let lines = |prefix: &'static str| text.lines().filter_map(move |line| line.strip_prefix(prefix));
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Overrides {
        variables: lines("# env: ").filter_map(pair).collect(),
        set: lines("# set: ").map(str::to_owned).collect(),
        cwd: PathBuf::from("/box"),
    }
}

fn toml_files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "toml")).collect();
    files.sort();
    files
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// Compares with a file; `UPDATE_EXPECT=1` writes it instead.
fn assert_golden(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(path, text).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; UPDATE_EXPECT=1 rewrites it", path.display());
}

fn parse_text(text: &str, overrides: &Overrides) -> Result<Loaded, Vec<Problem>> {
    parse(&[File { path: "seald.toml".into(), text: text.to_owned() }], overrides)
}

fn in_box() -> Overrides {
    Overrides { cwd: PathBuf::from("/box"), ..Overrides::default() }
}

#[test]
fn every_bad_manifest_is_refused_with_all_its_problems() {
    let files = toml_files("tests/fixtures/bad");
    assert!(files.len() >= 12);
    for path in files {
        let overrides = overrides(&fs::read_to_string(&path).unwrap());
        let problems = load(&path, &overrides).expect_err(&path.display().to_string());
        assert!(!problems.is_empty(), "{}: refused without a word", path.display());
        assert_golden(&path.with_extension("txt"), &lines(&problems));
    }
}

#[test]
fn every_example_is_right_and_gives_no_warning() {
    let files = toml_files("examples/configs");
    assert_eq!(files.len(), 6);
    for path in files {
        let loaded = load(&path, &in_box()).unwrap_or_else(|problems| panic!("{}", lines(&problems)));
        assert_eq!(lines(&loaded.warnings), "", "{}", path.display());
    }
}

#[test]
fn a_manifest_of_the_system_has_paths_that_mean_the_same_from_everywhere() {
    let text = fs::read_to_string("examples/configs/devnet.toml").unwrap() + "\n";
    let text = text.replace("dir = \"seald-devnet\"", "dir = \"seald-devnet\"\nurl = \"sqlite:a.db\"");
    let read = |path: &str| parse(&[File { path: path.into(), text: text.clone() }], &in_box());
    read("seald.toml").unwrap();
    let told = lines(&read("/etc/seald.toml").unwrap_err());
    assert_eq!(told.matches("is a path from the folder that seald happens to be started in").count(), 3, "{told}");
    assert!(told.contains("state.dir") && told.contains("/srv/seald-devnet/repo"), "{told}");
    let set = Overrides { set: vec!["state.dir=here".to_owned()], ..in_box() };
    let told = lines(&parse(&[File { path: "/etc/seald.toml".into(), text }], &set).unwrap_err());
    assert!(!told.contains("state.dir"), "one who types a path knows where: {told}");
}

#[test]
fn the_devnet_example_reads_as_declared() {
    let Manifest { files, miner, chain, state, repos, slots, pledge, node, params, .. } =
        load(Path::new("examples/configs/devnet.toml"), &in_box()).unwrap().manifest;
    assert_eq!(files, [PathBuf::from("/box/examples/configs/devnet.toml")]);
    assert_eq!(miner.identity, Identity::Create { owner: Account::Default, worker: Account::Default });
    assert_eq!(chain, Chain { source: ChainSource::Devnet, message_confidence: 1, seed_confidence: 1 });
    assert_eq!(state.url.as_str(), "sqlite:/box/seald-devnet/seald.db");
    let repo = repos.values().next().unwrap();
    assert_eq!((repo.path.as_path(), repo.seal, repo.store), (Path::new("/box/seald-devnet/repo"), true, true));
    assert_eq!(slots.values().map(|slot| slot.tasks.len()).collect::<Vec<_>>(), [4, 3]);
    assert_eq!(pledge, Pledge { sectors: 2, max_in_flight: 16, lifetime_epochs: 540 * 2880 });
    assert_eq!((node, params.dir.as_path()), (None, Path::new("/var/tmp/filecoin-proof-parameters")));
}

#[test]
fn no_wrong_value_is_let_through_in_silence() {
    // whatever replaces or removes a value of a right manifest: either it is right too, or something is said about it
    let path = Path::new("examples/configs/mainnet.toml");
    let loaded = load(path, &in_box()).unwrap();
    for key in loaded.provenance.keys() {
        for value in ["true", "-1", "'x y'", "[[]]", "{ x = 1 }", "99999999999999999999"] {
            let overrides = Overrides { set: vec![format!("{key}={value}")], ..in_box() };
            if let Err(problems) = load(path, &overrides) {
                let said = lines(&problems);
                assert!(said.contains(key.as_str()), "{key} = {value}: {said}");
            }
        }
    }
    let text = fs::read_to_string(path).unwrap();
    for line in text.lines().filter(|line| line.contains('=') || line.starts_with('[')) {
        if let Err(problems) = parse_text(&text.replacen(line, "", 1), &in_box()) {
            assert!(!problems.is_empty(), "without {line}");
        }
    }
}

#[test]
fn a_higher_layer_wins_and_is_named() {
    let main = "[miner]\nsector_size = '2KiB'\nactor = 'f01000'\n[chain]\ndevnet = true\n\
                [pledge]\nsectors = 0\nmax_in_flight = 1\n[params]\nmirror = 'http://a'\n";
    let files = [
        File { path: "seald.toml".into(), text: main.to_owned() },
        File { path: "seald.d/10.toml".into(), text: "pledge.max_in_flight = 2\nchain.seed_confidence = 7".to_owned() },
    ];
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let overrides = Overrides {
        variables: vec![
            variable("SEALD_CHAIN__SEED_CONFIDENCE", "8"),
            variable("SEALD_BATCH__COMMIT__WAIT", "5m"),
            variable("FIL_PROOFS_PARAMETER_CACHE", "/srv/params"),
        ],
        set: vec!["batch.commit.wait=10m".to_owned(), "batch.commit.wait=\"15m\"".to_owned()],
        cwd: PathBuf::from("/box"),
    };
    let Loaded { manifest, provenance, .. } = parse(&files, &overrides).unwrap();
    assert_eq!(manifest.chain.seed_confidence, 8);
    assert_eq!(manifest.batch.commit.wait.as_secs(), 900);
    assert_eq!(manifest.params.dir, Path::new("/srv/params"));
    let shown: String =
        provenance.iter().map(|(key, set)| format!("{key} = {} ({})\n", set.value, set.origin)).collect();
    assert_golden(Path::new("tests/fixtures/provenance.txt"), &shown);
}

#[test]
fn drop_ins_are_read_in_name_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seald.toml");
    fs::copy("examples/configs/devnet.toml", &path).unwrap();
    fs::create_dir(folder.path().join("seald.d")).unwrap();
    for (name, sectors) in [("20.toml", 20), ("10.toml", 10), ("30.toml.off", 30)] {
        fs::write(folder.path().join("seald.d").join(name), format!("pledge.sectors = {sectors}")).unwrap();
    }
    let manifest = load(&path, &in_box()).unwrap().manifest;
    assert_eq!(manifest.pledge.sectors, 20);
    assert_eq!(manifest.files.len(), 3);
    assert!(load(&folder.path().join("absent.toml"), &in_box()).is_err());
}

#[test]
fn declared_power_is_rounded_up_with_a_warning() {
    let text = "[miner]\nsector_size = '32GiB'\nactor = 'f01000'\n[chain]\ndevnet = true\n[repo.a]\npath = 'a'\n\
                roles = ['seal', 'store']\n[slot.a]\ntasks = ['precommit1', 'precommit2', 'commit', 'windowpost']\n\
                [pledge]\npower = '100GiB'\n";
    let loaded = parse_text(text, &in_box()).unwrap();
    assert_eq!(loaded.manifest.pledge.sectors, 4);
    let slot = loaded.manifest.slots.values().next().unwrap();
    assert!(slot.tasks.contains(&Task::Finalize), "nobody else is named for it");
    assert_eq!(
        lines(&loaded.warnings),
        "seald.toml:10:48: slot.a.tasks[3]: \"windowpost\" is accepted but not run by this version\n\
         seald.toml:12:9: pledge.power: \"100GiB\" is not a multiple of 32GiB: rounded up to 4 sectors\n"
    );
}

#[test]
fn a_password_is_never_shown() {
    let secret = "postgres://seald:s3/cr@et@10.0.0.1/seald";
    let url = DatabaseUrl::parse(secret, Path::new("/")).unwrap();
    assert_eq!(format!("{url} {url:?}"), "postgres://***@10.0.0.1/seald DatabaseUrl(postgres://***@10.0.0.1/seald)");
    assert_eq!(url.as_str(), secret);
    for (written, shown) in [
        ("http://10.0.0.1/rpc?a=1&token=abc", "http://10.0.0.1/rpc?a=***&token=***"),
        ("https://node/rpc?api_key=SECRET", "https://node/rpc?api_key=***"),
        ("https://node/rpc?SECRET&apikey=SECRET=", "https://node/rpc?***&apikey=***"),
        ("https://node/rpc?access_token=SE@CRET", "https://***"),
        ("postgres://seald:se?c@ret@node/seald", "postgres://***"),
        ("https://node/rpc#SECRET", "https://node/rpc?***"),
        ("https://TOKEN@node/rpc", "https://***@node/rpc"),
        ("wss://TOKEN@node:1/rpc?key=x", "wss://***@node:1/rpc?key=***"),
        ("http://10.0.0.1:1234/rpc/v1", "http://10.0.0.1:1234/rpc/v1"),
        ("/ip4/10.0.0.1/tcp/1234/http", "/ip4/10.0.0.1/tcp/1234/http"),
    ] {
        assert_eq!(values::redact(written), shown);
    }
    for wrong in ["", "sqlite:", "sqlite::memory:", "postgres://", "/var/lib/seald.db"] {
        assert!(DatabaseUrl::parse(wrong, Path::new("/")).is_err(), "{wrong}");
    }
    assert_eq!(DatabaseUrl::parse("sqlite:x.db", Path::new("/a")).unwrap().as_str(), "sqlite:/a/x.db");
}

#[test]
fn values_need_their_units() {
    let seconds = |text: &str| values::parse_duration(text).map(|d| d.as_secs()).ok();
    assert_eq!(seconds("1h 30m"), Some(5400));
    assert_eq!((seconds("540d"), seconds("0s")), (Some(46_656_000), Some(0)));
    assert_eq!(
        (seconds("5"), seconds(""), seconds("1.5h"), seconds("h"), seconds("99999999999999999d")),
        (None, None, None, None, None)
    );
    let atto = |text: &str| values::parse_amount(text).map(crate::units::AttoFil::as_atto).ok();
    assert_eq!((atto("0.1 nanoFIL"), atto("100 attoFIL"), atto("7 aFIL")), (Some(100_000_000), Some(100), Some(7)));
    assert_eq!(atto("0.5 FIL"), Some(500_000_000_000_000_000));
    assert_eq!((atto("0.5"), atto("-1 FIL"), atto("0.0000000001 nanoFIL"), atto("-1 aFIL")), (None, None, None, None));
    let cpus = |text: &str| text.parse::<CpuSet>().map(|set| set.to_string()).ok();
    assert_eq!(cpus("3,0-2, 8").as_deref(), Some("0-3,8"));
    assert_eq!((cpus(""), cpus("3-1"), cpus("0-99999999")), (None, None, None));
}

#[test]
fn an_address_is_checked_by_its_checksum() {
    assert!(values::parse_address("f1abjxfbp274xpdqcpuaykwkfb43omjotacm2p3za").is_ok());
    assert!(values::parse_address("f1abjxfbp274xpdqcpuaykwkfb43omjotacm2p3zb").is_err());
    assert!(values::parse_address("t01000").is_ok());
    assert!(values::parse_address("f2plku564ddywnmb5b2ky7dhk4mb6uacsxuuev3pi").is_err());
}

#[test]
fn the_schema_for_editors_is_current() {
    let text = format!("{:#}\n", schema());
    assert_golden(Path::new("examples/configs/seald.schema.json"), &text);
}
