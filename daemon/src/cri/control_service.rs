//! Taffrail's own service: what the command line asks of a running daemon.
//!
//! Never: what the CRI can say.

use std::{path::PathBuf, sync::Arc};

use cri_api::control as wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    convert::container_state,
    error::{image, invalid},
    explain,
};
use crate::{
    container::Containers,
    image::{Credentials, Image, Images, Progress, Pulls},
    operations::Operations,
    sandbox::Sandboxes,
    tasks::{self, Pool, blocking},
};

/// Progress messages that may wait for a slow client; more are left out, since the next one says more.
const PROGRESS_QUEUE: usize = 16;

/// Who a daemon is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name among those of the host.
    pub instance: String,
    /// ROOT.
    pub root: PathBuf,
    /// STATE.
    pub state: PathBuf,
}

/// The service.
#[derive(Debug, Clone)]
pub struct ControlService {
    /// Who this daemon is.
    pub identity: Identity,
    /// The images.
    pub images: Arc<Images>,
    /// Where more come from.
    pub pulls: Pulls,
    /// The pods.
    pub sandboxes: Sandboxes,
    /// The containers.
    pub containers: Containers,
    /// What is under way.
    pub operations: Operations,
}

#[tonic::async_trait]
impl wire::control_server::Control for ControlService {
    type ImportImageStream = ReceiverStream<Result<wire::ImportImageProgress, Status>>;
    type PullImageStream = ReceiverStream<Result<wire::ImportImageProgress, Status>>;

    async fn status(
        &self,
        _: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        let mut containers: Vec<wire::ContainerShim> =
            self.containers.list().iter().map(|(c, view)| shim(&c.facts, view)).collect();
        containers.sort_by(|a, b| a.container_id.cmp(&b.container_id));
        let (keeper_pid, kept) = self.containers.kept().await.unwrap_or_default();
        for container in &mut containers {
            container.kept = kept.contains(&container.container_id);
        }
        Ok(Response::new(wire::StatusResponse {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: self.identity.instance.clone(),
            root: self.identity.root.to_string_lossy().into_owned(),
            state: self.identity.state.to_string_lossy().into_owned(),
            containers,
            stuck: self.operations.stuck().into_iter().map(explain::told).collect(),
            keeper_pid: u32::try_from(keeper_pid).unwrap_or(0),
            kept: u32::try_from(kept.len()).unwrap_or(u32::MAX),
            under_way: u32::try_from(self.operations.under_way()).unwrap_or(u32::MAX),
        }))
    }

    async fn explain(
        &self,
        request: Request<wire::ExplainRequest>,
    ) -> Result<Response<wire::ExplainResponse>, Status> {
        explain::explain(self, &request.into_inner().wanted).map(Response::new)
    }

    async fn import_image(
        &self,
        request: Request<wire::ImportImageRequest>,
    ) -> Result<Response<Self::ImportImageStream>, Status> {
        let path = PathBuf::from(request.into_inner().path);
        if !path.is_absolute() {
            return Err(invalid(format!("path {} is not absolute", path.display())));
        }
        let (tell, progress) = mpsc::channel(PROGRESS_QUEUE);
        let images = self.images.clone();
        tasks::spawn("import", async move {
            let steps = tell.clone();
            let work = move || {
                images.import(&path, &|step| {
                    drop(steps.try_send(Ok(told(step))));
                })
            };
            let last = match blocking(Pool::Import, work).await {
                Ok(imported) => Ok(done(&imported)),
                Err(error) => Err(image(&error)),
            };
            // A client that went away needs no answer; the import is done all the same.
            drop(tell.send(last).await);
        });
        Ok(Response::new(ReceiverStream::new(progress)))
    }

    async fn pull_image(
        &self,
        request: Request<wire::PullImageRequest>,
    ) -> Result<Response<Self::PullImageStream>, Status> {
        let request = request.into_inner();
        let credentials = match request.credentials.as_str() {
            "" => Credentials::Anonymous,
            pair => Credentials::from_pair(pair).map_err(|why| invalid(format!("the credentials: {why}")))?,
        };
        let mut pull = self.pulls.pull(&request.image, credentials).await.map_err(|e| image(&e))?;
        let (tell, progress) = mpsc::channel(PROGRESS_QUEUE);
        tasks::spawn("pull for the command line", async move {
            let mut steps = pull.progress();
            loop {
                tokio::select! {
                    biased;
                    () = tell.closed() => return,
                    ended = pull.image() => {
                        let last = ended.map(|pulled| done(&[pulled])).map_err(|e| image(&e));
                        // A client that went away needs no answer.
                        drop(tell.send(last).await);
                        return;
                    }
                    Ok(()) = steps.changed() => {
                        let step = steps.borrow_and_update().clone();
                        drop(tell.try_send(Ok(told(step))));
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(progress)))
    }
}

fn told(step: Progress) -> wire::ImportImageProgress {
    wire::ImportImageProgress {
        done_bytes: step.done_bytes,
        total_bytes: step.total_bytes,
        what: step.what,
        images: Vec::new(),
    }
}

fn done(images: &[Arc<Image>]) -> wire::ImportImageProgress {
    let images =
        images.iter().map(|i| wire::ImportedImage { id: i.id.clone(), repo_tags: i.repo_tags.clone() });
    wire::ImportImageProgress { images: images.collect(), ..wire::ImportImageProgress::default() }
}

fn shim(facts: &crate::container::ContainerFacts, view: &crate::container::View) -> wire::ContainerShim {
    let number = |pid: i32| u32::try_from(pid).unwrap_or(0);
    let hello = view.link.as_ref().map(|link| &link.hello);
    let state = container_state(view).as_str_name().trim_start_matches("CONTAINER_").to_lowercase();
    wire::ContainerShim {
        container_id: facts.id.clone(),
        sandbox_id: facts.sandbox_id.clone(),
        shim_pid: hello.map_or(0, |hello| number(hello.shim_pid)),
        generation: hello.map_or(0, |hello| hello.generation),
        state,
        init_pid: number(view.init_pid),
        name: facts.config.name.name.clone(),
        kept: false,
    }
}
