//! `taffrail config`: the effective configuration, with the source of each value.
//!
//! Never: a secret; there are none in it.

use std::process::ExitCode;

use serde_json::{Map, json};

use super::{args::ConfigArguments, exit::Failure, print};
use crate::config::Config;

pub(super) fn run(arguments: &ConfigArguments) -> Result<ExitCode, Failure> {
    let (_, settings) = Config::load(&arguments.sources.inputs())?;
    if arguments.json {
        let all: Map<String, serde_json::Value> = settings
            .iter()
            .map(|(key, s)| (key.to_owned(), json!({ "value": s.value, "source": s.source.to_string() })))
            .collect();
        print::json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (key, setting) in settings.iter() {
        // TOML's own escaping, so that the output can be a file's.
        let value = toml::Value::String(setting.value.clone());
        print::line(&format!("{key} = {value}  # {}", setting.source))?;
    }
    Ok(ExitCode::SUCCESS)
}
