//! Registries: where images come from over the network (OCI distribution specification).
//!
//! Owns: the only sockets to the world. Everything that comes through them is hostile until its digest is
//! verified. Never: touches the store, or says a secret.

mod blob;
mod challenge;
mod configuration;
mod credentials;
mod error;
mod http;
mod inner;
mod limits;
mod manifest;
mod place;
mod reply;
mod rests;
mod session;
mod token;

use std::{path::PathBuf, time::Duration};

pub use credentials::Credentials;
pub use error::RegistryError;
pub(super) use session::Session;

use super::Reference;
use crate::tasks::{Pool, blocking};

/// What is configured about registries. The files are read anew for each pull.
#[derive(Debug, Clone)]
pub struct Registries {
    /// `registries.conf`; with `.d` behind it the folder of its drop-ins.
    pub configuration: PathBuf,
    /// Folder with a folder of certificates for each host.
    pub certificates: PathBuf,
    /// How long an answer may stand still.
    pub stall: Duration,
}

impl Registries {
    /// Refuses a name without a registry that the configuration would lead elsewhere. `written` is the name as the
    /// caller wrote it.
    pub(super) async fn check_short(&self, name: &Reference, written: &str) -> Result<(), RegistryError> {
        if !place::is_short(name, written) {
            return Ok(());
        }
        let (file, name, written) = (self.configuration.clone(), name.clone(), written.to_owned());
        let checked = blocking(Pool::Disk, move || {
            place::check_short(&configuration::Configuration::read(&file)?, &name, &written)
        });
        checked.await
    }

    /// Opens the conversation of one pull. `written` is the name as the caller wrote it.
    pub(super) async fn session(
        &self,
        name: &Reference,
        written: &str,
        credentials: Credentials,
    ) -> Result<Session, RegistryError> {
        let (file, name, written) = (self.configuration.clone(), name.clone(), written.to_owned());
        let places = blocking(Pool::Disk, move || {
            place::places(&configuration::Configuration::read(&file)?, &name, &written)
        });
        Ok(Session::new(http::Http::new(&self.certificates, self.stall), places.await?, credentials))
    }
}
