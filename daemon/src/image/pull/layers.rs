//! The layers of one image from a registry into the store, several at a time, and the record last.
//!
//! Owns: the order. Layers get their places bottom first, so that one which waits for those below it waits for
//! somebody who works. Never: shows an image before it is whole; a pull that ends early frees what nobody needs.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinHandle,
};

use super::{
    feed::feed,
    ladder::{Ladder, Rung},
    resolve::{Found, is_of_one_place},
};
use crate::{
    image::{
        Image, ImageError, Images, Progress, Reference,
        candidate::Layer,
        import::record,
        layer::{commit, unpack},
        limits::{PROGRESS_STEP, PULL_LAYERS, PULL_LAYERS_EACH},
        registry::Session,
    },
    snapshot::{Below, ChainId},
    tasks::{self, Pool, blocking},
};

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(PULL_LAYERS)));

/// The right to bring one layer: among those of the pull, and among all.
#[derive(Debug)]
struct Turn {
    _own: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Turn {
    /// Waits for it; `own` are the places of the pull. `None` is never: nobody closes them. No place is taken while
    /// the registry wants to be left alone.
    async fn wait(own: &Arc<Semaphore>, session: &Session, at: usize) -> Option<Self> {
        let own = Arc::clone(own).acquire_owned().await.ok()?;
        session.ready(at).await;
        let place = PLACES.clone().acquire_owned().await.ok()?;
        Some(Self { _own: own, _place: place })
    }
}

/// What the tasks of one pull share.
#[derive(Debug)]
struct Work {
    images: Images,
    session: Arc<Session>,
    name: Reference,
    /// The place to begin with.
    at: usize,
    layers: Vec<Layer>,
    chains: Vec<ChainId>,
    done: AtomicU64,
    told: AtomicU64,
    total: u64,
    tell: watch::Sender<Progress>,
}

/// Keeps the layers of a pull from being freed; when it is dropped, those that no image needs are.
#[derive(Debug)]
struct Held {
    images: Images,
    chains: BTreeSet<ChainId>,
}

/// Tasks that end with whoever started them.
#[derive(Debug, Default)]
struct Tasks(Vec<JoinHandle<()>>);

/// Brings what is missing and enters the image.
pub(super) async fn bring(
    images: &Images,
    session: Arc<Session>,
    name: &Reference,
    found: Found,
    tell: &watch::Sender<Progress>,
) -> Result<Arc<Image>, ImageError> {
    let Found { candidate, at } = found;
    let held = Held::new(images.clone(), candidate.chains().into_iter().collect());
    // What is there from now on stays, since it is held.
    let (asked, chains) = (images.clone(), candidate.chains());
    let there = blocking(Pool::Disk, move || {
        chains.iter().map(|chain| asked.shared().keeps(chain)).collect::<Vec<bool>>()
    });
    let there = there.await;
    let missing = candidate.layers.iter().zip(&there).filter(|(_, there)| !**there);
    let work = Arc::new(Work {
        images: images.clone(),
        session,
        name: name.clone(),
        at,
        layers: candidate.layers.clone(),
        chains: candidate.chains(),
        done: AtomicU64::new(0),
        told: AtomicU64::new(0),
        total: missing.map(|(layer, _)| layer.source.size.unwrap_or(0)).fold(0, u64::saturating_add),
        tell: tell.clone(),
    });
    work.all(&there).await?;
    let images = images.clone();
    let entered = blocking(Pool::Disk, move || {
        let entered = record(images.shared(), &candidate);
        drop(held);
        entered
    });
    entered.await
}

impl Work {
    /// Makes those that are not there.
    async fn all(self: &Arc<Self>, there: &[bool]) -> Result<(), ImageError> {
        let ladder = Ladder::new(there.len());
        let (tell, mut told) = mpsc::channel(there.len().max(1));
        let mut tasks = Tasks::default();
        let own = Arc::new(Semaphore::new(PULL_LAYERS_EACH));
        let mut open = Vec::new();
        for (height, there) in there.iter().enumerate() {
            let rung = Arc::new(ladder.rung(height));
            if *there { rung.there() } else { open.push((height, rung)) }
        }
        let mut left = open.len();
        let mut open = open.into_iter().peekable();
        while left > 0 {
            tokio::select! {
                biased;
                Some(result) = told.recv() => {
                    let () = result?;
                    left -= 1;
                }
                Some(turn) = Turn::wait(&own, &self.session, self.at), if open.peek().is_some() => {
                    let Some((height, rung)) = open.next() else { continue };
                    let (work, tell) = (Arc::clone(self), tell.clone());
                    tasks.0.push(tasks::spawn("layer", async move {
                        let result = work.layer(height, &rung, turn).await;
                        if result.is_ok() {
                            rung.there();
                        }
                        // First the reason, then the fall of those above. The other end is gone when another
                        // layer has failed.
                        drop(tell.send(result).await);
                        drop(rung);
                    }));
                }
            }
        }
        Ok(())
    }

    /// One layer, from the first place that gives it right.
    async fn layer(self: Arc<Self>, height: usize, rung: &Arc<Rung>, turn: Turn) -> Result<(), ImageError> {
        let mut at = self.at;
        loop {
            match self.clone().from_place(height, rung, at).await {
                Ok(()) => break,
                Err(error) if at + 1 < self.session.places() && is_of_one_place(&error) => {
                    let (error, host): (&dyn std::error::Error, _) = (&error, self.session.host(at));
                    tracing::warn!(image = %self.name, host, error, "a mirror does not give a layer; the next is asked");
                    at += 1;
                }
                Err(error) => return Err(error),
            }
        }
        drop(turn);
        Ok(())
    }

    async fn from_place(
        self: Arc<Self>,
        height: usize,
        rung: &Arc<Rung>,
        at: usize,
    ) -> Result<(), ImageError> {
        let (send, mut read) = feed();
        let (work, rung) = (Arc::clone(&self), Arc::clone(rung));
        let unpacking = blocking(Pool::Unpack, move || {
            let layer = &work.layers[height];
            let ready = || rung.below().map_err(Into::into);
            let below = Below { layers: &work.chains[..height], ready: &ready };
            let tell = |bytes| work.told(bytes, layer);
            commit(work.images.shared(), layer, below, &mut |fresh| {
                unpack(layer, &mut read, fresh, work.images.shared().bounds(), &tell)
            })
        });
        let layer = &self.layers[height];
        let loading = async {
            let Some(digest) = &layer.source.digest else { return Ok(()) };
            let mut blob = self.session.blob(at, digest, layer.source.size.unwrap_or(0));
            // Whoever unpacks may have had enough: it says why.
            while let Some(piece) = blob.next().await? {
                if send.send(piece).await.is_err() {
                    break;
                }
            }
            drop(send);
            Ok(())
        };
        let (loaded, unpacked) = tokio::join!(loading, unpacking);
        match (loaded, unpacked) {
            (Err(source), _) => Err(ImageError::Registry { image: self.name.to_string(), source }),
            (Ok(()), unpacked) => unpacked,
        }
    }

    fn told(&self, bytes: u64, layer: &Layer) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if done - self.told.load(Ordering::Relaxed).min(done) >= PROGRESS_STEP || done >= self.total {
            self.told.store(done, Ordering::Relaxed);
            let what = format!("layer {}", layer.source.name);
            self.tell.send_replace(Progress { done_bytes: done, total_bytes: self.total, what });
        }
    }
}

impl Held {
    fn new(images: Images, chains: BTreeSet<ChainId>) -> Self {
        images.shared().catalogue().hold(&chains);
        Self { images, chains }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let shared = self.images.shared();
        shared.catalogue().let_go(&self.chains);
        let unneeded: Vec<ChainId> =
            self.chains.iter().filter(|chain| !shared.catalogue().needs(chain)).cloned().collect();
        if unneeded.is_empty() {
            return;
        }
        let images = self.images.clone();
        // It waits for unpackers that are on their way out.
        tasks::spawn("free layers", blocking(Pool::Disk, move || images.shared().free_unused(unneeded)));
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}
