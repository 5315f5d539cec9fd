//! The configuration's promises: precedence, sources, and errors that name file, line and key.

use std::{fs, path::Path};

use super::{Config, Inputs};

fn inputs(dir: &Path, text: &str) -> Inputs {
    let file = dir.join("config.toml");
    fs::File::create(&file).and_then(|mut f| std::io::Write::write_all(&mut f, text.as_bytes())).unwrap();
    let drop_ins = dir.join("config.d");
    fs::create_dir_all(&drop_ins).unwrap();
    Inputs { file: Some(file), dir: Some(drop_ins), ..Inputs::default() }
}

fn error(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    Config::load(&inputs(dir.path(), text)).unwrap_err().to_string()
}

#[test]
fn later_sources_win_and_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut inputs = inputs(dir.path(), "log_level = \"warn\"\ninstance = \"one\"\nroot = \"/r\"\n");
    inputs.environment = vec![("TAFFRAIL_INSTANCE".into(), "two".into())];
    inputs.sets = vec!["log.target=stderr".into(), "instance=three".into()];
    inputs.flags = vec![("--root", "root", "/flag".into())];
    let (config, settings) = Config::load(&inputs).unwrap();
    assert_eq!((config.log_level.as_str(), config.instance.as_str()), ("warn", "three"));
    assert_eq!(config.root, Path::new("/flag"));
    assert!(settings.get("log_level").unwrap().source.to_string().ends_with("config.toml:1"));
    assert_eq!(settings.get("root").unwrap().source.to_string(), "--root");
}

#[test]
fn an_instance_is_derived_from_other_folders() {
    let dir = tempfile::tempdir().unwrap();
    let (config, _) = Config::load(&inputs(dir.path(), "root = \"/elsewhere\"\n")).unwrap();
    assert!(config.instance.starts_with("taffrail-"), "{}", config.instance);
    let (config, _) = Config::load(&inputs(dir.path(), "")).unwrap();
    assert_eq!(config.instance, "taffrail");
}

#[test]
fn errors_name_file_line_and_key() {
    assert!(error("\nlog_levle = \"x\"\n").contains("config.toml:2:log_levle"));
    assert!(error("a = \n").contains("config.toml:1"));
    assert!(error("log_level = 3\n").contains("config.toml:1:log_level: must be a text"));
    assert!(error("\n\nlog_level = \"loud\"\n").contains("config.toml:3:log_level"));
    assert!(error("[runtimes.x]\npath = \"rel\"\n").contains("config.toml:2:runtimes.x.path"));
    assert!(error("default_runtime = \"none\"\n").contains("no runtime of this name"));
    assert!(error("[log]\ntarget = \"x\"\n").contains(":2:log.target"));
    assert!(error("instance = \"A/b\"\n").contains(":1:instance"));
}
