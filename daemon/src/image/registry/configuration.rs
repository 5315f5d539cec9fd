//! `registries.conf`, version 2 (containers-registries.conf(5)): where the images of a prefix really come from.
//!
//! Owns: what each key means, and which are refused. A key that would change where an image comes from is never
//! passed over. Never: opens a socket.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{
    error::RegistryError,
    limits::{FILE_MAX, FILES_MAX},
};

/// The rules of all files.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    pub(super) rules: Vec<Rule>,
    /// Short names that a file leads elsewhere, and that file.
    pub(super) aliases: BTreeMap<String, PathBuf>,
    /// Where short names are looked for, and the file that says so.
    pub(super) search: Option<(Vec<String>, PathBuf)>,
}

/// One `[[registry]]`.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// Beginning of the names it is for: `host`, `host/path`, or `*.domain`.
    pub(super) prefix: String,
    /// What stands in the prefix's place. Empty: the prefix itself.
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) blocked: bool,
    pub(super) mirrors: Vec<Mirror>,
    pub(super) file: PathBuf,
}

/// One `[[registry.mirror]]`.
#[derive(Debug, Clone)]
pub(super) struct Mirror {
    pub(super) location: String,
    pub(super) insecure: bool,
}

impl Configuration {
    /// Reads `file` and the `*.conf` files of `file.d`, by name. What is not there says nothing. Blocking.
    pub(super) fn read(file: &Path) -> Result<Self, RegistryError> {
        let mut all = Self::default();
        let mut folder = file.as_os_str().to_owned();
        folder.push(".d");
        let drop_ins = names(Path::new(&folder), "conf")?;
        for path in std::iter::once(file.to_owned()).chain(drop_ins) {
            let Some(text) = bounded(&path)? else { continue };
            all.add(&path, &text)?;
        }
        Ok(all)
    }

    fn add(&mut self, file: &Path, text: &str) -> Result<(), RegistryError> {
        let wrong = |why: String| RegistryError::Configuration { file: file.to_owned(), why };
        let table: Table = text.parse().map_err(|e: toml::de::Error| wrong(e.to_string()))?;
        for (key, value) in table {
            match (key.as_str(), value) {
                ("registry", Value::Array(list)) => {
                    for entry in list {
                        let rule = rule(file, entry).map_err(wrong)?;
                        // A later file's rule for a prefix takes an earlier one's place.
                        self.rules.retain(|there| there.prefix != rule.prefix || there.file == rule.file);
                        self.rules.push(rule);
                    }
                }
                ("unqualified-search-registries", Value::Array(list)) => {
                    let names = list.iter().map(|name| name.as_str().map(str::to_owned));
                    let names = names.collect::<Option<Vec<_>>>().ok_or_else(|| wrong(no_list(&key)))?;
                    self.search = Some((names, file.to_owned()));
                }
                ("aliases", Value::Table(aliases)) => {
                    self.aliases.extend(aliases.into_iter().map(|(name, _)| (name, file.to_owned())));
                }
                // It rules how an ambiguous name is asked about; here none is ambiguous.
                ("short-name-mode", Value::String(_)) => {}
                ("registries", _) => {
                    return Err(wrong(
                        "[registries] is version 1 of this file; write [[registry]]".to_owned(),
                    ));
                }
                ("credential-helpers" | "additional-layer-store-auth-helper", _) => {
                    return Err(wrong(format!("{key} is not supported yet; remove it")));
                }
                _ => return Err(wrong(format!("{key} is no key of this file, or has a wrong value"))),
            }
        }
        Ok(())
    }

    /// The rule of the longest prefix that this repository, `host/path`, begins with.
    pub(super) fn rule(&self, repository: &str) -> Option<&Rule> {
        let fitting = self.rules.iter().filter(|rule| matched(&rule.prefix, repository).is_some());
        fitting.max_by_key(|rule| rule.prefix.len())
    }

    /// Refuses a name without a registry that these files would lead elsewhere than to `docker.io`.
    pub(super) fn check_short(&self, name: &str) -> Result<(), RegistryError> {
        let wrong = |file: &PathBuf, why| RegistryError::Configuration { file: file.clone(), why };
        if let Some(file) = self.aliases.get(name) {
            let why =
                format!("aliases leads the short name {name:?} elsewhere; write the image's whole name");
            return Err(wrong(file, why));
        }
        match &self.search {
            Some((names, file)) if !names.is_empty() && *names != ["docker.io"] => {
                let why = format!(
                    "unqualified-search-registries is more than docker.io; write the whole name of {name:?}"
                );
                Err(wrong(file, why))
            }
            _ => Ok(()),
        }
    }
}

/// What of `repository` follows the prefix; `None`: it does not begin with it. A wildcard takes the whole host.
pub(super) fn matched<'a>(prefix: &str, repository: &'a str) -> Option<&'a str> {
    if let Some(domain) = prefix.strip_prefix("*.") {
        let host = repository.split('/').next().unwrap_or_default();
        let bare = host.split(':').next().unwrap_or_default();
        let below = bare.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
        return below.then(|| &repository[host.len()..]);
    }
    let rest = repository.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn rule(file: &Path, entry: Value) -> Result<Rule, String> {
    let Value::Table(table) = entry else { return Err("registry is no table".to_owned()) };
    let mut rule = Rule {
        prefix: String::new(),
        location: String::new(),
        insecure: false,
        blocked: false,
        mirrors: Vec::new(),
        file: file.to_owned(),
    };
    for (key, value) in table {
        match (key.as_str(), value) {
            ("prefix", Value::String(text)) => rule.prefix = text.trim_end_matches('/').to_owned(),
            ("location", Value::String(text)) => rule.location = text.trim_end_matches('/').to_owned(),
            ("insecure", Value::Boolean(is)) => rule.insecure = is,
            ("blocked", Value::Boolean(is)) => rule.blocked = is,
            ("mirror", Value::Array(list)) => {
                rule.mirrors = list.into_iter().map(mirror).collect::<Result<_, _>>()?;
            }
            ("mirror-by-digest-only", _) => return Err(format!("registry.{key} is not supported yet")),
            _ => return Err(format!("registry.{key} is no key of this file, or has a wrong value")),
        }
    }
    if rule.prefix.is_empty() {
        rule.prefix.clone_from(&rule.location);
    }
    if rule.prefix.is_empty() {
        return Err("a registry has neither prefix nor location".to_owned());
    }
    if rule.prefix.starts_with("*.") && rule.prefix.contains('/') {
        return Err(format!("registry.prefix {:?}: a wildcard stands for a host only", rule.prefix));
    }
    check_place("registry.location", &rule.location)?;
    Ok(rule)
}

fn mirror(entry: Value) -> Result<Mirror, String> {
    let Value::Table(table) = entry else { return Err("registry.mirror is no table".to_owned()) };
    let mut mirror = Mirror { location: String::new(), insecure: false };
    for (key, value) in table {
        match (key.as_str(), value) {
            ("location", Value::String(text)) => mirror.location = text.trim_end_matches('/').to_owned(),
            ("insecure", Value::Boolean(is)) => mirror.insecure = is,
            ("pull-from-mirror", _) => return Err(format!("registry.mirror.{key} is not supported yet")),
            _ => return Err(format!("registry.mirror.{key} is no key of this file, or has a wrong value")),
        }
    }
    if mirror.location.is_empty() {
        return Err("a registry.mirror has no location".to_owned());
    }
    check_place("registry.mirror.location", &mirror.location)?;
    Ok(mirror)
}

/// A location becomes part of addresses: a host with or without port and path, and nothing else.
fn check_place(key: &str, place: &str) -> Result<(), String> {
    let good =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'/' | b'[' | b']');
    if place.bytes().all(good) && !place.contains("//") && !place.starts_with('/') {
        return Ok(());
    }
    Err(format!("{key} {place:?} must be a host with or without a port and a path, without https://"))
}

fn no_list(key: &str) -> String {
    format!("{key} is no list of names")
}

/// Files of a folder with this ending, by name; none where there is no folder.
pub(super) fn names(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, RegistryError> {
    let failed = |source| RegistryError::File { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut found = Vec::new();
    for entry in entries.take(FILES_MAX) {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A small text file; `None`: not there.
pub(super) fn bounded(path: &Path) -> Result<Option<String>, RegistryError> {
    let failed = |source| RegistryError::File { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let mut text = String::new();
    let read = file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if read as u64 > FILE_MAX {
        let why = format!("it is larger than {FILE_MAX} bytes");
        return Err(RegistryError::Configuration { file: path.to_owned(), why });
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Configuration, matched};

    fn read(text: &str) -> Result<Configuration, String> {
        let mut all = Configuration::default();
        all.add(Path::new("/r.conf"), text).map_err(|e| e.to_string())?;
        Ok(all)
    }

    #[test]
    fn the_longest_prefix_wins() {
        let text = "[[registry]]\nprefix='a.io'\nlocation='b.io'\n[[registry]]\nprefix='a.io/x'\nblocked=true\n\
            [[registry]]\nprefix='*.c.io'\n[[registry.mirror]]\nlocation='m:5000/p'\ninsecure=true\n";
        let all = read(text).unwrap();
        assert_eq!(all.rule("a.io/y").unwrap().location, "b.io");
        assert!(all.rule("a.io/x/z").unwrap().blocked && !all.rule("a.io/xy").unwrap().blocked);
        assert_eq!(all.rule("x.y.c.io:5000/p").unwrap().mirrors[0].location, "m:5000/p");
        assert!(
            all.rule("c.io/p").is_none() && all.rule("xc.io/p").is_none() && all.rule("a.iox/p").is_none()
        );
        assert_eq!(matched("*.c.io", "x.c.io/p/q"), Some("/p/q"));
    }

    #[test]
    fn keys_that_are_not_there_are_refused_by_name() {
        for (text, word) in [
            ("[registries.search]\nregistries=['a']", "version 1"),
            ("credential-helpers=['x']", "credential-helpers"),
            ("unknown=1", "unknown"),
            ("[[registry]]\nprefix='a'\nmirror-by-digest-only=true", "mirror-by-digest-only"),
            (
                "[[registry]]\nprefix='a'\n[[registry.mirror]]\nlocation='b'\npull-from-mirror='all'",
                "pull-from-mirror",
            ),
            ("[[registry]]\nprefix='a'\n[[registry.mirror]]\ninsecure=true", "no location"),
            ("[[registry]]\nlocation='https://a'", "https"),
            ("[[registry]]\ninsecure=true", "neither"),
            ("[[registry]]\nprefix='a'\ninsecure='yes'", "insecure"),
            ("[[", "TOML"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(word) && why.contains("/r.conf"), "{text}: {why}");
        }
    }

    #[test]
    fn short_names_that_would_lead_elsewhere_are_refused() {
        let all = read("short-name-mode='enforcing'\n[aliases]\n'fedora'='r.org/fedora'").unwrap();
        assert!(all.check_short("busybox").is_ok());
        assert!(all.check_short("fedora").unwrap_err().to_string().contains("aliases"));
        assert!(read("unqualified-search-registries=['docker.io']").unwrap().check_short("x").is_ok());
        assert!(read("unqualified-search-registries=['q.io']").unwrap().check_short("x").is_err());
    }
}
