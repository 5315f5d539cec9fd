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
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{
    Credentials, Image, ImageError, Images, Progress, Reference, Registries, limits::PULL_LINGER,
    registry::Session,
};
use crate::{operations::Operations, steps::attempt, tasks};

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
    operations: Operations,
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
    pub fn new(images: Images, registries: Registries, operations: Operations) -> Self {
        Self(Arc::new(Inner { images, registries, operations, under_way: Mutex::default() }))
    }

    /// Begins a pull, or joins an equal one. A pull that nobody waits for any more ends after
    /// [`PULL_LINGER`]; what it had unpacked is freed.
    ///
    /// # Errors
    /// [`ImageError::Name`]; [`ImageError::Registry`] for a short name that leads elsewhere.
    pub async fn pull(&self, written: &str, credentials: Credentials) -> Result<Pull, ImageError> {
        let name = Reference::parse(written);
        let name = name.ok_or_else(|| ImageError::Name(written.chars().take(300).collect()))?;
        // Each caller for itself: a pull under way may have been begun by the whole name.
        let checked = self.0.registries.check_short(&name, written).await;
        checked.map_err(|source| ImageError::Registry { image: name.to_string(), source })?;
        let mut under_way = self.0.under_way();
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
            // In the callers' words, so that their calls are seen to wait for this.
            let work = inner.fly(&key, &written, &tell, callers);
            let result = inner.operations.run_image(&written, "pull", work).await;
            if let Err(error) = &result {
                let error: &dyn std::error::Error = error;
                tracing::info!(image = %key.0, error, "an image was not pulled");
            }
            done.send_replace(Some(result.map_err(Arc::new)));
        });
        Ok(Pull(flight))
    }
}

impl Inner {
    /// Until it ends or nobody has waited for some time. From then on whoever asks begins anew.
    async fn fly(
        &self,
        key: &Key,
        written: &str,
        tell: &watch::Sender<Progress>,
        mut callers: watch::Receiver<usize>,
    ) -> Result<Arc<Image>, ImageError> {
        let mut run = pin!(self.run(key, written, tell));
        loop {
            tokio::select! {
                result = &mut run => {
                    self.under_way().remove(key);
                    return result;
                }
                () = abandoned(&mut callers) => if self.land(key, &callers) {
                    return Err(ImageError::Abandoned(key.0.to_string()));
                }
            }
        }
    }

    /// Takes a pull out that nobody waits for; not if somebody has joined it at the last moment.
    fn land(&self, key: &Key, callers: &watch::Receiver<usize>) -> bool {
        // Whoever joins does so under this lock.
        let mut under_way = self.under_way();
        let nobody = *callers.borrow() == 0;
        if nobody {
            under_way.remove(key);
        }
        nobody
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Key, Flight>> {
        // Each statement under this lock leaves the map sound, so a panic elsewhere does no harm.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(
        &self,
        (name, credentials): &Key,
        written: &str,
        tell: &watch::Sender<Progress>,
    ) -> Result<Arc<Image>, ImageError> {
        let failed = |source| ImageError::Registry { image: name.to_string(), source };
        let find = async {
            let session = self.registries.session(name, written, credentials.clone()).await;
            let session: Arc<Session> = Arc::new(session.map_err(failed)?);
            let found = resolve::resolve(&session, name).await?;
            Ok::<_, ImageError>((session, found))
        };
        let (session, found) = attempt("pull.resolve", find).await?;
        attempt("pull.layers", layers::bring(&self.images, session, name, found, tell)).await
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
async fn abandoned(callers: &mut watch::Receiver<usize>) {
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

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::sync::watch;

    use super::{Flight, ImageError, Images, Pulls, Reference, Registries};
    use crate::{
        image::{Bounds, Credentials, Progress},
        operations::Operations,
        snapshot::PlainCopy,
    };

    /// A pull of busybox under way that so many wait for.
    fn under_way(folder: &std::path::Path, waiting: usize) -> (Pulls, super::Key, Flight) {
        let root = folder.join("root");
        let snapshots = Arc::new(PlainCopy::open(&root).unwrap());
        let images = Images::open(&root, snapshots, Bounds::default()).unwrap();
        let (configuration, certificates) = (folder.join("registries.conf"), folder.join("certs.d"));
        let stall = Duration::from_secs(1);
        let registries = Registries { configuration, certificates, stall };
        let pulls = Pulls::new(images, registries, Operations::default());
        let key = (Reference::parse("busybox").unwrap(), Credentials::Anonymous);
        let (progress, outcome) = (watch::channel(Progress::default()).1, watch::channel(None).1);
        let flight = Flight { callers: watch::channel(waiting).0, progress, outcome };
        pulls.0.under_way().insert(key.clone(), flight.clone());
        (pulls, key, flight)
    }

    #[tokio::test]
    async fn a_short_name_that_leads_elsewhere_joins_no_pull() {
        let folder = tempfile::tempdir().unwrap();
        let (pulls, _, flight) = under_way(folder.path(), 1);
        let joined = pulls.pull("busybox", Credentials::Anonymous).await.unwrap();
        assert_eq!(*flight.callers.borrow(), 2);
        drop(joined);
        let file = folder.path().join("registries.conf");
        crate::store::replace(&file, b"unqualified-search-registries = ['elsewhere.example']\n").unwrap();
        let error = pulls.pull("busybox", Credentials::Anonymous).await.unwrap_err();
        assert!(matches!(error, ImageError::Registry { .. }), "{error:?}");
        assert_eq!(*flight.callers.borrow(), 1);
        pulls.pull("docker.io/library/busybox", Credentials::Anonymous).await.unwrap();
    }

    #[test]
    fn a_pull_that_somebody_joined_at_the_last_moment_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let (pulls, key, flight) = under_way(folder.path(), 1);
        assert!(!pulls.0.land(&key, &flight.callers.subscribe()) && pulls.0.under_way().contains_key(&key));
        flight.callers.send_replace(0);
        assert!(pulls.0.land(&key, &flight.callers.subscribe()) && pulls.0.under_way().is_empty());
    }
}
