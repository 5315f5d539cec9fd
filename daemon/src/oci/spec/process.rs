//! The spec's `process`: what is run, where, as whom, with what environment and rights.
//!
//! Never: looks into the image's files; the user comes resolved.

use serde_json::{Value, json};

use super::{ImageDefaults, SpecError, SpecInputs, capabilities::Granted};
use crate::container::ContainerConfig;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Home of a user that has none in the image.
const DEFAULT_HOME: &str = "/";

pub(super) fn process(inputs: &SpecInputs<'_>, capabilities: &Granted) -> Result<Value, SpecError> {
    let config = &inputs.container.config;
    let user = &inputs.found.user;
    let mut process = json!({
        "terminal": config.tty,
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.groups },
        "args": args(config, inputs.image)?,
        "env": env(inputs),
        "cwd": working_dir(config, inputs.image),
        "capabilities": {
            "bounding": capabilities.all,
            "effective": capabilities.all,
            "permitted": capabilities.all,
        },
        "noNewPrivileges": config.security.no_new_privs,
        // A host that refuses less than its own gets its own: the kubelet asks for -997 and worse.
        "oomScoreAdj": config.resources.oom_score_adj.max(inputs.host.least_oom_score_adj),
    });
    if !capabilities.ambient.is_empty() {
        process["capabilities"]["inheritable"] = json!(capabilities.ambient);
        process["capabilities"]["ambient"] = json!(capabilities.ambient);
    }
    Ok(process)
}

/// The request's command replaces the image's entry point and its arguments; its args only the arguments.
fn args(config: &ContainerConfig, image: &ImageDefaults) -> Result<Vec<String>, SpecError> {
    let (mut all, rest) = match (config.command.is_empty(), config.args.is_empty()) {
        (false, _) => (config.command.clone(), &config.args),
        (true, false) => (image.entrypoint.clone(), &config.args),
        (true, true) => (image.entrypoint.clone(), &image.cmd),
    };
    all.extend(rest.iter().cloned());
    if all.first().is_none_or(String::is_empty) { Err(SpecError::NoCommand) } else { Ok(all) }
}

/// The image's variables, then the request's over them, each name once, in order of appearance.
fn env(inputs: &SpecInputs<'_>) -> Vec<String> {
    let mut all: Vec<String> = vec![DEFAULT_PATH.to_owned()];
    if inputs.container.config.tty {
        all.push("TERM=xterm".to_owned());
    }
    all.push(format!("HOSTNAME={}", inputs.found.hostname));
    // A program with another user than root must not look for its files in root's home.
    all.push(format!("HOME={}", inputs.found.user.home.as_deref().unwrap_or(DEFAULT_HOME)));
    let given = inputs.container.config.envs.iter().map(|(name, value)| format!("{name}={value}"));
    for entry in inputs.image.env.iter().cloned().chain(given) {
        let name = entry.split('=').next().unwrap_or_default();
        match all.iter_mut().find(|old| old.split('=').next() == Some(name)) {
            Some(old) => *old = entry,
            None => all.push(entry),
        }
    }
    all
}

fn working_dir<'a>(config: &'a ContainerConfig, image: &'a ImageDefaults) -> &'a str {
    [config.working_dir.as_str(), image.working_dir.as_str()]
        .into_iter()
        .find(|dir| !dir.is_empty())
        .unwrap_or("/")
}
