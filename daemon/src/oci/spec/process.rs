//! The spec's `process`: what is run, where, as whom, with what environment and rights.
//!
//! Never: looks into the image's files; users by name are refused until that is safe.

use serde_json::{Value, json};

use super::{ImageDefaults, SpecError, SpecInputs, capabilities};
use crate::container::{ContainerConfig, Security, User};

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn process(inputs: &SpecInputs<'_>) -> Result<Value, SpecError> {
    let config = &inputs.container.config;
    let capabilities = capabilities::of(&config.security, inputs.host.capabilities)?;
    let user = &inputs.container.user;
    let mut process = json!({
        "terminal": config.tty,
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.additional_gids },
        "args": args(config, inputs.image)?,
        "env": env(inputs),
        "cwd": working_dir(config, inputs.image),
        "capabilities": {
            "bounding": capabilities,
            "effective": capabilities,
            "permitted": capabilities,
        },
        "noNewPrivileges": config.security.no_new_privs,
        // A host that refuses less than its own gets its own: the kubelet asks for -997 and worse.
        "oomScoreAdj": config.resources.oom_score_adj.max(inputs.host.least_oom_score_adj),
    });
    if user.additional_gids.is_empty() {
        process["user"].as_object_mut().map(|user| user.remove("additionalGids"));
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
    if !inputs.sandbox.config.hostname.is_empty() {
        all.push(format!("HOSTNAME={}", inputs.sandbox.config.hostname));
    }
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

/// The user of the first process: the request's, else the image's, else root. The group is the request's, the
/// image's where its user is taken too, else 0.
pub fn user(security: &Security, image_user: &str) -> Result<User, SpecError> {
    let by_name = || SpecError::UserByName(image_user.to_owned());
    let (image_uid, image_gid) = match image_user.split_once(':') {
        Some((user, group)) => (user, group),
        None => (image_user, ""),
    };
    let number = |text: &str| if text.is_empty() { Ok(0) } else { text.parse().map_err(|_| by_name()) };
    let (uid, gid) = match (security.run_as_user, security.run_as_group) {
        (Some(uid), gid) => (uid, gid.unwrap_or(0)),
        (None, Some(gid)) => (number(image_uid)?, gid),
        (None, None) => (number(image_uid)?, number(image_gid)?),
    };
    Ok(User { uid, gid, additional_gids: security.supplemental_groups.clone() })
}
