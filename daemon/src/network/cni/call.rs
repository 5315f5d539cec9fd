//! A call of one plugin: what it is given, and what its end means.
//!
//! Owns: the environment and the standard input of a plugin (CNI specification, sections 2 and 3). Never: the order of
//! a chain.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::{Map, Value};

use super::{
    capabilities,
    conflist::{Conflist, Plugin},
};
use crate::network::{
    NetworkError,
    program::{Ended, PATH, Program, one_line},
};
use crate::operations;

/// Name of a pod's link inside.
pub(super) const LINK: &str = "eth0";

/// Length of a plugin's words that are shown.
const SHOWN_MAX: usize = 1000;

/// What a plugin is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Add,
    Del,
    Check,
    Status,
    Gc,
}

impl Command {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Status => "STATUS",
            Self::Gc => "GC",
        }
    }
}

/// Whom a call is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// The sandbox's id.
    pub(super) id: &'a str,
    /// The pin; empty: it is gone.
    pub(super) netns: &'a str,
    /// For CNI_ARGS.
    pub(super) args: &'a str,
    /// Arguments of all capabilities.
    pub(super) arguments: &'a Map<String, Value>,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) folders: &'a [PathBuf],
    pub(super) list: &'a Conflist,
    pub(super) plugin: &'a Plugin,
    pub(super) command: Command,
    pub(super) target: Option<Target<'a>>,
    pub(super) previous: Option<&'a Value>,
    /// More keys of its configuration.
    pub(super) more: &'a Map<String, Value>,
    /// Of the whole chain.
    pub(super) deadline: Instant,
}

/// The program of a plugin, in the first folder that has it.
pub(super) fn find(folders: &[PathBuf], kind: &str) -> Option<PathBuf> {
    let is_program = |path: &Path| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    folders.iter().map(|folder| folder.join(kind)).find(|path| is_program(path))
}

/// Folders for people, or for CNI_PATH.
pub(super) fn listed(folders: &[PathBuf], between: &str) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(between)
}

impl Call<'_> {
    /// Runs it. What it prints, where it ended well.
    pub(super) async fn run(&self) -> Result<Vec<u8>, NetworkError> {
        let path = find(self.folders, &self.plugin.kind).ok_or_else(|| {
            self.failed(format!("there is no such program in {}; install it", listed(self.folders, ", ")))
        })?;
        let input = serde_json::to_vec(&self.input()).map_err(|e| self.failed(e.to_string()))?;
        let program = Program {
            path: &path,
            args: &[],
            environment: self.environment(),
            input: &input,
            deadline: self.deadline.saturating_duration_since(Instant::now()),
        };
        let _waiting = operations::waiting(|| {
            let (plugin, command) = (&self.plugin.kind, self.command.name());
            format!("CNI plugin {plugin} ({command}, network {})", self.list.name)
        });
        match program.run().await {
            Ok(ended) if ended.success => Ok(ended.output),
            Ok(ended) => Err(self.failed(words(&ended))),
            Err(what) => Err(self.failed(what)),
        }
    }

    /// A failure of this call.
    pub(super) fn failed(&self, message: String) -> NetworkError {
        NetworkError::Plugin {
            plugin: self.plugin.kind.clone(),
            command: self.command.name(),
            network: self.list.name.clone(),
            message,
        }
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("PATH", PATH.to_owned()),
            ("CNI_COMMAND", self.command.name().to_owned()),
            ("CNI_PATH", listed(self.folders, ":")),
        ];
        if let Some(target) = self.target {
            environment.extend([
                ("CNI_CONTAINERID", target.id.to_owned()),
                ("CNI_NETNS", target.netns.to_owned()),
                ("CNI_IFNAME", LINK.to_owned()),
                ("CNI_ARGS", target.args.to_owned()),
            ]);
        }
        environment
    }

    /// The plugin's configuration with what a runtime adds to it.
    fn input(&self) -> Value {
        let mut input = self.plugin.config.clone();
        input.remove("capabilities");
        input.insert("name".into(), self.list.name.clone().into());
        input.insert("cniVersion".into(), self.list.version.into());
        if let Some(previous) = self.previous {
            input.insert("prevResult".into(), previous.clone());
        }
        let wanted = self.target.map(|target| capabilities::wanted(self.plugin, target.arguments));
        if let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) {
            input.insert("runtimeConfig".into(), wanted.into());
        }
        input.extend(self.more.clone());
        Value::Object(input)
    }
}

/// Why it failed, in its own words where it has any: an error as JSON on stdout, else stderr.
fn words(ended: &Ended) -> String {
    let said: Option<Value> = serde_json::from_slice(&ended.output).ok();
    let text = |key: &str| said.as_ref()?.get(key)?.as_str().map(str::to_owned);
    let told = [text("msg"), text("details")].into_iter().flatten().filter(|text| !text.is_empty());
    let mut told = told.collect::<Vec<_>>().join("; ");
    if let Some(code) = said.as_ref().and_then(|said| said.get("code")?.as_u64()) {
        told = format!("{told} (code {code})");
    }
    if told.is_empty() {
        told = if ended.errors.is_empty() { "it said nothing".to_owned() } else { ended.errors.clone() };
    }
    let told: String = told.chars().take(SHOWN_MAX).collect();
    format!("{}: {}", ended.how, one_line(&told))
}
