//! A network's configuration: which file it is, and what it says.
//!
//! Read anew at each use, so that a change is seen at once. Owns: the checks. Never: runs a plugin.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{network::program::one_line, store};

/// Versions of the specification that we speak, the best first.
const VERSIONS: [&str; 3] = ["1.1.0", "1.0.0", "0.4.0"];

/// Endings of files that are configurations.
const ENDINGS: [&str; 3] = ["conf", "conflist", "json"];

/// Most plugins of a chain: each is a process for every pod.
const PLUGINS_MAX: usize = 32;

/// Characters shown of a bad text.
const SHOWN_MAX: usize = 100;

/// A configuration that was read and can be used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conflist {
    /// Name of the network.
    pub(super) name: String,
    /// The version that is spoken with its plugins.
    pub(super) version: &'static str,
    /// In the order of ADD.
    pub(super) plugins: Vec<Plugin>,
    /// No CHECK.
    pub(super) disable_check: bool,
    /// No GC.
    pub(super) disable_gc: bool,
    /// As it was read: what a pod's record keeps.
    pub(super) raw: Value,
}

/// One plugin of a chain.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plugin {
    /// Name of its program.
    pub(super) kind: String,
    /// What the configuration says to it.
    pub(super) config: Map<String, Value>,
}

impl Plugin {
    /// Whether it wants to be told of this.
    pub(super) fn has_capability(&self, name: &str) -> bool {
        let wanted = self.config.get("capabilities").and_then(|list| list.get(name));
        wanted.and_then(Value::as_bool).unwrap_or(false)
    }

    /// Name of the program that gives it addresses, where it has one.
    pub(super) fn ipam(&self) -> Option<&str> {
        self.config.get("ipam")?.get("type")?.as_str().filter(|kind| !kind.is_empty())
    }
}

impl Conflist {
    /// Whether its version has the commands STATUS and GC.
    pub(super) fn has_status_and_gc(&self) -> bool {
        self.version == "1.1.0"
    }

    /// Reads one from JSON. An error is a sentence without the file's name.
    pub(super) fn parse(raw: Value) -> Result<Self, String> {
        let list = raw.as_object().ok_or("it is no JSON object")?;
        let name = text(list, "name").ok_or("name is missing")?;
        let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(good) {
            return Err(format!("name {:?} must be letters, digits, _, . or -", shown(name)));
        }
        let plugins = match list.get("plugins") {
            None => vec![plugin(&raw)?],
            Some(Value::Array(plugins)) if (1..=PLUGINS_MAX).contains(&plugins.len()) => {
                plugins.iter().map(plugin).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(format!("plugins is no list of 1 to {PLUGINS_MAX}")),
        };
        Ok(Self {
            name: name.to_owned(),
            version: version(list)?,
            plugins,
            disable_check: is_true(list, "disableCheck"),
            disable_gc: is_true(list, "disableGC"),
            raw,
        })
    }
}

/// The first configuration of a folder by name, as other runtimes choose it.
pub(super) fn first(folder: &Path) -> Option<PathBuf> {
    let names = store::names(folder).ok()?;
    let mut paths = names.iter().map(|name| folder.join(name)).filter(|path| {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        ENDINGS.contains(&ending) && path.is_file()
    });
    paths.next()
}

/// Reads a file. A bad first one is an error: the next would be another network.
pub(super) fn read(path: &Path) -> Result<Conflist, String> {
    let about = |what: String| format!("{}: {what}", path.display());
    let raw: Option<Value> = store::read_json(path).map_err(|e| about(e.to_string()))?;
    let raw = raw.ok_or_else(|| about("it went away".into()))?;
    Conflist::parse(raw).map_err(about)
}

fn plugin(value: &Value) -> Result<Plugin, String> {
    let config = value.as_object().ok_or("a plugin is no JSON object")?;
    let kind = text(config, "type").ok_or("a plugin's type is missing")?;
    check_kind(kind)?;
    let plugin = Plugin { kind: kind.to_owned(), config: config.clone() };
    plugin.ipam().map_or(Ok(()), check_kind)?;
    Ok(plugin)
}

/// The name of a program in a folder of plugins, and of nothing outside it (CVE-2021-20206).
fn check_kind(kind: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_graphic() && c != '/';
    if kind.is_empty() || kind.starts_with('.') || !kind.chars().all(good) {
        return Err(format!("type {:?} is no name of a program", shown(kind)));
    }
    Ok(())
}

/// The best version that both sides speak.
fn version(list: &Map<String, Value>) -> Result<&'static str, String> {
    let several = list.get("cniVersions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let offered: Vec<&str> = several.iter().chain(list.get("cniVersion")).filter_map(Value::as_str).collect();
    let found = VERSIONS.iter().find(|version| offered.contains(version)).copied();
    found.ok_or_else(|| {
        format!("cniVersion {:?} is none of {}", shown(&offered.join(", ")), VERSIONS.join(", "))
    })
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key).and_then(Value::as_str)
}

/// Some write a bool as a text.
fn is_true(map: &Map<String, Value>, key: &str) -> bool {
    match map.get(key) {
        Some(Value::Bool(value)) => *value,
        Some(Value::String(value)) => value == "true",
        _ => false,
    }
}

/// Enough of a bad text to know it by.
fn shown(text: &str) -> String {
    one_line(&text.chars().take(SHOWN_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Conflist;

    #[test]
    fn lists_and_single_plugins_are_read() {
        let list = json!({ "cniVersion": "0.4.0", "name": "pods", "disableCheck": "true", "plugins": [
            { "type": "bridge", "ipam": { "type": "host-local" } },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ] });
        let list = Conflist::parse(list).unwrap();
        assert_eq!((list.name.as_str(), list.version, list.plugins.len()), ("pods", "0.4.0", 2));
        assert!(list.disable_check && !list.has_status_and_gc());
        assert_eq!(list.plugins[0].ipam(), Some("host-local"));
        assert!(list.plugins[1].has_capability("portMappings") && !list.plugins[1].has_capability("dns"));
        let single = json!({ "cniVersions": ["0.3.1", "1.1.0", "1.0.0"], "name": "one", "type": "ptp" });
        let single = Conflist::parse(single).unwrap();
        assert_eq!((single.version, single.plugins[0].kind.as_str()), ("1.1.0", "ptp"));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let good = json!({ "cniVersion": "1.0.0", "name": "n", "plugins": [{ "type": "t" }] });
        assert!(Conflist::parse(good.clone()).is_ok());
        for (key, value) in [
            ("name", json!("")),
            ("name", json!("../x")),
            ("name", json!(7)),
            ("cniVersion", json!("0.2.0")),
            ("cniVersion", json!(null)),
            ("plugins", json!([])),
            ("plugins", json!({})),
            ("plugins", json!([{ "type": "../../bin/sh" }])),
            ("plugins", json!([{ "type": "" }])),
            ("plugins", json!([{ "type": ".." }])),
            ("plugins", json!([{ "type": "a\u{0}b" }])),
            ("plugins", json!([{ "type": "t", "ipam": { "type": "a/b" } }])),
            ("plugins", json!(vec![json!({ "type": "t" }); 33])),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            assert!(Conflist::parse(bad.clone()).is_err(), "{bad}");
        }
        assert!(Conflist::parse(json!([])).is_err());
    }
}
