//! Small documents of a registry: manifests, indexes and configurations, read whole.
//!
//! Owns: their bounds and digests. Never: looks into one.

use super::{
    error::RegistryError,
    reply::{bounded_body, media_type},
    session::{Session, Wish},
};
use crate::image::{
    Digest,
    limits::{CONFIG_MAX, MANIFEST_MAX},
};

/// What we can read, best first.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// Types that say nothing about what a document is.
const VAGUE: [&str; 3] = ["application/json", "application/octet-stream", "text/plain"];

/// A document whose digest is known.
#[derive(Debug)]
pub(in crate::image) struct Fetched {
    pub(in crate::image) bytes: Vec<u8>,
    pub(in crate::image) digest: Digest,
    /// As the registry stated it, where that means anything.
    pub(in crate::image) media_type: Option<String>,
}

impl Session {
    /// A manifest or an index by tag or digest.
    pub(in crate::image) async fn manifest(
        &self,
        at: usize,
        tag: &str,
        digest: Option<&Digest>,
    ) -> Result<Fetched, RegistryError> {
        let wanted = digest.map_or(tag, Digest::as_str);
        let what = format!("manifest {wanted}");
        let path = format!("manifests/{wanted}");
        let wish = Wish { what: &what, path: &path, accept: ACCEPT, from: 0 };
        let answer = self.get(at, wish).await?;
        let media_type = media_type(&answer).filter(|found| !VAGUE.contains(&found.as_str()));
        if let Some(found) =
            media_type.as_deref().filter(|found| !found.ends_with("json") && !found.ends_with("jws"))
        {
            let why = format!("{found}, which is no manifest; is there a registry at this address?");
            return Err(self.answer(at, wish, &why));
        }
        let bytes = bounded_body(answer, MANIFEST_MAX, self.stall())
            .await
            .map_err(|why| self.answer(at, wish, &why))?;
        self.checked(at, &what, bytes, digest, media_type)
    }

    /// An image's configuration.
    pub(in crate::image) async fn configuration(
        &self,
        at: usize,
        digest: &Digest,
    ) -> Result<Fetched, RegistryError> {
        let what = format!("the configuration {digest}");
        let path = format!("blobs/{digest}");
        let wish = Wish { what: &what, path: &path, accept: "*/*", from: 0 };
        let answer = self.get(at, wish).await?;
        let bytes = bounded_body(answer, CONFIG_MAX, self.stall())
            .await
            .map_err(|why| self.answer(at, wish, &why))?;
        self.checked(at, &what, bytes, Some(digest), None)
    }

    fn checked(
        &self,
        at: usize,
        what: &str,
        bytes: Vec<u8>,
        expected: Option<&Digest>,
        media_type: Option<String>,
    ) -> Result<Fetched, RegistryError> {
        let digest = Digest::of(&bytes);
        if expected.is_some_and(|expected| *expected != digest) {
            let host = self.host(at).to_owned();
            return Err(RegistryError::WrongDigest { host, what: what.to_owned(), found: digest });
        }
        Ok(Fetched { bytes, digest, media_type })
    }
}
