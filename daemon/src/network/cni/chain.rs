//! A chain of plugins, called in its order within one deadline.
//!
//! Owns: what a plugin is told of the one before it. Never: what a chain is called for.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Map, Value};

use super::{
    call::{Call, Command, Target},
    conflist::{Conflist, Plugin},
};
use crate::network::NetworkError;

/// What is asked of every plugin alike.
#[derive(Debug)]
pub(super) struct Chain<'a> {
    pub(super) folders: &'a [PathBuf],
    pub(super) list: &'a Conflist,
    pub(super) command: Command,
    pub(super) target: Option<Target<'a>>,
    /// More keys of the configuration.
    pub(super) more: Map<String, Value>,
    /// For all of them together.
    pub(super) timeout: Duration,
}

impl Chain<'_> {
    fn call<'a>(&'a self, plugin: &'a Plugin, previous: Option<&'a Value>, deadline: Instant) -> Call<'a> {
        Call {
            folders: self.folders,
            list: self.list,
            plugin,
            command: self.command,
            target: self.target,
            previous,
            more: &self.more,
            deadline,
        }
    }

    /// ADD: each is told what the one before it answered. The last one's answer.
    pub(super) async fn add(&self) -> Result<Value, NetworkError> {
        let deadline = Instant::now() + self.timeout;
        let mut answered: Option<Value> = None;
        for plugin in &self.list.plugins {
            let call = self.call(plugin, answered.as_ref(), deadline);
            let output = call.run().await?;
            let value: Value = serde_json::from_slice(&output)
                .map_err(|e| call.failed(format!("what it printed is no JSON result: {e}")))?;
            if !value.is_object() {
                return Err(call.failed("what it printed is no JSON object".into()));
            }
            answered = Some(value);
        }
        answered.ok_or_else(|| NetworkError::Config(format!("{} has no plugin", self.list.name)))
    }

    /// DEL: each from the last to the first, whatever the others say, so that as much as can be is given back. The
    /// first error.
    pub(super) async fn del(&self, previous: Option<&Value>) -> Result<(), NetworkError> {
        self.each(self.list.plugins.iter().rev(), previous).await
    }

    /// CHECK, STATUS, GC: each in order, whatever the others say. The first error.
    pub(super) async fn all(&self, previous: Option<&Value>) -> Result<(), NetworkError> {
        self.each(self.list.plugins.iter(), previous).await
    }

    async fn each<'a>(
        &'a self,
        plugins: impl Iterator<Item = &'a Plugin>,
        previous: Option<&'a Value>,
    ) -> Result<(), NetworkError> {
        let deadline = Instant::now() + self.timeout;
        let mut done = Ok(());
        for plugin in plugins {
            done = done.and(self.call(plugin, previous, deadline).run().await.map(drop));
        }
        done
    }
}
