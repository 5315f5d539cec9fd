//! Pulls: images from registries into the store, each once however many ask for it.
//!
//! Owns: which pulls are under way, and how long one without a caller goes on: long enough for a retry to join
//! it. Never: lets one caller's end be another's failure.

mod feed;
mod ladder;
mod layers;
mod resolve;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use super::{
    Credentials, Image, ImageError, Images, Progress, Reference, Registries, limits::PULL_LINGER,
    registry::Session,
};
use crate::tasks;

/// What makes two pulls one: the same name asked with the same credentials.
type Key = (Reference, Credentials);

type Outcome = Result<Arc<Image>, Arc<ImageError>>;

/// Everything that is being pulled. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pulls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    images: Images,
    registries: Registries,
    under_way: Mutex<HashMap<Key, Flight>>,
}

/// One pull under way.
#[derive(Debug, Clone)]
struct Flight {
    /// How many wait for it.
    callers: watch::Sender<usize>,
    progress: watch::Receiver<Progress>,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// A caller's share in a pull. Dropped: it waits no longer.
#[derive(Debug)]
pub struct Pull(Flight);

impl Pulls {
    /// Will pull into this store.
    pub fn new(images: Images, registries: Registries) -> Self {
        Self(Arc::new(Inner { images, registries, under_way: Mutex::default() }))
    }

    /// Begins a pull, or joins an equal one. A pull that nobody waits for any more ends after
    /// [`PULL_LINGER`]; what it had unpacked is freed.
    ///
    /// # Errors
    /// [`ImageError::Name`].
    pub fn pull(&self, written: &str, credentials: Credentials) -> Result<Pull, ImageError> {
        let name = Reference::parse(written);
        let name = name.ok_or_else(|| ImageError::Name(written.chars().take(300).collect()))?;
        let mut under_way = self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name, credentials);
        if let Some(flight) = under_way.get(&key) {
            flight.callers.send_modify(|callers| *callers += 1);
            return Ok(Pull(flight.clone()));
        }
        let (tell, progress) = watch::channel(Progress::default());
        let (done, outcome) = watch::channel(None);
        let flight = Flight { callers: watch::channel(1).0, progress, outcome };
        under_way.insert(key.clone(), flight.clone());
        let (inner, callers, written) = (Arc::clone(&self.0), flight.callers.subscribe(), written.to_owned());
        tasks::spawn("pull", async move {
            let result = tokio::select! {
                result = inner.run(&key, &written, &tell) => result,
                () = abandoned(callers) => Err(ImageError::Abandoned(key.0.to_string())),
            };
            if let Err(error) = &result {
                let error: &dyn std::error::Error = error;
                tracing::info!(image = %key.0, error, "an image was not pulled");
            }
            // Whoever asks from now on begins anew.
            inner.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            done.send_replace(Some(result.map_err(Arc::new)));
        });
        Ok(Pull(flight))
    }
}

impl Inner {
    async fn run(
        &self,
        (name, credentials): &Key,
        written: &str,
        tell: &watch::Sender<Progress>,
    ) -> Result<Arc<Image>, ImageError> {
        let failed = |source| ImageError::Registry { image: name.to_string(), source };
        let session = self.registries.session(name, written, credentials.clone()).await;
        let session: Arc<Session> = Arc::new(session.map_err(failed)?);
        let found = resolve::resolve(&session, name).await?;
        layers::bring(&self.images, session, name, found, tell).await
    }
}

impl Pull {
    /// The image, when it is in the store.
    pub async fn image(&mut self) -> Result<Arc<Image>, Arc<ImageError>> {
        match self.0.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().expect("waited for just now"),
            // The task died by a panic, which has been printed.
            Err(_) => Err(Arc::new(ImageError::Abandoned("of this name".to_owned()))),
        }
    }

    /// How far it is; changes are told. A pull that has ended tells no more.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.0.progress.clone()
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.0.callers.send_modify(|callers| *callers -= 1);
    }
}

/// Returns when nobody has waited for some time.
async fn abandoned(mut callers: watch::Receiver<usize>) {
    loop {
        if callers.wait_for(|callers| *callers == 0).await.is_err() {
            return;
        }
        let back = tokio::time::timeout(PULL_LINGER, callers.wait_for(|callers| *callers > 0)).await;
        if back.is_err() {
            return;
        }
    }
}
