//! CNI as a driver: what is kept of a pod, and whether the node's network is ready.
//!
//! The configuration that was used for ADD is kept with the pod, and used for its DEL whatever the folder says then.
//! Owns: the records' own part. Never: how a plugin is called; see `call`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::RwLock;

use super::{
    call::{Command, LINK, Target, find, listed},
    capabilities,
    chain::Chain,
    conflist::{self, Conflist},
    result,
};
use crate::{
    limits::{CNI_DEL, CNI_GC, CNI_STATUS, CNI_STATUS_AGE},
    network::{
        NetworkError, NotReady, Subnet,
        driver::{Network, Pod, Work},
        record::{RECORD_VERSION, Record},
    },
    sys::netlink::namespace,
    tasks,
};

/// What the configuration says.
#[derive(Debug, Clone)]
pub struct CniSettings {
    /// Where networks are configured.
    pub conf_dir: PathBuf,
    /// Where plugins are.
    pub bin_dirs: Vec<PathBuf>,
    /// How long ADD may take.
    pub timeout: Duration,
    /// This boot.
    pub boot_id: String,
}

/// The driver's own part of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Detail {
    /// The network as it was configured at ADD.
    network: Value,
    /// The pin.
    netns: PathBuf,
    /// CNI_ARGS.
    args: String,
    /// Arguments of all capabilities.
    arguments: Map<String, Value>,
    /// What the last plugin of the chain answered; none: ADD did not succeed, or its end was not seen.
    result: Option<Value>,
}

/// What the plugins said about themselves last.
#[derive(Debug, Default)]
struct Status {
    asked: Option<Instant>,
    /// The network that answered, and what.
    answer: Option<(Value, Result<(), NetworkError>)>,
}

#[derive(Debug)]
struct Inner {
    settings: CniSettings,
    status: Mutex<Status>,
    /// All attachments by sandbox; those found at start with their records, until they have been looked at.
    pods: Mutex<BTreeMap<String, Option<Record>>>,
    /// Held for writing while plugins are told which attachments there are: none may be made meanwhile.
    adding: RwLock<()>,
}

/// The driver.
#[derive(Debug)]
pub struct Cni {
    inner: Arc<Inner>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cni {
    /// Nothing is read yet.
    pub fn new(settings: CniSettings) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                status: Mutex::default(),
                pods: Mutex::default(),
                adding: RwLock::default(),
            }),
        }
    }
}

impl Detail {
    fn read(record: &Record) -> Result<(Self, Conflist), NetworkError> {
        let kept = |what: String| NetworkError::Config(format!("kept with the pod: {what}"));
        let detail: Self = serde_json::from_value(record.detail.clone()).map_err(|e| kept(e.to_string()))?;
        let list = Conflist::parse(detail.network.clone()).map_err(kept)?;
        Ok((detail, list))
    }

    fn value(self) -> Result<Value, NetworkError> {
        serde_json::to_value(self).map_err(|e| NetworkError::Config(e.to_string()))
    }

    fn target<'a>(&'a self, id: &'a str, netns: &'a str) -> Target<'a> {
        Target { id, netns, args: &self.args, arguments: &self.arguments }
    }
}

impl Inner {
    fn chain<'a>(&'a self, list: &'a Conflist, command: Command, target: Option<Target<'a>>) -> Chain<'a> {
        let timeout = match command {
            Command::Add => self.settings.timeout,
            Command::Status => CNI_STATUS,
            Command::Gc => CNI_GC.min(self.settings.timeout),
            Command::Del | Command::Check => CNI_DEL.min(self.settings.timeout),
        };
        Chain { folders: &self.settings.bin_dirs, list, command, target, more: Map::new(), timeout }
    }

    /// The network that is configured, with all its plugins there.
    fn network(&self) -> Result<Conflist, NotReady> {
        let not_ready = |reason, message| Err(NotReady { reason, message });
        let Some(path) = conflist::first(&self.settings.conf_dir) else {
            let folder = self.settings.conf_dir.display();
            return not_ready("CniConfigMissing", format!("there is no CNI configuration in {folder}"));
        };
        let list = match conflist::read(&path) {
            Ok(list) => list,
            Err(why) => return not_ready("CniConfigInvalid", format!("CNI configuration {why}")),
        };
        let kinds = list.plugins.iter().flat_map(|plugin| [Some(plugin.kind.as_str()), plugin.ipam()]);
        let folders = &self.settings.bin_dirs;
        let missing = kinds.flatten().find(|kind| find(folders, kind).is_none()).map(str::to_owned);
        if let Some(kind) = missing {
            let (path, folders) = (path.display(), listed(folders, ", "));
            let message = format!("CNI plugin {kind}, which {path} names, is not installed in {folders}");
            return not_ready("CniPluginMissing", message);
        }
        Ok(list)
    }

    /// Asks the plugins how they are, unless they were asked a moment ago. Nobody waits for it.
    fn refresh(self: &Arc<Self>, list: &Conflist) {
        {
            let mut status = lock(&self.status);
            if status.asked.is_some_and(|asked| asked.elapsed() < CNI_STATUS_AGE) {
                return;
            }
            status.asked = Some(Instant::now());
        }
        let (inner, list) = (self.clone(), list.clone());
        tasks::spawn("status of CNI plugins", async move {
            let answer = inner.chain(&list, Command::Status, None).all(None).await;
            lock(&inner.status).answer = Some((list.raw.clone(), answer));
        });
    }

    /// Tells plugins which attachments there are, so that they give back the rest. Pods come first: not while one is
    /// being attached, and not for long; what is left then is given back after another start.
    async fn collect_garbage(&self, list: &Conflist) {
        let Ok(_nobody_adds) = self.adding.try_write() else {
            tracing::debug!("pods are being attached: CNI plugins are not asked to give back what is left");
            return;
        };
        let valid = lock(&self.pods).keys().map(|id| json!({ "containerID": id, "ifname": LINK })).collect();
        let mut chain = self.chain(list, Command::Gc, None);
        chain.more.insert("cni.dev/valid-attachments".into(), valid);
        if let Err(error) = chain.all(None).await {
            tracing::warn!(%error, "what CNI plugins keep of pods that are gone may still be there");
        }
    }

    /// Asks the plugins whether a pod's network is as they made it.
    async fn check(&self, id: &str, record: &Record) {
        let Ok((detail, list)) = Detail::read(record) else { return };
        let netns = pin(&detail.netns);
        if list.disable_check || detail.result.is_none() || netns.is_empty() {
            return;
        }
        let chain = self.chain(&list, Command::Check, Some(detail.target(id, &netns)));
        if let Err(error) = chain.all(detail.result.as_ref()).await {
            // Some plugins find fault with what they made a moment ago, so this is no alarm.
            tracing::info!(id, %error, "a plugin says that a pod's network is not as it was made");
        }
    }
}

/// The pin's path, where it is a namespace; else empty, which tells a plugin that it is gone.
fn pin(netns: &Path) -> String {
    if namespace(netns).is_ok() { netns.display().to_string() } else { String::new() }
}

/// CNI_ARGS as Kubernetes' plugins know them.
fn args(pod: &Pod<'_>) -> Result<String, NetworkError> {
    let name = &pod.config.name;
    let pairs = [
        ("IgnoreUnknown", "1"),
        ("K8S_POD_NAMESPACE", name.namespace.as_str()),
        ("K8S_POD_NAME", name.name.as_str()),
        ("K8S_POD_INFRA_CONTAINER_ID", pod.id),
        ("K8S_POD_UID", name.uid.as_str()),
    ];
    // It would begin another argument.
    if let Some((key, value)) = pairs.iter().find(|(_, value)| value.contains(';')) {
        return Err(NetworkError::Config(format!("cannot be told {key}={value:?}: it holds a ;")));
    }
    Ok(pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(";"))
}

impl Network for Cni {
    fn name(&self) -> &'static str {
        "cni"
    }

    fn outlives_reboot(&self) -> bool {
        true
    }

    fn is_wanted(&self) -> bool {
        conflist::first(&self.inner.settings.conf_dir).is_some()
    }

    fn ready(&self) -> Result<String, NotReady> {
        let list = self.inner.network()?;
        if !list.has_status_and_gc() {
            return Ok(String::new());
        }
        self.inner.refresh(&list);
        let not_ready = |reason, message| Err(NotReady { reason, message });
        match &lock(&self.inner.status).answer {
            Some((raw, Ok(()))) if *raw == list.raw => Ok(String::new()),
            Some((raw, Err(error))) if *raw == list.raw => not_ready("CniPluginNotReady", error.to_string()),
            _ => {
                let message = format!("the plugins of {} have not told their status yet", list.name);
                not_ready("CniStatusUnknown", message)
            }
        }
    }

    fn plan(&self, pod: &Pod<'_>) -> Result<Record, NetworkError> {
        let list = self.inner.network().map_err(|e| NetworkError::NotReady(e.message))?;
        let arguments = capabilities::arguments(pod.config)?;
        let takes_ports = list.plugins.iter().any(|plugin| plugin.has_capability(capabilities::PORTS));
        if arguments.contains_key(capabilities::PORTS) && !takes_ports {
            // Some networks learn of host ports by themselves, from the API server.
            tracing::warn!(id = pod.id, network = list.name, "no plugin of this network takes host ports");
        }
        let args = args(pod)?;
        lock(&self.inner.pods).insert(pod.id.to_owned(), None);
        let detail = Detail { network: list.raw, netns: pod.netns.clone(), args, arguments, result: None };
        Ok(Record {
            version: RECORD_VERSION,
            driver: self.name().to_owned(),
            boot_id: self.inner.settings.boot_id.clone(),
            addresses: Vec::new(),
            detail: detail.value()?,
        })
    }

    fn attach<'a>(&'a self, pod: &'a Pod<'a>, record: &'a mut Record) -> Work<'a, ()> {
        Box::pin(async move {
            let (mut detail, list) = Detail::read(record)?;
            let netns = pin(&pod.netns);
            let chain = self.inner.chain(&list, Command::Add, Some(detail.target(pod.id, &netns)));
            let adding = self.inner.adding.read().await;
            let answered = chain.add().await?;
            drop(adding);
            record.addresses = result::addresses(&answered).map_err(|why| {
                NetworkError::Config(format!("of {}: the last plugin's answer: {why}", list.name))
            })?;
            detail.result = Some(answered);
            record.detail = detail.value()?;
            Ok(())
        })
    }

    fn detach<'a>(&'a self, id: &'a str, netns: PathBuf, record: &'a Record) -> Work<'a, ()> {
        Box::pin(async move {
            let (detail, list) = Detail::read(record)?;
            let netns = pin(&netns);
            let chain = self.inner.chain(&list, Command::Del, Some(detail.target(id, &netns)));
            chain.del(detail.result.as_ref()).await
        })
    }

    fn forget(&self, id: &str) {
        lock(&self.inner.pods).remove(id);
    }

    fn adopt(&self, id: &str, record: &Record) {
        if record.driver == self.name() {
            lock(&self.inner.pods).insert(id.to_owned(), Some(record.clone()));
        }
    }

    fn recovered(&self, complete: bool) -> Work<'_, ()> {
        Box::pin(async move {
            if let Ok(list) = self.inner.network()
                && list.has_status_and_gc()
            {
                self.inner.refresh(&list);
                if !list.disable_gc && !complete {
                    // They would free the addresses of pods that may well run.
                    tracing::warn!(
                        "CNI plugins are not asked to give back what is left: not all pods are known"
                    );
                } else if !list.disable_gc {
                    self.inner.collect_garbage(&list).await;
                }
            }
            // One after the other: nobody waits, and pods that are to be made now need the processor.
            let ids: Vec<String> = lock(&self.inner.pods).keys().cloned().collect();
            for id in &ids {
                // Being stopped meanwhile, it may be gone.
                let record = lock(&self.inner.pods).get_mut(id).and_then(Option::take);
                if let Some(record) = record {
                    self.inner.check(id, &record).await;
                }
            }
            Ok(())
        })
    }

    fn set_ranges(&self, _: &[Subnet]) {}

    fn leave(&self) -> Work<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
