//! Gathers settings from files, drop-ins, environment and flags, in that order; later wins.
//!
//! Owns: the order of sources, TOML. Never: what a value means, but for which keys there are.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{
    ConfigError, Settings, Source,
    keys::{SCALARS, is_known},
};

/// The file that is read where no flag names one.
pub(super) const DEFAULT_FILE: &str = "/etc/taffrail/config.toml";
/// The folder of drop-ins that is read where no flag names one.
pub(super) const DEFAULT_DIR: &str = "/etc/taffrail/config.d";

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// `--config`: must be there when named.
    pub file: Option<PathBuf>,
    /// `--config-dir`: must be there when named.
    pub dir: Option<PathBuf>,
    /// `--set key=value`.
    pub sets: Vec<String>,
    /// Flags of their own, as (flag, key, value).
    pub flags: Vec<(&'static str, &'static str, String)>,
    /// The environment, as (name, value).
    pub environment: Vec<(String, String)>,
}

/// Reads every source.
pub fn gather(inputs: &Inputs) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    match &inputs.file {
        Some(path) => file(&mut settings, path)?,
        None if Path::new(DEFAULT_FILE).exists() => file(&mut settings, Path::new(DEFAULT_FILE))?,
        None => {}
    }
    for path in drop_ins(inputs)? {
        file(&mut settings, &path)?;
    }
    for key in SCALARS {
        let name = format!("TAFFRAIL_{}", key.replace('.', "_").to_uppercase());
        if let Some((_, value)) = inputs.environment.iter().find(|(n, _)| *n == name) {
            settings.set(key, value, Source::Environment(name));
        }
    }
    for set in &inputs.sets {
        let at = format!("--set {set}");
        let Some((key, value)) = set.split_once('=') else {
            return Err(ConfigError::Bad { at, message: "is not of the form key=value".into() });
        };
        if !is_known(key) {
            return Err(ConfigError::Bad { at, message: unknown(key) });
        }
        settings.set(key, value.trim_matches('"'), Source::Flag(at));
    }
    for (flag, key, value) in &inputs.flags {
        settings.set(key, value, Source::Flag((*flag).to_owned()));
    }
    Ok(settings)
}

fn unknown(key: &str) -> String {
    format!("there is no key {key:?}; the keys are {}, runtimes.NAME.{{path,root,kind}}", SCALARS.join(", "))
}

fn drop_ins(inputs: &Inputs) -> Result<Vec<PathBuf>, ConfigError> {
    let dir = inputs.dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DIR));
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound && inputs.dir.is_none() => return Ok(Vec::new()),
        Err(error) => return Err(ConfigError::Read { path: dir, error }),
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    paths.sort();
    Ok(paths)
}

fn file(settings: &mut Settings, path: &Path) -> Result<(), ConfigError> {
    let text =
        fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
    let line = |at: usize| text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
    let table = DeTable::parse(&text).map_err(|e| ConfigError::Bad {
        at: format!("{}:{}", path.display(), e.span().map_or(1, |span| line(span.start))),
        message: format!("is no TOML: {}", e.message()),
    })?;
    flatten(settings, table.get_ref(), "", &|offset| Source::File(path.to_owned(), line(offset)))
}

fn flatten(
    settings: &mut Settings,
    table: &DeTable<'_>,
    prefix: &str,
    source: &dyn Fn(usize) -> Source,
) -> Result<(), ConfigError> {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        let source_here = source(name.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => flatten(settings, inner, &format!("{key}."), source)?,
            DeValue::String(text) if is_known(&key) => settings.set(&key, text.as_ref(), source_here),
            _ => {
                let message =
                    if is_known(&key) { "must be a text in quotes".to_owned() } else { unknown(&key) };
                return Err(ConfigError::Bad { at: format!("{source_here}:{key}"), message });
            }
        }
    }
    Ok(())
}
