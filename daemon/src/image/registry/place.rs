//! Where an image is looked for: the mirrors of its name in order, then the place itself.
//!
//! Owns: what `registries.conf` makes of a name. Never: opens a socket.

use std::net::IpAddr;

use super::{
    configuration::{Configuration, Rule, matched},
    error::RegistryError,
};
use crate::image::Reference;

/// The host that serves the images of `docker.io`.
const DOCKER_HOST: &str = "registry-1.docker.io";

/// One repository at one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Host, and port where one is written.
    pub(super) host: String,
    /// The repository's path at that host.
    pub(super) path: String,
    /// Plain HTTP and unknown certificates are taken.
    pub(super) insecure: bool,
    /// It is the host that the name says: the credentials that came with the name are for it.
    pub(super) own: bool,
}

impl Place {
    fn of(full: &str, insecure: bool, asked: &str) -> Self {
        let (host, path) = full.split_once('/').unwrap_or((full, ""));
        let own = host == asked;
        let host = if host == "docker.io" { DOCKER_HOST } else { host };
        Self { host: host.to_owned(), path: path.to_owned(), insecure, own }
    }

    /// Whether the host is this machine: its traffic crosses no wire.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(bare(&self.host))
    }
}

/// A host without its port and brackets.
pub(super) fn bare(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    }
}

/// Whether a host's name means this machine.
pub(super) fn is_loopback(name: &str) -> bool {
    let named = name == "localhost" || name.ends_with(".localhost");
    named || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether a name was written without its registry.
pub(super) fn is_short(name: &Reference, written: &str) -> bool {
    let asked = name.repository.split('/').next().unwrap_or_default();
    !written.starts_with(asked) && !written.starts_with("index.docker.io/")
}

/// Refuses a name without a registry that the configuration would lead elsewhere.
pub(super) fn check_short(
    configuration: &Configuration,
    name: &Reference,
    written: &str,
) -> Result<(), RegistryError> {
    if !is_short(name, written) {
        return Ok(());
    }
    configuration.check_short(written.split(['@', ':']).next().unwrap_or(written))
}

/// Every place that may have this image, in the order of asking. `written` is the name as the caller wrote it.
pub(super) fn places(
    configuration: &Configuration,
    name: &Reference,
    written: &str,
) -> Result<Vec<Place>, RegistryError> {
    let asked = name.repository.split('/').next().unwrap_or_default();
    check_short(configuration, name, written)?;
    let Some(rule) = configuration.rule(&name.repository) else {
        return Ok(vec![Place::of(&name.repository, false, asked)]);
    };
    if rule.blocked {
        return Err(RegistryError::Blocked { name: name.to_string(), file: rule.file.clone() });
    }
    let mirrors = rule.mirrors.iter().map(|mirror| (mirror.location.as_str(), mirror.insecure));
    let itself = (rule.location.as_str(), rule.insecure);
    let places = mirrors.chain([itself]).map(|(location, insecure)| {
        Ok(Place::of(&moved(rule, location, &name.repository)?, insecure, asked))
    });
    places.collect()
}

fn moved(rule: &Rule, location: &str, repository: &str) -> Result<String, RegistryError> {
    if location.is_empty() {
        return Ok(repository.to_owned());
    }
    let full = format!("{location}{}", matched(&rule.prefix, repository).unwrap_or_default());
    match full.split_once('/') {
        Some((_, path)) if !path.is_empty() => Ok(full),
        _ => {
            let why = format!("the location {location:?} leaves no repository of {repository:?}");
            Err(RegistryError::Configuration { file: rule.file.clone(), why })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Configuration, places};
    use crate::image::Reference;

    fn of(text: &str, name: &str) -> Vec<(String, String, bool, bool)> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r.conf");
        crate::store::replace(&file, text.as_bytes()).unwrap();
        let all = Configuration::read(&file).unwrap();
        let found = places(&all, &Reference::parse(name).unwrap(), name).unwrap();
        found.into_iter().map(|p| (p.host, p.path, p.insecure, p.own)).collect()
    }

    fn place(host: &str, path: &str, insecure: bool, own: bool) -> (String, String, bool, bool) {
        (host.to_owned(), path.to_owned(), insecure, own)
    }

    #[test]
    fn mirrors_come_first_and_are_not_the_host_that_was_asked() {
        let text = "[[registry]]\nprefix='a.io/x'\nlocation='b.io/y'\n[[registry.mirror]]\nlocation='m:1'\n\
            insecure=true\n[[registry.mirror]]\nlocation='a.io/cache'\n";
        let expected = [
            place("m:1", "z", true, false),
            place("a.io", "cache/z", false, true),
            place("b.io", "y/z", false, false),
        ];
        assert_eq!(of(text, "a.io/x/z:1"), expected);
        assert_eq!(of(text, "busybox"), [place("registry-1.docker.io", "library/busybox", false, true)]);
        let hub = "[[registry]]\nlocation='docker.io'\n[[registry.mirror]]\nlocation='127.0.0.1:5'\n";
        let expected = [
            place("127.0.0.1:5", "library/busybox", false, false),
            place("registry-1.docker.io", "library/busybox", false, true),
        ];
        assert_eq!(of(hub, "busybox"), expected);
    }
}
